"""Training studies: phantoms rendered in memory, cut to tokens, kept on disk in shards that survive a kill.

A shard is one safetensors file of `SHARD` studies; its arrays are concatenated over tokens, series or studies (see `Shard`).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

import phantom
from assistant.cores import one_thread_each
from encoder.config import EncoderConfig, PatchSpec
from encoder.naming import series_name
from encoder.outliers import series_statistics
from encoder.patches import Patches, cut, token_size
from encoder.study import Acquisition, Context, Plane, Series, Study, Weighting
from encoder.volume import Volume, canonical
from prompts import diagnoses

SHARD = 20
COARSE = 2
Grid = tuple[NDArray[np.float64], tuple[int, int, int]]


@dataclass(frozen=True)
class Shard:
    """Tokens and truth of some studies.

    values: (n, thin, patch, patch) float16, thin axis first, not doubled. positions: (n, 3) start voxels (z, y, x).
    planes: (n,) which array axis was thin. centres: (n, 3) LPS mm. lesions: (n, names) lesion voxels in the token, at most 255.
    regions: (n,) region index of most of its tissue (of its lesion where it has one). offsets: (n, 3) mm from the token's
    centre to the centre of its lesion voxels. lengths: (s,) tokens of each series. counts: (b,) series of each study.
    statistics: (s, f) what the out-of-distribution score sees of each series. studies: per study seed, names, truth.
    """

    values: NDArray[np.float16]
    positions: NDArray[np.int16]
    planes: NDArray[np.uint8]
    centres: NDArray[np.float32]
    lesions: NDArray[np.uint8]
    regions: NDArray[np.uint8]
    offsets: NDArray[np.float16]
    lengths: NDArray[np.int32]
    counts: NDArray[np.int32]
    statistics: NDArray[np.float32]
    studies: tuple[dict[str, Any], ...]


def as_study(p: phantom.Phantom) -> Study:
    """The phantom as the reader would give it after a round trip through DICOM, without writing files."""
    series = tuple(
        Series(
            name=series_name(r.name, "", ""),
            voxels=r.voxels,
            affine=r.affine,
            plane=Plane(r.plane),
            weighting=Weighting(r.weighting),
            acquisition=Acquisition(tr=r.tr, te=r.te, ti=r.ti, b_value=r.b_value),
        )
        for r in phantom.render(p)
    )
    truth = phantom.truth(p)
    context = Context(age=truth.age, sex=truth.sex, indication=p.indication, description=p.description)
    return Study(key=f"phantom-{p.seed}", patient=f"phantom-{p.seed}", series=series, excluded=(), context=context)


def thin_first(patches: Patches) -> NDArray[np.float16]:
    """The tokens with the thin axis in front and its doubling undone: (n, thin, patch, patch)."""
    return np.moveaxis(patches.values, patches.plane_axis + 1, 1)[:, ::2].astype(np.float16)


def as_tokens(values: Tensor, plane: int) -> Tensor:
    """Undo `thin_first`: what the tokenizer takes, thin axis doubled, axes in native order."""
    return values.float().repeat_interleave(2, 1).movedim(1, plane + 1).contiguous()


@dataclass(frozen=True)
class Emphasis:
    """Which of the drawn phantoms a training sees: all that have one of these diagnoses, and a share of the others.

    What a training learns last is seen more often for the same hours of simulating; once series are whole, studies of the others are drawn
    `redress` times as often, so that the levels and probabilities learnt there are nearer to how often things occur.
    """

    names: tuple[str, ...] = ()
    others: float = 1.0
    redress: float = 1.0

    def keeps(self, seed: int, diagnoses: Iterable[str]) -> bool:
        """Of the others the seed alone decides, so that a resumed training keeps the same."""
        return self._meant(diagnoses) or seed * 2654435761 % 2**32 < self.others * 2**32

    def chances(self, studies: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
        """Of each study to be drawn once series are whole; they sum to 1."""
        weights = np.array([1.0 if self._meant(study["diagnoses"]) else self.redress for study in studies])
        chances: NDArray[np.float64] = weights / weights.sum()
        return chances

    @property
    def mark(self) -> str:
        """What tells its shards from those of another in one folder: empty where everything is kept."""
        return "" if self.others >= 1 else f"-{zlib.crc32(repr((sorted(self.names), self.others)).encode()):08x}"

    def _meant(self, diagnoses: Iterable[str]) -> bool:
        return not set(self.names).isdisjoint(diagnoses)


EVERYTHING = Emphasis()


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """The 52 names, in the order in which lesion columns and heads stand."""
    return tuple(diagnoses.load())


class _Labels:
    """Token labels of one phantom; series on one grid share the work."""

    def __init__(self, p: phantom.Phantom, spec: PatchSpec) -> None:
        self.p, self.spec = p, spec
        self.seen: dict[bytes, Any] = {}

    def of(self, volume: Volume, patches: Patches) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float16]]:
        lesions, regions, centres = self.cells(volume)
        cell = tuple((patches.positions // token_size(volume.plane_axis, self.spec)).T)
        offsets = centres[cell] - patches.centres_mm
        return lesions[cell], regions[cell], np.where(np.isfinite(offsets), offsets, 0).astype(np.float16)

    def cells(self, volume: Volume) -> tuple[Any, Any, Any]:
        """As `_grid`, which is asked once for each grid."""
        key = _grid_key(volume)
        if key not in self.seen:
            self.seen[key] = self._grid(volume)
        found: tuple[Any, Any, Any] = self.seen[key]
        return found

    def mirrored(self, p: phantom.Phantom, images: list[Volume], volumes: list[Volume]) -> _Labels:
        """Labels of the mirror image `p`: those of the volumes, flipped, wherever cells come to lie on cells."""
        found = _Labels(p, self.spec)
        for image, volume in zip(images, volumes, strict=True):
            if volume.values.shape[2] % token_size(volume.plane_axis, self.spec)[2] == 0:
                lesions, regions, centres = (np.flip(cells, 2) for cells in self.cells(volume))
                found.seen[_grid_key(image)] = lesions, regions, centres * np.array([-1, 1, 1])
        return found

    def _grid(self, volume: Volume) -> tuple[Any, Any, Any]:
        """Lesion voxels (cells, names), region (cells) and lesion centre in mm (cells, 3) for every cell of the token grid.

        Labels are drawn on every second voxel in-plane: a quarter of the cost, and a token still has 256 of them.
        """
        step = np.where(np.arange(3) == volume.plane_axis, 1, COARSE)
        size = np.array(token_size(volume.plane_axis, self.spec))
        before = (-np.array(volume.values.shape) % size) // 2
        cells = -(-np.array(volume.values.shape) // size)
        patch = tuple(size // step)
        # The padded grid's first coarse voxel lies `before` voxels outside the volume, and half a coarse voxel in.
        affine = volume.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ ((step - 1) / 2 - before)
        affine[:3, :3] = affine[:3, :3] * step
        labels = phantom.labels(self.p, affine, tuple(cells * patch))
        column = {name: k for k, name in enumerate(names())}
        any_lesion = np.zeros(labels.regions.shape, bool)
        lesions = np.zeros((*cells, len(column)), np.uint8)
        for name, mask in labels.lesions.items():
            lesions[..., column[name]] = np.minimum(_blocks(mask, patch).sum((1, 3, 5)) * COARSE**2, 255)
            if diagnoses.load()[name].kind in ("diagnosis", "parent"):  # a parenchymal bleed stays under the parent's name
                any_lesion |= mask
        here, blocks = _blocks(any_lesion, patch), _blocks(labels.regions, patch)
        votes = [((blocks == r) * (1 + 500 * here)).sum((1, 3, 5)) * (r > 0) for r in range(len(labels.region_names))]
        index = np.indices(any_lesion.shape, dtype=np.float32)
        mass = here.sum((1, 3, 5))
        with np.errstate(invalid="ignore", divide="ignore"):
            voxel = np.stack([_blocks(axis * any_lesion, patch).sum((1, 3, 5)) / mass for axis in index], -1)
        return lesions, np.stack(votes, -1).argmax(-1).astype(np.uint8), voxel @ affine[:3, :3].T + affine[:3, 3]


def _grid_key(volume: Volume) -> bytes:
    return volume.affine.tobytes() + str(volume.values.shape).encode() + bytes([volume.plane_axis])


def _blocks(volume: NDArray[Any], patch: tuple[int, ...]) -> NDArray[Any]:
    """The volume as (cell, voxel in cell) pairs on each axis."""
    cells = [s // t for s, t in zip(volume.shape, patch, strict=True)]
    return volume.reshape(cells[0], patch[0], cells[1], patch[1], cells[2], patch[2])


def make_shard(path: Path, seeds: range, config: EncoderConfig, mirrored: bool = False, emphasis: Emphasis = EVERYTHING) -> None:
    """Render, cut and label the phantoms of these seeds, with their mirror images if asked; the file appears whole or not at all.

    Those that `emphasis` does not keep are left out; where it keeps none, the first stays.
    """
    from safetensors.numpy import save_file

    rows: dict[str, list[Any]] = {}
    studies = []
    drawn = [phantom.sample(seed) for seed in seeds]
    for p in [p for p in drawn if emphasis.keeps(p.seed, p.diagnoses)] or drawn[:1]:
        study = as_study(p)
        volumes = [canonical(series, config.patch) for series in study.series]
        statistics = [series_statistics(volume)[None] for volume in volumes]  # the same for the mirror image
        labels = _Labels(p, config.patch)
        parts = [_cut(labels, study, volumes) | {"statistics": statistics}]
        studies.append(_facts(p, study))
        if mirrored:
            other = phantom.sample(p.seed, mirror=True)
            images = [_mirror(volume) for volume in volumes]
            parts.append(_cut(labels.mirrored(other, images, volumes), study, images) | {"statistics": statistics})
            studies.append(_facts(other, study))
        for part in parts:
            for name, values in part.items():
                rows.setdefault(name, []).extend(values)
    arrays = {name: np.stack(parts) if name in ("lengths", "counts") else np.concatenate(parts) for name, parts in rows.items()}
    part_file = path.with_suffix(".part")
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, part_file, metadata={"studies": json.dumps(studies)})
    os.replace(part_file, path)


def _mirror(volume: Volume) -> Volume:
    """The volume of the mirrored head: the array flipped, every voxel at -x of where it was."""
    flip = np.eye(4)
    flip[2, 2], flip[2, 3] = -1, volume.values.shape[2] - 1
    return Volume(volume.values[:, :, ::-1], np.diag([-1.0, 1, 1, 1]) @ volume.affine @ flip, volume.plane_axis)


def _cut(labels: _Labels, study: Study, volumes: list[Volume]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {name: [] for name in Shard.__annotations__ if name not in ("studies", "statistics")}
    for volume in volumes:
        patches = cut(volume, labels.spec)
        lesions, regions, offsets = labels.of(volume, patches)
        found["values"].append(thin_first(patches))
        found["positions"].append(patches.positions.astype(np.int16))
        found["planes"].append(np.full(len(patches), patches.plane_axis, np.uint8))
        found["centres"].append(patches.centres_mm.astype(np.float32))
        found["lesions"].append(lesions)
        found["regions"].append(regions)
        found["offsets"].append(offsets)
        found["lengths"].append(np.int32(len(patches)))
    found["counts"].append(np.int32(len(study.series)))
    return found


def _facts(p: phantom.Phantom, study: Study) -> dict[str, Any]:
    truth = phantom.truth(p)
    return {
        "seed": p.seed,
        "mirror": p.mirror,
        "names": [s.name for s in study.series],
        "weightings": [s.weighting for s in study.series],
        "description": study.context.description,
        "diagnoses": list(truth.diagnoses),
        "findings": [{"name": f.name, "side": f.side, "region": f.region} for f in truth.findings],
        "referral": list(truth.referral),
        "priority": truth.priority,
        "age": truth.age,
        "sex": truth.sex,
    }


def load_shard(path: Path) -> Shard:
    """Read one shard whole."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        return Shard(**arrays, studies=tuple(json.loads(file.metadata()["studies"])))


def make_shards(
    folder: Path,
    first_seed: int,
    studies: int,
    config: EncoderConfig,
    *,
    mirrored: bool = False,
    emphasis: Emphasis = EVERYTHING,
    processes: int | None = None,
) -> list[Path]:
    """Make the shards that are missing, one process a core unless told; returns all, in order of seed.

    studies: how many are drawn; `emphasis` says which of them are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mark, after = "m" * mirrored + emphasis.mark, first_seed + studies
    jobs = [
        (folder / f"{start:07d}{mark}.safetensors", range(start, min(start + SHARD, after)), config, mirrored, emphasis)
        for start in range(first_seed, after, SHARD)
    ]
    todo = [job for job in jobs if not job[0].exists()]
    if todo:
        with one_thread_each(), multiprocessing.get_context("spawn").Pool(processes or os.cpu_count()) as pool:
            for done, _ in enumerate(pool.imap_unordered(_make, todo), 1):
                print(f"shards {done}/{len(todo)}", flush=True)
    return [job[0] for job in jobs]


def _make(job: tuple[Path, range, EncoderConfig, bool, Emphasis]) -> None:
    make_shard(*job)


def shards(paths: list[Path]) -> Iterator[Shard]:
    """Read shards one by one."""
    for path in paths:
        yield load_shard(path)
