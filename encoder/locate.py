"""Where a diagnosis is seen: from the token head's evidence, through the affine, to the patient's side, region and mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoder.features import Localisation
from encoder.study import Series, Side

NEAR_MM = 35.0  # tokens this close to the strongest one speak of the same lesion: about one token's edge
MIDLINE_MM = 12.0  # a centre closer to the midline than this has no side ...
AROUND_MIDLINE_MM = 25.0  # ... if the evidence lies this close to it,
AROUND_MIDLINE = 0.8  # at least this share of it
LEAST_PROBABILITY = 0.2  # below it no token stands out
SHARPNESS = 12  # power of a token's probability with which it votes: trained to find rare lesions, lesser probabilities overstate
BOTH_SIDES = 0.3  # the lesser side's share of the evidence from which a diagnosis is called bilateral


@dataclass(frozen=True)
class TokenView:
    """What `locate` needs of a study's n tokens, in patient space.

    centres: (n, 3) LPS mm. series: (n,) index into the study's series. probabilities: (n,) that the token shows the diagnosis.
    regions: (n, r) probabilities. offsets: (n, 3) mm to the lesion inside the token.
    """

    centres: NDArray[np.float32]
    series: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    regions: NDArray[np.float32]
    offsets: NDArray[np.float32]


def midline(centres: NDArray[np.float32]) -> float:
    """The head's midline as an x in mm: half-way between its left- and rightmost tokens, robust to stray ones."""
    low, high = np.percentile(centres[:, 0], (2, 98))
    return float((low + high) / 2)


@dataclass(frozen=True)
class Place:
    """A point with its side and region, before it is tied to a slice. mm: LPS. series: index of the one that shows it best."""

    side: Side
    region: str
    mm: tuple[float, float, float]
    confidence: float
    series: int


def find_place(view: TokenView, region_names: tuple[str, ...]) -> Place | None:
    """The place the token evidence points to; None where no token stands out.

    The point is the evidence-weighted centre around the strongest token, over all sequences at once; the side needs the
    evidence to lie clear of the midline.
    """
    if len(view.probabilities) == 0 or view.probabilities.max() < LEAST_PROBABILITY:
        return None
    peak = int(view.probabilities.argmax())
    points = view.centres + view.offsets
    weight = view.probabilities.astype(np.float64) ** SHARPNESS
    near = np.linalg.norm(points - points[peak], axis=1) < NEAR_MM
    centre = (points[near] * weight[near, None]).sum(0) / weight[near].sum()
    region = int((view.regions[near] * weight[near, None]).sum(0)[1:].argmax()) + 1  # 0 is background
    middle = midline(view.centres)
    return Place(
        side=_side(points[:, 0] - middle, weight, float(centre[0]) - middle),
        region=region_names[region],
        mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        confidence=float(view.probabilities[peak]),
        series=int(view.series[peak]),
    )


def locate(diagnosis: str, view: TokenView, series: tuple[Series, ...], region_names: tuple[str, ...]) -> Localisation | None:
    """`find_place`, tied to the series and slice that show it best."""
    place = find_place(view, region_names)
    if place is None:
        return None
    best = series[place.series]
    return Localisation(diagnosis, place.side, place.region, best.name, slice_of(best, place.mm), place.mm, place.confidence)


def _side(x: NDArray[np.float32], weight: NDArray[np.float64], centre: float) -> Side:
    """LPS: the patient's left is +x. x: mm from the midline of each token's point; centre: of the evidence around the strongest."""
    left, right = float(weight[x > MIDLINE_MM].sum()), float(weight[x < -MIDLINE_MM].sum())
    if abs(centre) < MIDLINE_MM and weight[np.abs(x) < AROUND_MIDLINE_MM].sum() > AROUND_MIDLINE * weight.sum():
        return Side.MIDLINE
    if min(left, right) > BOTH_SIDES * (left + right):
        return Side.BILATERAL
    return Side.LEFT if centre > 0 else Side.RIGHT


def nearer(centre: float) -> Side:
    """The side of a point `centre` mm to the left of the midline."""
    if abs(centre) < MIDLINE_MM:
        return Side.MIDLINE
    return Side.LEFT if centre > 0 else Side.RIGHT


def slice_of(series: Series, mm: tuple[float, float, float]) -> int:
    """The slice index nearest to a point."""
    index = np.linalg.solve(series.affine[:3, :3], np.array(mm) - series.affine[:3, 3])
    return int(np.clip(round(float(index[2])), 0, series.voxels.shape[2] - 1))
