"""Token evidence becomes a place in the patient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from encoder.locate import TokenView, locate
from encoder.study import Plane, Series, Side, Weighting

REGIONS = ("outside", "frontal lobe", "pons")


def view(*hot: tuple[float, float, float], probability: float = 0.9) -> TokenView:
    """Tokens on a 30 mm grid; those nearest to the hot points show the diagnosis."""
    axis = np.arange(-75, 76, 30.0)
    centres = np.stack(np.meshgrid(axis, axis, axis[1:-1], indexing="ij"), -1).reshape(-1, 3).astype(np.float32)
    probabilities = np.full(len(centres), 0.01, np.float32)
    offsets = np.zeros_like(centres)
    for point in hot:
        nearest = np.linalg.norm(centres - point, axis=1).argmin()
        probabilities[nearest] = probability
        offsets[nearest] = np.asarray(point) - centres[nearest]
    regions = np.tile(np.array([[0.0, 0.2, 0.8]], np.float32), (len(centres), 1))
    regions[centres[:, 1] < 0] = (0.0, 0.9, 0.1)
    return TokenView(centres, np.zeros(len(centres), np.int64), probabilities, regions, offsets)


def one_series() -> tuple[Series, ...]:
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    affine[:3, 3] = (-80, -80, -60)
    return (Series("AX_FLAIR", np.zeros((160, 160, 25), np.int16), affine, Plane.AXIAL, Weighting.FLAIR),)


@pytest.mark.parametrize(("x", "side"), [(40, Side.LEFT), (-40, Side.RIGHT), (2, Side.MIDLINE)])
def test_the_patients_left_is_plus_x(x: float, side: Side) -> None:
    place = locate("meningioma", view((x, -30, 20)), one_series(), REGIONS)
    assert place is not None
    assert place.side == side
    assert place.region == "frontal lobe"


def test_mirrored_evidence_flips_the_side_and_nothing_else() -> None:
    seen = view((38, -20, 10))
    flipped = replace(seen, centres=seen.centres * (-1, 1, 1), offsets=seen.offsets * (-1, 1, 1))
    a, b = (locate("meningioma", v, one_series(), REGIONS) for v in (seen, flipped))
    assert a is not None
    assert b is not None
    assert (a.side, b.side) == (Side.LEFT, Side.RIGHT)
    assert a.mm == pytest.approx((-b.mm[0], b.mm[1], b.mm[2]), abs=1e-3)
    assert a.slice == b.slice


def test_evidence_on_both_sides_is_bilateral() -> None:
    place = locate("brain_metastasis", view((45, 0, 0), (-45, 0, 0)), one_series(), REGIONS)
    assert place is not None
    assert place.side == Side.BILATERAL


def test_many_weak_votes_from_the_other_side_do_not_make_a_lesion_bilateral() -> None:
    seen = view((45, 0, 0))
    seen.probabilities[seen.centres[:, 0] < -20] = 0.5  # as rare-lesion weighting leaves them: 48 tokens
    place = locate("meningioma", seen, one_series(), REGIONS)
    assert place is not None
    assert place.side == Side.LEFT


def test_the_slice_holds_the_point() -> None:
    place = locate("meningioma", view((40, -30, 20)), one_series(), REGIONS)
    assert place is not None
    assert place.slice == 16  # (20 mm + 60 mm) / 5 mm


def test_no_token_stands_out_no_place() -> None:
    assert locate("meningioma", view(), one_series(), REGIONS) is None
