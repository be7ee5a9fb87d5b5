"""A key picture hangs as radiologists hang it, however its voxels lie in the file."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from encoder.study import Context, Plane, Series, Study, Weighting
from index.pictures import SIZE, key_pictures, picture

# Axes (row of pixels, column of pixels, slices) of each plane, in LPS.
AXES = {Plane.AXIAL: (0, 1, 2), Plane.SAGITTAL: (1, 2, 0), Plane.CORONAL: (0, 2, 1)}
# Where the marker must be seen (left/right of the screen, upper/lower half), for a marker in the patient's left, anterior, superior octant.
SEEN = {Plane.AXIAL: ("right", "upper"), Plane.SAGITTAL: ("left", "upper"), Plane.CORONAL: ("right", "upper")}


def marked_series(plane: Plane, swap: bool, flips: tuple[bool, bool, bool], weighting: Weighting = Weighting.T1) -> Series:
    """A head-like box with a bright marker left (+x), anterior (-y), superior (+z), stored along any axes."""
    axes = list(AXES[plane])
    if swap:
        axes[:2] = axes[1::-1]
    spacing = (1.5, 2.0, 6.0)
    shape = (48, 40, 9)
    affine = np.eye(4)
    affine[:3, :3] = 0
    for index, axis in enumerate(axes):
        affine[axis, index] = spacing[index] * (-1 if flips[index] else 1)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    place = grid @ affine[:3, :3].T + affine[:3, 3]
    extent = np.abs(place).reshape(-1, 3).max(0)
    voxels = np.where((np.abs(place) < 0.8 * extent).all(-1), 300.0, 0.0)
    voxels[(np.abs(place - extent * (0.5, -0.5, 0.5)) < 0.25 * extent).all(-1)] = 1000.0
    return Series(f"{plane}", voxels, affine, plane, weighting)


def pixels(png: bytes) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(png))
    assert image.mode == "L"
    return np.asarray(image)


@pytest.mark.parametrize("plane", list(Plane))
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("flips", list(itertools.product([False, True], repeat=3)))
def test_the_marker_is_seen_on_its_side(plane: Plane, swap: bool, flips: tuple[bool, bool, bool]) -> None:
    series = marked_series(plane, swap, flips)
    middle = int(np.argmax((series.voxels > 900).sum((0, 1))))
    grey = pixels(picture(series, middle)[1])
    row, column = np.argwhere(grey > 220).mean(0) / grey.shape
    assert ("right" if column > 0.5 else "left", "upper" if row < 0.5 else "lower") == SEEN[plane]


def test_pixels_are_square_in_mm_and_few() -> None:
    series = marked_series(Plane.AXIAL, False, (False,) * 3)
    height, width = pixels(picture(series)[1]).shape
    assert width / height == pytest.approx(48 * 1.5 / (40 * 2.0), rel=0.03)
    large = Series("x", np.random.default_rng(0).normal(size=(512, 400, 3)), np.diag([0.5, 0.5, 5.0, 1.0]), Plane.AXIAL, Weighting.T2)
    assert max(pixels(picture(large)[1]).shape) == SIZE


def test_black_and_white_are_percentiles_not_extremes() -> None:
    voxels = np.tile(np.linspace(0, 100, 64)[:, None, None], (1, 64, 4))
    voxels[0, 0, 0] = 1e6
    grey = pixels(picture(Series("x", voxels, np.eye(4), Plane.AXIAL, Weighting.T2), 1)[1])
    assert grey.max() >= 248
    assert grey.min() == 0


def test_marked_slices_come_first_then_the_most_telling_series() -> None:
    series = tuple(
        Series(weighting.name, np.random.default_rng(1).normal(size=(8, 8, 5)), np.eye(4), Plane.AXIAL, weighting)
        for weighting in (Weighting.T1, Weighting.T2, Weighting.FLAIR, Weighting.SWI)
    )
    study = Study("k", None, series, (), Context())
    assert key_pictures(study, [("SWI", 2)])[0][0] == "SWI, slice 3 of 5"
    assert [caption.split(",")[0] for caption, _ in key_pictures(study, [("SWI", 2)])] == ["SWI", "FLAIR", "T2"]
