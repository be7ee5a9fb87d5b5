"""Pixels of DICOM planes, decoded and rescaled file by file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID, RLELossless

from encoder.decoding import Decoder, UndecodablePixels, stored_planes
from encoder.frames import Frame


def read_planes(frames: Sequence[Frame], decoder: Decoder) -> tuple[dict[int, NDArray[Any]], dict[int, str]]:
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
        for numbers in wanted.values():
            try:
                stored = _decode(pending[numbers[0]], sorted({pending[number].index for number in numbers}), decoder)
                planes |= {n: _rescale(_tile(stored[pending[n].index], pending[n]), pending[n], kind) for n in numbers}
            except Exception as error:
                # A damaged file can fail anywhere in a decoder; whatever fails, its planes are sought in copies, else left out.
                for number in numbers:
                    first, *rest = pending[number].copies or (None,)
                    if first is None:
                        known = isinstance(error, UndecodablePixels)
                        failed[number] = str(error) if known else f"damaged or truncated pixels ({type(error).__name__})"
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
    if not all(abs(bound) < 1 << 62 for bound in ranges):
        return np.dtype(np.float64)
    narrow = np.result_type(np.min_scalar_type(int(min(ranges))), np.min_scalar_type(int(max(ranges))))
    return narrow if narrow.kind in "iu" else np.dtype(np.float64)


def _decode(frame: Frame, indices: list[int], decoder: Decoder) -> dict[int, NDArray[Any]]:
    """Stored planes by frame number; what a C library decodes is decoded apart."""
    syntax = UID(frame.image.syntax)
    apart = syntax.is_transfer_syntax and syntax.is_encapsulated and syntax != RLELossless
    planes = decoder.planes(frame.image.path, indices) if apart else stored_planes(frame.image.path, indices)
    return dict(zip(indices, planes, strict=True))


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
