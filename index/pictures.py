"""Key pictures of a case: single slices as small PNGs, seen as radiologists hang them."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from encoder.study import Plane, Series, Study, Weighting

SIZE = 192  # pixels on the longer side
DARKEST, BRIGHTEST = 1.0, 99.5  # percentiles of the series shown as black and white
LEVELS = 32  # grey levels kept: fewer than 8 bits of noise make the file half as large
# Screen right and screen down in LPS. Patient right is on screen left; anterior is up, or left in a sagittal picture.
SCREEN = {
    Plane.AXIAL: ((1, 0, 0), (0, 1, 0)),
    Plane.SAGITTAL: ((0, 1, 0), (0, 0, -1)),
    Plane.CORONAL: ((1, 0, 0), (0, 0, -1)),
}
TELLING = (Weighting.FLAIR, Weighting.T1_POST, Weighting.DWI, Weighting.T2, Weighting.SWI, Weighting.T1)


def key_pictures(study: Study, marked: Iterable[tuple[str, int]] = (), count: int = 3) -> tuple[tuple[str, bytes], ...]:
    """(caption, PNG) of up to `count` series, each once: those `marked` (series name, slice index), then the most telling weightings."""
    slices: dict[str, int | None] = {}
    for name, number in marked:
        slices.setdefault(name, number)
    rank = {weighting: i for i, weighting in enumerate(TELLING)}
    ordered = sorted(study.series, key=lambda one: (one.name not in slices, rank.get(one.weighting, len(rank))))
    return tuple(picture(one, slices.get(one.name)) for one in ordered[:count])


def picture(series: Series, number: int | None = None) -> tuple[str, bytes]:
    """(caption, PNG) of slice `number` (index k of the voxels; None = the one with most in it), at most 192 pixels across."""
    chosen = _fullest(series.voxels) if number is None else int(np.clip(number, 0, series.voxels.shape[2] - 1))
    pixels, width_mm, height_mm = on_screen(series, chosen)
    mm = max(max(width_mm, height_mm) / SIZE, min(width_mm / pixels.shape[1], height_mm / pixels.shape[0]))
    grey = Image.fromarray(_windowed(pixels, series.voxels)).resize((max(1, round(width_mm / mm)), max(1, round(height_mm / mm))))
    coarse = Image.fromarray((np.asarray(grey, np.uint16) * LEVELS // 256 * 255 // (LEVELS - 1)).astype(np.uint8))
    file = io.BytesIO()
    coarse.save(file, "PNG", optimize=True)
    return f"{series.name}, slice {chosen + 1} of {series.voxels.shape[2]}", file.getvalue()


def on_screen(series: Series, number: int) -> tuple[NDArray[np.generic], float, float]:
    """Pixels (row, column) of slice `number` as hung on a screen, with the width and height of the whole in mm."""
    right, down = (np.array(axis, float) for axis in SCREEN[series.plane])
    column, row = series.affine[:3, 0], series.affine[:3, 1]
    pixels = series.voxels[:, :, number].T  # (row, column)
    if abs(column @ right) < abs(row @ right):
        pixels, column, row = pixels.T, row, column
    if column @ right < 0:
        pixels = pixels[:, ::-1]
    if row @ down < 0:
        pixels = pixels[::-1]
    return pixels, float(np.linalg.norm(column)) * pixels.shape[1], float(np.linalg.norm(row)) * pixels.shape[0]


def _fullest(voxels: NDArray[np.generic]) -> int:
    values = np.nan_to_num(np.asarray(voxels, np.float32))
    return int((values > values.mean()).sum(axis=(0, 1)).argmax())


def _windowed(pixels: NDArray[np.generic], voxels: NDArray[np.generic]) -> NDArray[np.uint8]:
    low, high = np.percentile(np.nan_to_num(np.asarray(voxels, np.float32)), (DARKEST, BRIGHTEST))
    scaled = (np.nan_to_num(np.asarray(pixels, np.float32)) - low) / max(float(high - low), 1e-6)
    return np.asarray(np.clip(scaled, 0, 1) * 255, dtype=np.uint8)
