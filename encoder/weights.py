"""Tensors on disk: safetensors, read strictly; no pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from encoder.errors import WeightsError

M = TypeVar("M", bound=nn.Module)

CALIBRATION, OUTLIERS = "calibration.json", "outliers.safetensors"  # beside the weights, no part of them

_CODES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True)
class Entry:
    """One tensor to be written, read only when its turn comes, so that a file larger than memory can be streamed."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors as one safetensors file."""
    write_safetensors(path, [Entry(name, tuple(tensor.shape), tensor.dtype, tensor.detach) for name, tensor in tensors.items()])


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file. Raises WeightsError where it is missing or unreadable."""
    with opened(path) as mapped:
        return {name: mapped.get_tensor(name) for name in mapped.keys()}  # noqa: SIM118 (not a mapping)


def rounded(tensor: Tensor) -> Tensor:
    """The tensor in half precision, or as it is where it holds whole numbers or half precision would overflow.

    Weights lose 5e-4 of their size at most, which scores do not show; files are half as large.
    """
    half = tensor.half()
    return half if tensor.is_floating_point() and bool(half.isfinite().all()) else tensor


def digest_of(folder: Path) -> str:
    """sha256 over every weights file and every json of a folder: changes with any weight, threshold or switch.

    A calibration fitted later does not count: it changes no embedding, and an index or adapter must not be refused for it.
    """
    files = sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".json") and p.name not in (CALIBRATION, OUTLIERS))
    return hashlib.sha256("".join(f"{path.name} {sha256(path)}\n" for path in files).encode()).hexdigest()


def write_safetensors(path: Path, entries: Iterable[Entry]) -> str:
    """Write tensors one at a time (the library's own writer wants all in memory) and return the file's sha256."""
    entries = sorted(entries, key=lambda e: (-e.dtype.itemsize, e.name))  # widest types first: every tensor stays aligned for mapping
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers refuses files without it
    end = 0
    for entry in entries:
        start, end = end, end + entry.dtype.itemsize * torch.Size(entry.shape).numel()
        header[entry.name] = {"dtype": _CODES[entry.dtype], "shape": list(entry.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for block in (len(text).to_bytes(8, "little"), text):
            file.write(block)
            digest.update(block)
        for entry in entries:
            tensor = entry.read().to(entry.dtype).contiguous()
            assert tuple(tensor.shape) == entry.shape, entry.name
            raw = tensor.reshape(-1).view(torch.uint8).numpy().data
            file.write(raw)
            digest.update(raw)
    return digest.hexdigest()


def load_strictly(module: M, tensors: Mapping[str, Tensor], source: Path) -> M:
    """Put tensors into a module and set it to evaluation. Raises WeightsError that lists what differs in names and shapes."""
    check_names(shapes_of(module.state_dict()), shapes_of(tensors), source)
    module.load_state_dict(dict(tensors), strict=True, assign=True)
    return module.eval()


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Each tensor's shape by name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def check_names(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], source: Path) -> None:
    """Raise WeightsError that lists unknown, missing and misshapen tensors, where there are any."""
    faults = [f"unknown {name}" for name in sorted(found.keys() - expected.keys())]
    faults += [f"missing {name}" for name in sorted(expected.keys() - found.keys())]
    shared = sorted(expected.keys() & found.keys())
    faults += [f"{name} is {found[name]}, expected {expected[name]}" for name in shared if found[name] != expected[name]]
    if faults:
        listed = "; ".join(faults)
        raise WeightsError(
            f"{source}: expected this architecture's tensors, found {len(faults)} differences: {listed}. Nothing was loaded."
        )


def opened(path: Path) -> Any:
    """A safetensors file, mapped: `get_tensor` reads pages as they are used. Raises WeightsError where it is missing or unreadable."""
    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{path}: expected a readable safetensors file, found none ({error}); copy or convert the weights again."
        ) from error


def sha256(path: Path) -> str:
    """sha256 of a file, read in blocks. Raises WeightsError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path}: expected a weights file, found none that can be read ({error}); copy the whole folder.") from error
