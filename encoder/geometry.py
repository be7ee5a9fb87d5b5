"""From image planes in patient space to one volume: order, spacing, plane. Everything in mm, LPS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoder.study import Plane

Vector = NDArray[np.float64]

LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from either frame to the other

SAME_PLACE = 0.05  # mm along the normal: closer planes are one place imaged again (headers repeat positions to 1e-4 mm)
UNEVEN = 0.10  # of the spacing: planes further from their even place make a series irregular
DRIFT = 1.0  # mm across the normal
MAX_MISSING = 0.10  # of all planes: more than that is not filled


class IrregularGeometry(ValueError):
    """Planes that do not form one evenly spaced volume; the message says why, without file or patient names."""


@dataclass(frozen=True)
class Layout:
    """How planes stack: `places[s]` lists the planes at slot s in their given order (empty: missing), slots ascending along the normal.

    origin: position of slot 0. step: from one slot to the next; not parallel to the normal where the gantry was tilted.
    """

    places: tuple[tuple[int, ...], ...]
    origin: Vector
    step: Vector

    @property
    def missing(self) -> int:
        return sum(not place for place in self.places)


def normal_of(orientation: Vector) -> Vector:
    """Unit normal of six direction cosines (row direction, then column direction), right-handed."""
    normal: Vector = np.cross(orientation[:3], orientation[3:])
    length = float(np.linalg.norm(normal))
    if not np.isfinite(length) or not 0.9 < length < 1.1:
        raise IrregularGeometry("its orientation cosines are not two perpendicular unit vectors")
    return normal / length


def plane_of(normal: Vector) -> Plane:
    """Plane nearest to an LPS normal."""
    return (Plane.SAGITTAL, Plane.CORONAL, Plane.AXIAL)[int(np.argmax(np.abs(normal)))]


def lay_out(positions: Vector, normal: Vector) -> Layout:
    """Order planes at `positions` (n, 3) along `normal` and find their even spacing; repeated places are kept together.

    Single missing planes become empty places. Raises IrregularGeometry where no even spacing fits.
    """
    heights = positions @ normal
    if not np.isfinite(heights).all():
        raise IrregularGeometry("its slice positions are not numbers")
    places = _places(heights)
    if len(places) < 2:
        raise IrregularGeometry("all its slices lie in one place")
    levels = np.array([heights[place].mean() for place in places])
    slots = _slots(levels)
    centres = np.array([positions[place[0]] for place in places])
    step = (centres[-1] - centres[0]) / slots[-1]
    drift = centres - centres[0] - slots[:, None] * step
    spacing = float(step @ normal)
    if np.abs(drift @ normal).max() > UNEVEN * spacing:
        raise IrregularGeometry(f"its slices are unevenly spaced ({_gaps(levels)} mm)")
    if np.linalg.norm(drift, axis=1).max() > max(DRIFT, UNEVEN * spacing):
        raise IrregularGeometry("its slices do not lie one behind the other")
    filled: list[tuple[int, ...]] = [()] * (int(slots[-1]) + 1)
    for slot, place in zip(slots, places, strict=True):
        filled[int(slot)] = tuple(place)
    return Layout(tuple(filled), centres[0], step)


def _places(heights: Vector) -> list[list[int]]:
    order = np.argsort(heights, kind="stable")
    places = [[int(order[0])]]
    for index in order[1:]:
        if heights[index] - heights[places[-1][0]] <= SAME_PLACE:
            places[-1].append(int(index))
        else:
            places.append([int(index)])
    return [sorted(place) for place in places]


def _slots(levels: Vector) -> NDArray[np.int64]:
    """Whole-number slot of each level on a grid of the usual gap; raises where too many slots stay empty."""
    gaps = np.diff(levels)
    slots = np.concatenate([[0], np.cumsum(np.maximum(1, np.rint(gaps / np.median(gaps))))]).astype(np.int64)
    total, missing = int(slots[-1]) + 1, int(slots[-1]) + 1 - len(levels)
    if missing > MAX_MISSING * total:
        raise IrregularGeometry(f"{missing} of {total} slices are missing or unevenly spaced (gaps {_gaps(levels)} mm)")
    return slots


def _gaps(levels: Vector) -> str:
    gaps = np.diff(levels)
    return f"{gaps.min():.2f} to {gaps.max():.2f}"


def affine_of(orientation: Vector, spacing: Sequence[float], origin: Vector, step: Vector) -> NDArray[np.float64]:
    """(i, j, k) = (column, row, slice) -> mm LPS. `spacing` as DICOM has it: between rows, then between columns."""
    affine = np.eye(4)
    affine[:3, 0] = orientation[:3] * spacing[1]
    affine[:3, 1] = orientation[3:] * spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = origin
    return affine
