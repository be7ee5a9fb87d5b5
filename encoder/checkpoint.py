"""Reads released checkpoints (pickles) without running anything in them.

A pickle is a program. This reader interprets it with an unpickler that imports nothing: every class that a Prima checkpoint may name
becomes an inert `Node` that only remembers its state, tensors become `StoredTensor`s that are read from the file when asked for, and any
other symbol ends the reading with its name. Formats: torch's zip, and the stream that older versions of torch wrote.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from encoder.errors import WeightsError

# Library classes whose instances lie inside a checkpoint; they become Nodes whatever they are.
LIBRARIES = ("torch.nn.", "transformers.")
# The official code's own modules, under every name they were pickled with (its README runs training as a script: __main__).
OFFICIAL_MODULES = {"__main__", "complete_visual_model", "full_model", "model", "model_parts", "patchify", "tools.models"} | {
    f"Prima_training_and_evaluation.{name}" for name in ("full_model", "model", "model_parts", "patchify")
}
OFFICIAL_CLASSES = {
    "Attention",
    "CLIP",
    "FeedForward",
    "FullMRIModel",
    "GPTWrapper",
    "HierViT",
    "MedicalImagePatchifier",
    "PreNorm",
    "PrimaModelWHeads",
    "RachelDatasetPatchifier",
    "SerieCLIP",
    "SerieTransformerEncoder",
    "Transformer",
    "ViT",
}
STORAGES = {
    "BFloat16Storage": torch.bfloat16,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "ShortStorage": torch.int16,
}
DTYPES = {"float16", "float32", "float64", "bfloat16", "int32", "int64", "bool"}

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001


class Node:
    """The inert stand-in for an object of a pickled class: `symbol` says which, `state` holds its attributes."""

    symbol = ""

    state: dict[str, Any]

    def __new__(cls, *_: Any, **__: Any) -> Node:
        node = super().__new__(cls)
        node.state = {}
        return node

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}

    @property
    def kind(self) -> str:
        """The class name, without its module."""
        return self.symbol.rpartition(".")[2]

    def children(self) -> Mapping[str, Node]:
        """Sub-modules by name."""
        return {name: child for name, child in self.state.get("_modules", {}).items() if isinstance(child, Node)}

    def attribute(self, name: str) -> Any:
        """A plain attribute or a sub-module. Raises WeightsError where there is none."""
        for place in (self.state, self.state.get("_modules", {})):
            if name in place:
                return place[name]
        raise WeightsError(
            f"Checkpoint: expected {self.symbol} to have '{name}', found {sorted(self.state)}, {sorted(self.children())}; is this Prima's?"
        )


@dataclass
class Storage:
    """A run of numbers in the file, from byte `start` (which old streams tell only after the objects: hence not frozen)."""

    path: Path
    start: int
    numel: int
    dtype: torch.dtype


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that still lies in the file. `read` takes only the bytes it spans."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        return self.storage.dtype

    def row(self, index: int) -> StoredTensor:
        """Row `index` as a tensor with a first axis of one."""
        if not 0 <= index < self.shape[0]:
            raise WeightsError(
                f"{self.storage.path}: expected a column below {self.shape[0]}, found {index}; the head table and its weights disagree."
            )
        return replace(self, offset=self.offset + index * self.stride[0], shape=(1, *self.shape[1:]))

    def read(self) -> Tensor:
        """The numbers, contiguous. Raises WeightsError where the file ends early or the shape reaches outside the storage."""
        if 0 in self.shape:
            return torch.empty(self.shape, dtype=self.dtype)
        reach = 1 + sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))
        if min(self.offset, *self.stride, 0) < 0 or self.offset + reach > self.storage.numel:
            raise WeightsError(
                f"{self.storage.path}: shape {self.shape} reaches outside its storage of {self.storage.numel} numbers; the file is damaged."
            )
        raw = bytearray(reach * self.dtype.itemsize)
        with self.storage.path.open("rb") as file:
            file.seek(self.storage.start + self.offset * self.dtype.itemsize)
            if file.readinto(raw) != len(raw):
                raise WeightsError(f"{self.storage.path}: expected {len(raw)} more bytes, found the end of the file; copy it again.")
        return torch.frombuffer(raw, dtype=self.dtype).as_strided(self.shape, self.stride).contiguous()


def read_checkpoint(path: Path) -> Any:
    """The object in a checkpoint, as Nodes, StoredTensors and plain Python values.

    Raises WeightsError where the file names a symbol that is no part of a Prima checkpoint, or is no readable checkpoint.
    """
    try:
        if zipfile.is_zipfile(path):
            return _read_zip(path)
        with path.open("rb") as file:
            return _read_stream(path, file)
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way; none of them ran foreign code
        raise WeightsError(
            f"{path}: expected a torch checkpoint, found one that cannot be read ({type(error).__name__}: {error}); copy it again."
        ) from error


def stored_tensors(value: Any, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, StoredTensor]]:
    """Every tensor under a Node or container with its dotted path: parameters, buffers, plain attributes; a shared object once."""
    seen = set() if seen is None else seen
    if isinstance(value, StoredTensor):
        yield prefix.removesuffix("."), value
    elif isinstance(value, Node | Mapping | list | tuple) and id(value) not in seen:
        seen.add(id(value))
        for name, child in _members(value):
            yield from stored_tensors(child, f"{prefix}{name}.", seen)


def _members(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
    else:
        for name, child in value.state.items():
            if name in ("_parameters", "_buffers", "_modules"):
                yield from child.items()
            elif not name.startswith("_"):
                yield name, child


class _InertUnpickler(pickle.Unpickler):
    """Resolves symbols from the tables above alone; `import` never happens."""

    def __init__(self, file: IO[bytes], path: Path, storages: Any) -> None:
        super().__init__(file)
        self._path, self._storages = path, storages
        self._classes: dict[str, type[Node]] = {}

    def find_class(self, module: str, name: str) -> Any:
        symbol = f"{module}.{name}"
        if symbol in _BUILDERS:
            return _BUILDERS[symbol]
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if module == "torch" and name in DTYPES:
            return name
        if module.startswith(LIBRARIES) or symbol == "torch.device" or (module in OFFICIAL_MODULES and name in OFFICIAL_CLASSES):
            return self._classes.setdefault(symbol, type(name.rpartition(".")[2], (Node,), {"symbol": symbol}))
        raise WeightsError(
            f"{self._path}: names `{symbol}`, which is no part of a Prima checkpoint. "
            "The file was refused and nothing in it was run; do not open it with other software."
        )

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) > 1 and pid[0] == "module":  # old streams carry each class with its source text
            return pid[1]
        return self._storages(pid)


def _tensor(storage: Storage, offset: int, shape: Any, stride: Any, *_: Any) -> StoredTensor:
    return StoredTensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, stride)))


def _parameter(tensor: StoredTensor, *_: Any) -> StoredTensor:
    return tensor


_BUILDERS: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "__builtin__.set": set,
    "builtins.set": set,
    "torch.Size": tuple,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
}


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        entries = {entry.filename: entry for entry in archive.infolist()}
        pickles = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise WeightsError(f"{path}: expected one data.pkl inside, found {len(pickles)}; is this a torch checkpoint?")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
            raise WeightsError(
                f"{path}: expected little-endian numbers, found another byte order; save the checkpoint again on a usual machine."
            )

        def storage(pid: Any) -> Storage:
            kind, dtype, key, _, numel = pid
            entry = entries[f"{root}data/{key}"]
            if kind != "storage" or entry.compress_type != zipfile.ZIP_STORED or entry.file_size < numel * dtype.itemsize:
                raise WeightsError(f"{path}: storage {key} is compressed or shorter than declared; the file is damaged.")
            return Storage(path, _data_start(file, entry), numel, dtype)

        with archive.open(pickles[0]) as stream:
            return _InertUnpickler(stream, path, storage).load()


def _data_start(file: IO[bytes], entry: zipfile.ZipInfo) -> int:
    """Where a stored entry's bytes begin: behind its local header, whose name and extra field have their own lengths."""
    file.seek(entry.header_offset + 26)
    name, extra = struct.unpack("<HH", file.read(4))
    return entry.header_offset + 30 + int(name) + int(extra)


def _read_stream(path: Path, file: IO[bytes]) -> Any:
    """Torch before 1.6: five pickles (magic, protocol, machine, object, keys), then each storage as a count and its numbers."""
    storages: dict[str, Storage] = {}

    def storage(pid: Any) -> Storage:
        kind, dtype, key, _, numel, *view = pid
        if kind != "storage" or (view and view[0] is not None):
            raise WeightsError(f"{path}: expected plain storages, found {pid!r}; save the checkpoint again with a current torch.")
        return storages.setdefault(key, Storage(path, -1, numel, dtype))

    magic, protocol, machine = (_InertUnpickler(file, path, storage).load() for _ in range(3))
    if magic != LEGACY_MAGIC or protocol != LEGACY_PROTOCOL or not machine.get("little_endian"):
        raise WeightsError(f"{path}: expected a torch checkpoint, found another kind of file.")
    value = _InertUnpickler(file, path, storage).load()
    for key in _InertUnpickler(file, path, storage).load():
        (count,) = struct.unpack("<q", file.read(8))
        if count != storages[key].numel:
            raise WeightsError(f"{path}: storage {key} holds {count} numbers, expected {storages[key].numel}; the file is damaged.")
        storages[key].start = file.tell()
        file.seek(count * storages[key].dtype.itemsize, 1)
    return value
