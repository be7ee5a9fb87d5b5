"""Studies already read and encoded, kept in a folder: a second evaluation reads no image.

studies/<files>.json holds a study without its voxels; features/<study>-<files>-<what was done>-<encoder>.safetensors what the
encoder made of it. <files> is a hash of names, sizes and times of the study's files, so that a changed study is encoded anew. No
path and no identity is kept (a study's key is a pseudonym).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from assistant.errors import UsageError
from encoder.errors import StudyError
from encoder.features import Localisation, OutOfDistribution, Priority, Score, StudyFeatures
from encoder.study import Acquisition, Context, Excluded, Plane, Series, Side, Study, Weighting

T = TypeVar("T")

NO_VOXELS = np.zeros((0, 0, 0), np.int16)


@dataclass(frozen=True)
class Cache:
    """folder None = nothing is kept. encoder: hash of the weights. calibration: of what is fitted beside them."""

    folder: Path | None
    encoder: str
    calibration: str = ""

    def study(self, files: str) -> Study | None:
        """The study of these files, without voxels; None where it was not read before."""
        path = self._path("studies", f"{files}.json")
        return _kept(path, lambda data: study_from(json.loads(data))) if path else None

    def keep_study(self, files: str, study: Study) -> None:
        """Keeps a study, without its voxels."""
        if path := self._path("studies", f"{files}.json"):
            _write(path, json.dumps(asdict(bare(study)), default=lambda array: array.tolist()).encode())

    def features(self, key: str, files: str, variant: str) -> StudyFeatures | None:
        """What the encoder made of a study before; None where it did not."""
        path = self._path("features", self._name(key, files, variant))
        return _kept(path, features_from) if path else None

    def keep_features(self, key: str, files: str, variant: str, features: StudyFeatures) -> None:
        """Keeps what the encoder made of a study."""
        if path := self._path("features", self._name(key, files, variant)):
            _write(path, as_bytes(features))

    def said(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A json object that costs time to make, made once."""
        path = self._path("said", f"{name}.json")
        known: dict[str, Any] | None = _kept(path, json.loads) if path else None
        if known is None:
            known = make()
            if path:
                _write(path, json.dumps(known).encode())
        return known

    def _name(self, key: str, files: str, variant: str) -> str:
        done = hashlib.sha256(f"{variant} {self.calibration}".encode()).hexdigest()[:12]
        return f"{''.join(filter(str.isalnum, key))[:24]}-{files[:16]}-{done}-{self.encoder[:16]}.safetensors"

    def _path(self, kind: str, name: str) -> Path | None:
        return None if self.folder is None else self.folder / kind / name


def files_of(path: Path) -> str:
    """A hash of the names, sizes and times of a study's files; raises StudyError where there is nothing."""
    digest = hashlib.sha256(str(path.resolve()).encode())
    try:
        for file in sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]:
            state = file.stat()
            digest.update(f"{file.relative_to(path)}\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
    except OSError as error:
        raise StudyError(f"{path}: expected a study, found nothing that can be read ({error.strerror}).") from error
    return digest.hexdigest()


def bare(study: Study) -> Study:
    """The study without its voxels: what rules, subgroups and floors need of it."""
    return replace(study, series=tuple(replace(series, voxels=NO_VOXELS) for series in study.series))


def study_from(values: Mapping[str, Any]) -> Study:
    """A bare study from its json."""
    series = tuple(
        Series(
            name=raw["name"],
            voxels=NO_VOXELS,
            affine=np.array(raw["affine"], np.float64),
            plane=Plane(raw["plane"]),
            weighting=Weighting(raw["weighting"]),
            acquisition=Acquisition(**raw["acquisition"]),
            notes=tuple(raw["notes"]),
        )
        for raw in values["series"]
    )
    excluded = tuple(Excluded(**raw) for raw in values["excluded"])
    return Study(values["key"], values["patient"], series, excluded, Context(**values["context"]))


def as_bytes(features: StudyFeatures) -> bytes:
    """Features as one safetensors file: vectors as tensors, the rest as json in its header."""
    from safetensors.numpy import save

    vectors = {name: np.ascontiguousarray(getattr(features, name)) for name in ("embedding", "registers", "sequences")}
    words = {name: value for name, value in asdict(features).items() if name not in vectors}
    return bytes(save(vectors, metadata={"features": json.dumps(words)}))


def features_from(data: bytes) -> StudyFeatures:
    """Features from what `as_bytes` wrote."""
    from safetensors.numpy import load

    size = int.from_bytes(data[:8], "little")
    words = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["features"])
    outside = words["out_of_distribution"]
    return StudyFeatures(
        **load(data),
        names=tuple(words["names"]),
        scores=tuple(Score(**score) for score in words["scores"]),
        referral=tuple(Score(**score) for score in words["referral"]),
        priority=tuple((Priority(level), chance) for level, chance in words["priority"]),
        locations=tuple(Localisation(**{**raw, "side": Side(raw["side"]), "mm": tuple(raw["mm"])}) for raw in words["locations"]),
        out_of_distribution=OutOfDistribution(**outside) if outside else None,
        encoder=words["encoder"],
        calibration=words["calibration"],
        priority_calibrated=words["priority_calibrated"],
    )


def _kept(path: Path, read: Callable[[bytes], T]) -> T | None:
    """What a file holds; one that is damaged or of another version counts as not there, and is written anew."""
    from safetensors import SafetensorError

    try:
        return read(path.read_bytes())
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None


def _write(path: Path, data: bytes) -> None:
    """The file appears whole or not at all; raises UsageError where it cannot be written."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        raise UsageError(f"--cache: expected a folder that can be written, found {path.parent}: {error.strerror}.") from error
