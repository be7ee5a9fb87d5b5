"""A volume cut into tokens: sub-volumes with position, plane and foreground, background dropped (PRIMA.md 2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from encoder.config import PatchSpec
from encoder.errors import StudyError
from encoder.study import Series
from encoder.volume import Volume, canonical

RAW_FOREGROUND = 50.0  # scanner units
DIM_FOREGROUND = 0.5  # ... for volumes whose maximum is below DIM_MAXIMUM
DIM_MAXIMUM = 5.0
SCALE_PERCENTILE = 99.5
RELATIVE_FOREGROUND = 0.1  # of the scale
RELATIVE_CEILING = 2.0  # times the scale


@dataclass(frozen=True)
class Patches:
    """The kept tokens of one series, n of them.

    values: (n, a, b, c) float32, array axes (z, y, x) = (Superior, Posterior, Left), scaled, the thin axis doubled.
    positions: (n, 3) start voxels (z, y, x) in the padded volume. plane_axis: the thin array axis.
    foreground: (n,) per cent of voxels. centres_mm: (n, 3) LPS. total: tokens before filtering; ids: (n,) index among them.
    percentage: the start percentage p at which the filter ended. shape: the volume before padding. affine: (z, y, x) -> mm LPS.
    """

    values: NDArray[np.float32]
    positions: NDArray[np.int64]
    plane_axis: int
    foreground: NDArray[np.float64]
    centres_mm: NDArray[np.float64]
    total: int
    ids: NDArray[np.int64]
    percentage: int
    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.values)


def patchify(series: Series, spec: PatchSpec) -> Patches:
    """Resample, cut, scale and filter one series. Raises StudyError where it would give more than spec.max_total tokens."""
    try:
        return cut(canonical(series, spec), spec)
    except StudyError as error:
        raise StudyError(f"Series '{series.name}': {error}") from error


def cut(volume: Volume, spec: PatchSpec) -> Patches:
    """Cut a canonical volume into tokens and drop the background."""
    size = token_size(volume.plane_axis, spec)
    before, after = _padding(volume.values.shape, size)
    grid = tuple((n + b + a) // s for n, b, a, s in zip(volume.values.shape, before, after, size, strict=True))
    total = int(np.prod(grid))
    if spec.max_total and total > spec.max_total:
        raise StudyError(
            f"expected at most {spec.max_total} tokens, found {total} in a volume of {volume.values.shape}; the series is left out."
        )
    padded = np.pad(volume.values.astype(np.float32), list(zip(before, after, strict=True)))
    scaled, mask = _scale(padded, spec)
    foreground = _split(mask, size).reshape(total, -1).mean(axis=1, dtype=np.float64) * 100
    ids, percentage = _filter(foreground, grid, spec)
    places = np.unravel_index(ids, grid)
    starts = np.stack(places, axis=1) * np.array(size)
    centres = starts + (np.array(size) - 1) / 2 - np.array(before)
    values = _split(scaled, size)[places]
    return Patches(
        values=np.repeat(values, 2, axis=1 + volume.plane_axis),
        positions=starts.astype(np.int64),
        plane_axis=volume.plane_axis,
        foreground=foreground[ids],
        centres_mm=centres @ volume.affine[:3, :3].T + volume.affine[:3, 3],
        total=total,
        ids=ids,
        percentage=percentage,
        shape=(volume.values.shape[0], volume.values.shape[1], volume.values.shape[2]),
        affine=volume.affine,
    )


def unpatchify(patches: Patches, spec: PatchSpec) -> NDArray[np.float32]:
    """The scaled volume (z, y, x) that the tokens came from; zero where a token was dropped."""
    size = token_size(patches.plane_axis, spec)
    before, after = _padding(patches.shape, size)
    restored = np.zeros([n + b + a for n, b, a in zip(patches.shape, before, after, strict=True)], np.float32)
    once = np.take(patches.values, np.arange(0, 2 * spec.thin, 2), axis=1 + patches.plane_axis)  # the thin axis was doubled
    for (z, y, x), token in zip(patches.positions, once, strict=True):
        restored[z : z + size[0], y : y + size[1], x : x + size[2]] = token
    return restored[tuple(slice(b, b + n) for b, n in zip(before, patches.shape, strict=True))]


def token_size(plane_axis: int, spec: PatchSpec) -> tuple[int, int, int]:
    """Edge lengths of a token in voxels (z, y, x), before the thin axis is doubled.

    The official code takes the first axis that is not 256 long for the thin one and fails on 256 cubed; with an in-plane matrix of 256 the
    through-plane axis is the same wherever that rule works.
    """
    z, y, x = (spec.thin if axis == plane_axis else spec.patch for axis in range(3))
    return z, y, x


def token_grid(patches: Patches) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """The grid that a series was cut on, axes (z, y, x): voxels padded in front, edges of a token in voxels, tokens along each axis."""
    a, b, c = patches.values.shape[1:]
    size = tuple(edge // 2 if axis == patches.plane_axis else edge for axis, edge in enumerate((a, b, c)))  # the thin axis was doubled
    before, after = _padding(patches.shape, size)
    return tuple(before), size, tuple((n + x + y) // s for n, x, y, s in zip(patches.shape, before, after, size, strict=True))


def _padding(shape: tuple[int, ...], size: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Voxels to add before and after each axis; the odd one comes after."""
    missing = [-n % s for n, s in zip(shape, size, strict=True)]
    return [m // 2 for m in missing], [m - m // 2 for m in missing]


def _scale(padded: NDArray[np.float32], spec: PatchSpec) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scaled intensities, and the mask of foreground voxels."""
    top = np.float32(padded.max())
    scale = top if spec.intensity == "maximum" else _level(padded)
    scaled = padded / scale if scale > 0 else padded
    if spec.intensity == "percentile":
        scaled = np.clip(scaled, 0, RELATIVE_CEILING)
    if spec.foreground == "relative":
        return scaled, scaled > RELATIVE_FOREGROUND
    return scaled, padded > (DIM_FOREGROUND if top < DIM_MAXIMUM else RAW_FOREGROUND)


def _level(padded: NDArray[np.float32]) -> np.float32:
    """99.5th percentile of the foreground, which is what exceeds a tenth of the same percentile of all positive voxels."""
    positive = padded[padded > 0]
    if not positive.size:
        return np.float32(0)
    rough = np.percentile(positive, SCALE_PERCENTILE)
    return np.float32(np.percentile(positive[positive > RELATIVE_FOREGROUND * rough], SCALE_PERCENTILE))


def _split(volume: NDArray[np.generic], size: tuple[int, int, int]) -> NDArray[np.generic]:
    """(Z, Y, X) -> (z, y, x, a, b, c): a grid of tokens, axis 0 outermost."""
    (z, y, x), (a, b, c) = volume.shape, size
    return volume.reshape(z // a, a, y // b, b, x // c, c).transpose(0, 2, 4, 1, 3, 5)


def _filter(foreground: NDArray[np.float64], grid: tuple[int, ...], spec: PatchSpec) -> tuple[NDArray[np.int64], int]:
    """Ids of the tokens to keep, in the published order (bin by bin, infill after its bin), and the percentage that gave them."""
    bins = np.floor(foreground).astype(int)
    per_bin = [_with_infill(bins == b, grid, fill=b <= spec.infill_to) for b in range(101)]
    for percentage in range(spec.min_foreground, -1, -1):
        ids = np.concatenate(per_bin[percentage:])
        if len(ids) > spec.min_kept:
            break
    if not spec.keep_doubles:
        ids = np.unique(ids)
    if spec.max_kept and len(ids) > spec.max_kept:
        ids = np.sort(ids[np.argsort(-foreground[ids], kind="stable")[: spec.max_kept]])
    return ids, percentage


def _with_infill(members: NDArray[np.bool_], grid: tuple[int, ...], fill: bool) -> NDArray[np.int64]:
    """Ids of a bin's tokens, then of the tokens that they enclose (face connectivity; whole tokens, so the token grid is enough)."""
    own = np.flatnonzero(members)
    if not fill or not len(own):
        return own
    filled = ndimage.binary_fill_holes(members.reshape(grid)).ravel()
    return np.concatenate([own, np.flatnonzero(filled & ~members)])
