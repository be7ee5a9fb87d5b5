"""A series as the tokens see it: resampled in-plane, its axes turned to the patient's (PRIMA.md 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.config import PatchSpec
from encoder.study import Series

SHRINK = 1.5  # beyond this factor plain linear interpolation would skip pixels
PIXEL_TYPE_IDS = {
    "int8": 0,
    "uint8": 1,
    "int16": 2,
    "uint16": 3,
    "int32": 4,
    "uint32": 5,
    "int64": 6,
    "uint64": 7,
    "float32": 8,
    "float64": 9,
}


@dataclass(frozen=True)
class Volume:
    """values: (z, y, x), indices rising towards Superior, Posterior, Left. affine: 4 x 4, index (z, y, x) -> mm, LPS.

    plane_axis: the array axis (0, 1, 2) along which the slices were stacked.
    """

    values: NDArray[Any]
    affine: NDArray[np.float64]
    plane_axis: int


def canonical(series: Series, spec: PatchSpec) -> Volume:
    """Resample a series in-plane to spec.matrix and turn it to (Superior, Posterior, Left); the input is left untouched.

    With spec.pixel_type_fill the stored number type is kept and integers are cut toward zero, as SimpleITK does; else float32.
    """
    stored = series.voxels.dtype.newbyteorder("=")
    values, affine = series.voxels.astype(stored, copy=False), series.affine.astype(np.float64)
    if spec.through_plane_mm and values.shape[2] > spec.through_plane_slices:
        values, affine = _merge_slices(values, affine, spec.through_plane_mm)
    for axis in (0, 1):
        values, affine = _resample(values, affine, axis, spec, fill=PIXEL_TYPE_IDS[stored.name] if spec.pixel_type_fill else None)
    return _to_patient_axes(values.astype(stored if spec.pixel_type_fill else np.float32), affine)


def _resample(
    values: NDArray[Any], affine: NDArray[np.float64], axis: int, spec: PatchSpec, fill: int | None
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Bring one in-plane axis to spec.matrix; first pixel centre stays where it is unless areas are averaged."""
    size, matrix = values.shape[axis], spec.matrix
    if size == matrix:
        return values, affine
    if spec.antialias and size > SHRINK * matrix:
        return _average(values, affine, axis, matrix)
    values = _linear(values, axis, np.arange(matrix) * (size / matrix), fill)
    return values, affine @ _rescaled(axis, size / matrix)


def _linear(values: NDArray[Any], axis: int, at: NDArray[np.float64], fill: int | None) -> NDArray[np.float64]:
    """Values at fractional indices along one axis. Up to half a pixel past the end the edge value holds; beyond it `fill`, where given."""
    last = values.shape[axis] - 1
    low = np.minimum(np.floor(at).astype(int), last)
    high = np.minimum(low + 1, last)
    shape = [1, 1, 1]
    shape[axis] = -1
    first = np.take(values, low, axis).astype(np.float64)
    # This order of operations, in double precision, is ITK's: casts to integers come out the same. Only where ITK's way through
    # physical space rounds an index (spacings that binary fractions cannot hold) may an exact integer of its come out one lower.
    result: NDArray[np.float64] = first + (np.take(values, high, axis) - first) * (at - low).reshape(shape)
    if fill is not None:
        np.moveaxis(result, axis, 0)[at >= last + 0.5] = fill
    return result


def _average(values: NDArray[Any], affine: NDArray[np.float64], axis: int, size: int) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Shrink one axis to `size` by averaging over the area each new pixel covers; the field of view stays."""
    ratio = values.shape[axis] / size
    edges = np.arange(size + 1) * ratio
    old = np.arange(values.shape[axis])
    cover = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    weights = np.clip(cover, 0, None).astype(np.float32) / np.float32(ratio)
    averaged = np.moveaxis(np.tensordot(weights, values.astype(np.float32, copy=False), (1, axis)), 0, axis)
    return averaged, affine @ _rescaled(axis, ratio, shift=(ratio - 1) / 2)


def _merge_slices(values: NDArray[Any], affine: NDArray[np.float64], target_mm: float) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Average thin slices to about `target_mm`; left alone where that would merge fewer than SHRINK slices into one."""
    slices = max(1, round(values.shape[2] * float(np.linalg.norm(affine[:3, 2])) / target_mm))
    return _average(values, affine, 2, slices) if values.shape[2] > SHRINK * slices else (values, affine)


def _rescaled(axis: int, ratio: float, shift: float = 0.0) -> NDArray[np.float64]:
    """Index matrix: new index k on `axis` is old index k * ratio + shift."""
    matrix = np.eye(4)
    matrix[axis, axis], matrix[axis, 3] = ratio, shift
    return matrix


def _to_patient_axes(values: NDArray[Any], affine: NDArray[np.float64]) -> Volume:
    """Permute and flip (i, j, k) to (Superior, Posterior, Left)."""
    cosines = np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    order = [0, 0, 0]  # order[array axis] = voxel axis
    for voxel_axis in range(3):  # column, row, slice in turn, each taking its nearest free direction, as ITK names orientations
        direction = int(np.argmax(cosines[:, voxel_axis]))
        cosines[direction] = -1
        order[2 - direction] = voxel_axis
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    turned = values.transpose(order)
    for array_axis, voxel_axis in enumerate(order):
        falling = affine[2 - array_axis, voxel_axis] < 0
        turn[voxel_axis, array_axis] = -1 if falling else 1
        if falling:
            turn[voxel_axis, 3] = values.shape[voxel_axis] - 1
            turned = np.flip(turned, array_axis)
    return Volume(np.ascontiguousarray(turned), affine @ turn, order.index(2))
