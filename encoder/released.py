"""Converted Prima weights: a folder that describes itself, read strictly.

It holds `prima.json` (sizes, patch rules, heads with thresholds, provenance, sha256 of each file), `towers.safetensors` (networks and
the shared priority head) and `heads.safetensors` (one network a diagnosis, mapped when used).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from encoder.config import EncoderConfig, from_mapping
from encoder.errors import WeightsError
from encoder.heads import HeadGroup, SeparateHeads, SharedHeads
from encoder.networks import Towers
from encoder.weights import Entry, load_strictly, opened, read_weights, sha256, write_safetensors

FORMAT = 1
MANIFEST = "prima.json"
TOWERS, HEADS = "towers.safetensors", "heads.safetensors"


@dataclass(frozen=True)
class Released:
    """An opened folder of converted weights. digest: sha256 over weights, sizes and thresholds; what an index records as its encoder."""

    directory: Path
    config: EncoderConfig
    heads: Mapping[str, HeadGroup]
    provenance: Mapping[str, Any]
    digest: str

    def towers(self) -> Towers:
        """The networks, in evaluation mode, float32."""
        with torch.device("meta"):
            towers = Towers(self.config)
        own = {name: tensor for name, tensor in read_weights(self.directory / TOWERS).items() if not name.startswith("heads.")}
        return load_strictly(towers, own, self.directory / TOWERS)

    def scorer(self, group: str) -> SharedHeads | SeparateHeads:
        """The heads of one group. Raises WeightsError where these weights have none."""
        if group not in self.heads:
            raise WeightsError(f"{self.directory}: expected heads for '{group}', found {sorted(self.heads)}; train or convert them first.")
        kind = self.heads[group]
        if kind.separate:
            mapped = opened(self.directory / HEADS)
            return SeparateHeads(lambda name: mapped.get_tensor(f"{group}.{name}"), kind)
        prefix = f"heads.{group}."
        own = {
            name.removeprefix(prefix): tensor for name, tensor in read_weights(self.directory / TOWERS).items() if name.startswith(prefix)
        }
        return load_strictly(SharedHeads(self.config.study.registers * self.config.study.width, kind), own, self.directory / TOWERS)


def open_released(directory: Path, verify: bool = False) -> Released:
    """Open a folder that `save_released` wrote. The towers' file is always checked against its sha256; with `verify` every file is.

    Raises WeightsError where a file is missing, unreadable, changed, or of another format.
    """
    manifest = _manifest(directory)
    for file, expected in manifest["files"].items():
        if (verify or file == TOWERS) and (found := sha256(directory / file)) != expected:
            raise WeightsError(
                f"{directory / file}: expected sha256 {expected[:12]}, found {found[:12]}; the file was changed or damaged: copy it again."
            )
    return Released(
        directory=directory,
        config=from_mapping(EncoderConfig, manifest["config"]),
        heads={name: from_mapping(HeadGroup, group) for name, group in manifest["heads"].items()},
        provenance=manifest["provenance"],
        digest=_digest(manifest),
    )


def save_released(
    directory: Path,
    config: EncoderConfig,
    files: Mapping[str, Iterable[Entry]],
    heads: Mapping[str, HeadGroup],
    provenance: Mapping[str, Any],
    also: Callable[[Path], None] | None = None,
) -> str:
    """Write a folder of converted weights, all of it or nothing, and return its digest.

    also: writes further parts into the folder before it takes its name. Raises WeightsError where `directory` already has content.
    """
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
            "files": digests,
        }
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=1))
        if also is not None:
            also(draft)
        draft.chmod(0o755)
        os.replace(draft, directory)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return _digest(json.loads((directory / MANIFEST).read_text()))


def _manifest(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path}: expected the json of converted weights, found none readable ({error}); name a folder that `prima convert` wrote."
        ) from error
    if manifest.get("format") != FORMAT:
        raise WeightsError(
            f"{path}: expected format {FORMAT}, found {manifest.get('format')!r}; convert the weights again with this version."
        )
    return manifest


def _digest(manifest: Mapping[str, Any]) -> str:
    """Weights, sizes and thresholds decide; where they came from does not."""
    facts = json.dumps([manifest["config"], manifest["heads"], manifest["files"]], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()
