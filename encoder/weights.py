"""Weights on disk: safetensors and one json, read strictly; no pickle.

A directory holds `encoder.json` (sizes, patch rules, heads with thresholds, provenance, sha256 of each file), `towers.safetensors`
(networks and shared heads) and, where there are any, `heads.safetensors` (separate heads) and `extra.safetensors` (statistics).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from encoder.config import EncoderConfig, from_mapping
from encoder.errors import WeightsError
from encoder.heads import HeadGroup, SeparateHeads, SharedHeads
from encoder.networks import Towers

FORMAT = 1
MANIFEST = "encoder.json"
TOWERS, HEADS, EXTRA = "towers.safetensors", "heads.safetensors", "extra.safetensors"

M = TypeVar("M", bound=nn.Module)

_CODES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL"}


@dataclass(frozen=True)
class Entry:
    """One tensor to be written, read only when its turn comes, so that a file larger than memory can be streamed."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]


@dataclass(frozen=True)
class Weights:
    """An opened weights directory. digest: sha256 over all weights and the sizes; what the index records as the encoder."""

    directory: Path
    config: EncoderConfig
    heads: Mapping[str, HeadGroup]
    provenance: Mapping[str, Any]
    extra: Mapping[str, Any]
    digest: str

    def towers(self) -> Towers:
        """The networks, in evaluation mode, float32."""
        with torch.device("meta"):
            towers = Towers(self.config)
        own = {name: tensor for name, tensor in self.tensors(TOWERS).items() if not name.startswith("heads.")}
        return load_strictly(towers, own, self.directory / TOWERS)

    def scorer(self, group: str) -> SharedHeads | SeparateHeads:
        """The heads of one group. Raises WeightsError where these weights have none."""
        if group not in self.heads:
            raise WeightsError(f"{self.directory}: expected heads for '{group}', found {sorted(self.heads)}; train or convert them first.")
        kind = self.heads[group]
        if kind.separate:
            mapped = _opened(self.directory / HEADS)
            return SeparateHeads(lambda name: mapped.get_tensor(f"{group}.{name}"), kind)
        prefix = f"heads.{group}."
        own = {name.removeprefix(prefix): tensor for name, tensor in self.tensors(TOWERS).items() if name.startswith(prefix)}
        return load_strictly(SharedHeads(self.config.study.registers * self.config.study.width, kind), own, self.directory / TOWERS)

    def tensors(self, file: str) -> dict[str, Tensor]:
        """All tensors of one of the directory's files."""
        with _opened(self.directory / file) as mapped:
            return {name: mapped.get_tensor(name) for name in mapped.keys()}  # noqa: SIM118 (not a mapping)


def open_weights(directory: Path, verify: bool = False) -> Weights:
    """Open a weights directory. The towers' file is always checked against its sha256; with `verify` every file is.

    Raises WeightsError where a file is missing, unreadable, changed, or of another format.
    """
    manifest = _manifest(directory)
    for file, expected in manifest["files"].items():
        if (verify or file == TOWERS) and (found := sha256(directory / file)) != expected:
            raise WeightsError(f"{directory / file}: expected sha256 {expected[:12]}, found {found[:12]}; the file was changed or damaged: copy it again.")
    return Weights(
        directory=directory,
        config=from_mapping(EncoderConfig, manifest["config"]),
        heads={name: from_mapping(HeadGroup, group) for name, group in manifest["heads"].items()},
        provenance=manifest["provenance"],
        extra=manifest["extra"],
        digest=_digest(manifest),
    )


def save_weights(
    directory: Path,
    config: EncoderConfig,
    files: Mapping[str, Iterable[Entry]],
    heads: Mapping[str, HeadGroup],
    provenance: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> str:
    """Write a weights directory, all of it or nothing, and return its digest. Raises WeightsError where `directory` already has content."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise WeightsError(f"{directory}: expected a new or empty folder, found content; name another with --out.")
    directory.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        digests = {file: write_safetensors(draft / file, entries) for file, entries in files.items()}
        manifest = {
            "format": FORMAT,
            "config": asdict(config),
            "heads": {name: asdict(group) for name, group in heads.items()},
            "provenance": dict(provenance),
            "extra": dict(extra or {}),
            "files": digests,
        }
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=1))
        draft.chmod(0o755)
        os.replace(draft, directory)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return _digest(json.loads((directory / MANIFEST).read_text()))


def module_entries(module: nn.Module, prefix: str = "") -> Iterator[Entry]:
    """A module's state as entries to be written."""
    for name, tensor in module.state_dict().items():
        yield Entry(prefix + name, tuple(tensor.shape), tensor.dtype, lambda tensor=tensor: tensor.detach())  # type: ignore[misc]


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
    """Put tensors into a module, names and shapes matching exactly, and set it to evaluation. Raises WeightsError that lists what differs."""
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    check_names(expected, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, source)
    module.load_state_dict(dict(tensors), strict=True, assign=True)
    return module.eval()


def check_names(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], source: Path) -> None:
    """Raise WeightsError that lists unknown, missing and misshapen tensors, where there are any."""
    faults = [f"unknown {name}" for name in sorted(found.keys() - expected.keys())]
    faults += [f"missing {name}" for name in sorted(expected.keys() - found.keys())]
    faults += [f"{name} is {found[name]}, expected {expected[name]}" for name in sorted(expected.keys() & found.keys()) if found[name] != expected[name]]
    if faults:
        raise WeightsError(f"{source}: expected the tensors of this architecture, found {len(faults)} differences: {'; '.join(faults)}. Nothing was loaded.")


def _manifest(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: expected the json of an encoder, found none that can be read ({error}); name a folder that `prima convert` or training wrote.") from error
    if manifest.get("format") != FORMAT:
        raise WeightsError(f"{path}: expected format {FORMAT}, found {manifest.get('format')!r}; convert the weights again with this version.")
    return manifest


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")  # type: ignore[no-untyped-call]
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: expected a safetensors file, found none that can be read ({error}); copy or convert the weights again.") from error


def sha256(path: Path) -> str:
    """sha256 of a file, read in blocks. Raises WeightsError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path}: expected a weights file, found none that can be read ({error}); copy the whole folder.") from error


def _digest(manifest: Mapping[str, Any]) -> str:
    """Weights, sizes and thresholds decide. Refitted statistics (EXTRA) move no embedding, so an index stays valid; provenance neither."""
    weights = {file: digest for file, digest in manifest["files"].items() if file != EXTRA}
    facts = json.dumps([manifest["config"], manifest["heads"], weights], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()
