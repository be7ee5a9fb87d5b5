"""Pixels of DICOM planes, decoded and rescaled file by file."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import iter_pixels
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from encoder.frames import Frame


class NoPixels(ValueError):
    """A file that describes an image and holds none."""


def read_planes(frames: Sequence[Frame]) -> tuple[dict[int, NDArray[Any]], dict[int, str]]:
    """Rescaled (rows, columns) pixels by position in `frames`, and for those that cannot be read the reason.

    Rescaled with each plane's own slope (Philips gives every slice another); the type is that of `value_type`.
    """
    planes: dict[int, NDArray[Any]] = {}
    failed: dict[int, str] = {}
    kind = value_type(frames)
    pending = dict(enumerate(frames))
    while pending:
        wanted: dict[Path, list[int]] = defaultdict(list)
        for number, frame in pending.items():
            wanted[frame.image.path].append(number)
        spare: dict[int, Frame] = {}
        for path, numbers in wanted.items():
            try:
                stored = _decode(path, sorted({pending[number].index for number in numbers}))
                planes |= {n: _rescale(_tile(stored[pending[n].index], pending[n]), pending[n], kind) for n in numbers}
            except Exception as error:
                # A damaged file can fail anywhere in a decoder; whatever fails, its planes are sought in copies, else left out.
                for number in numbers:
                    first, *rest = pending[number].copies or (None,)
                    if first is None:
                        failed[number] = _reason(error, pending[number])
                    else:
                        spare[number] = replace(first, copies=tuple(rest))
        pending = spare
    return planes, failed


def value_type(frames: Sequence[Frame]) -> np.dtype[Any]:
    """The stored type where nothing is rescaled, the smallest integer type that holds whole-number rescaling, else float64.

    These are the types the official reader gets from SimpleITK (GDCM's Rescaler), on which its resampling depends.
    """
    ranges = []
    kinds = set()
    for frame in frames:
        image = frame.image
        if frame.slope != round(frame.slope) or frame.intercept != round(frame.intercept):
            return np.dtype(np.float64)
        span = 1 << image.stored_bits
        low, high = (-span // 2, span // 2 - 1) if image.stored_signed else (0, span - 1)
        ranges += [low * frame.slope + frame.intercept, high * frame.slope + frame.intercept]
        kinds.add((image.stored_signed, image.allocated_bits))
    if len(kinds) == 1 and all(frame.slope == 1 and frame.intercept == 0 for frame in frames):
        signed, bits = kinds.pop()
        if bits in (8, 16, 32):
            return np.dtype(f"{'i' if signed else 'u'}{bits // 8}")
    narrow = np.result_type(np.min_scalar_type(int(min(ranges))), np.min_scalar_type(int(max(ranges))))
    return narrow if narrow.kind in "iu" else np.dtype(np.float64)


def _decode(path: Path, indices: list[int]) -> dict[int, NDArray[Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True)
        if "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if dataset.original_encoding[0] else ExplicitVRLittleEndian
        if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
            raise NoPixels
        planes = dict(zip(indices, iter_pixels(dataset, indices=indices, raw=True), strict=True))
        if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
            top = (1 << int(dataset.BitsStored)) - 1 if not dataset.PixelRepresentation else -1
            planes = {index: (top - plane.astype(np.int64)).astype(plane.dtype) for index, plane in planes.items()}
        return planes


def _tile(plane: NDArray[Any], frame: Frame) -> NDArray[Any]:
    if frame.tile is not None:
        row, column = frame.tile
        plane = plane[row : row + frame.rows, column : column + frame.columns]
    if plane.shape != (frame.rows, frame.columns):
        raise ValueError("pixels of another size than the header says")
    return plane


def _rescale(plane: NDArray[Any], frame: Frame, kind: np.dtype[Any]) -> NDArray[Any]:
    if frame.slope == 1 and frame.intercept == 0:
        return plane.astype(kind)
    return (plane * np.float64(frame.slope) + np.float64(frame.intercept)).astype(kind)


def _reason(error: Exception, frame: Frame) -> str:
    if isinstance(error, NoPixels):
        return "no pixels in the file"
    if isinstance(error, RuntimeError | NotImplementedError) and UID(frame.image.syntax).is_encapsulated:
        return f"pixels that cannot be decoded ({UID(frame.image.syntax).name}: damaged, or no decoder installed)"
    return f"damaged or truncated pixels ({type(error).__name__})"
