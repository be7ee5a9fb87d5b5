"""Training studies: phantoms rendered in memory, cut to tokens, kept on disk in shards that survive a kill.

A shard is one safetensors file of `SHARD` studies; its arrays are concatenated over tokens, series or studies (see `Shard`).
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import phantom
from encoder.config import EncoderConfig, PatchSpec
from encoder.outliers import series_statistics
from encoder.naming import series_name
from encoder.patches import Patches, cut, token_size
from encoder.study import Acquisition, Context, Plane, Series, Study, Weighting
from encoder.volume import Volume, canonical
from prompts import diagnoses

SHARD = 20
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


def as_tokens(values: NDArray[np.float16], plane: int) -> NDArray[np.float32]:
    """Undo `thin_first`: what the tokenizer takes, thin axis doubled, axes in native order."""
    return np.ascontiguousarray(np.moveaxis(np.repeat(values, 2, axis=1), 1, plane + 1), dtype=np.float32)


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
        key = volume.affine.tobytes() + str(volume.values.shape).encode() + bytes([volume.plane_axis])
        if key not in self.seen:
            self.seen[key] = self._grid(volume)
        lesions, regions, centres = self.seen[key]
        cell = tuple((patches.positions // token_size(volume.plane_axis, self.spec)).T)
        offsets = centres[cell] - patches.centres_mm
        return lesions[cell], regions[cell], np.where(np.isfinite(offsets), offsets, 0).astype(np.float16)

    def _grid(self, volume: Volume) -> tuple[Any, Any, Any]:
        # The canonical array is (z, y, x); the phantom labels any (i, j, k) grid, so it gets the array's own axes.
        shape, affine = volume.values.shape, volume.affine
        labels = phantom.labels(self.p, affine, shape)
        patch = token_size(volume.plane_axis, self.spec)
        column = {name: k for k, name in enumerate(names())}
        any_lesion = np.zeros(shape, bool)
        cells = tuple(-(-s // t) for s, t in zip(shape, patch, strict=True))
        lesions = np.zeros((*cells, len(column)), np.uint8)
        for name, mask in labels.lesions.items():
            lesions[..., column[name]] = np.minimum(_blocks(mask, patch).sum((1, 3, 5)), 255)
            if diagnoses.load()[name].kind == "diagnosis":
                any_lesion |= mask
        blocks = _blocks(labels.regions, patch)
        here = _blocks(any_lesion, patch)
        regions = np.stack([((blocks == r) * (1 + 500 * here)).sum((1, 3, 5)) * (r > 0) for r in range(len(labels.region_names))], -1)
        index = np.stack(np.meshgrid(*(np.arange(s) for s in shape), indexing="ij"), 0).astype(np.float32)
        mass = here.sum((1, 3, 5))
        with np.errstate(invalid="ignore", divide="ignore"):
            voxel = np.stack([_blocks(index[a] * any_lesion, patch).sum((1, 3, 5)) / mass for a in range(3)], -1)
        return lesions, regions.argmax(-1).astype(np.uint8), voxel @ affine[:3, :3].T + affine[:3, 3]


def _blocks(volume: NDArray[Any], patch: tuple[int, int, int]) -> NDArray[Any]:
    """The volume, padded as `patchify` pads it, as (cells, patch) pairs on each axis."""
    pad = [-s % t for s, t in zip(volume.shape, patch, strict=True)]
    padded = np.pad(volume, [(p // 2, p - p // 2) for p in pad])
    cells = [s // t for s, t in zip(padded.shape, patch, strict=True)]
    return padded.reshape(cells[0], patch[0], cells[1], patch[1], cells[2], patch[2])


def make_shard(path: Path, seeds: range, config: EncoderConfig) -> None:
    """Render, cut and label the phantoms of these seeds; the file appears whole or not at all."""
    from safetensors.numpy import save_file

    rows: dict[str, list[Any]] = {name: [] for name in Shard.__annotations__ if name not in {"lengths", "counts", "studies"}}
    lengths, counts, studies = [], [], []
    for seed in seeds:
        p = phantom.sample(seed)
        study = as_study(p)
        labels = _Labels(p, config.patch)
        for series in study.series:
            volume = canonical(series, config.patch)
            patches = cut(volume, config.patch)
            lesions, regions, offsets = labels.of(volume, patches)
            n = len(patches.values)
            for name, array in {
                "values": thin_first(patches),
                "positions": patches.positions.astype(np.int16),
                "planes": np.full(n, patches.plane_axis, np.uint8),
                "centres": patches.centres_mm.astype(np.float32),
                "lesions": lesions,
                "regions": regions,
                "offsets": offsets,
                "statistics": series_statistics(volume)[None],
            }.items():
                rows[name].append(array)
            lengths.append(n)
        counts.append(len(study.series))
        truth = phantom.truth(p)
        studies.append(
            {
                "seed": seed,
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
        )
    arrays = {name: np.concatenate(parts) for name, parts in rows.items()}
    arrays |= {"lengths": np.array(lengths, np.int32), "counts": np.array(counts, np.int32)}
    part = path.with_suffix(".part")
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, part, metadata={"studies": json.dumps(studies)})
    os.replace(part, path)


def load_shard(path: Path) -> Shard:
    """Read one shard whole."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        return Shard(**arrays, studies=tuple(json.loads(file.metadata()["studies"])))


def make_shards(folder: Path, first_seed: int, studies: int, config: EncoderConfig, processes: int = 2) -> list[Path]:
    """Make the shards that are missing, in several processes; returns all, in order of seed."""
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(first_seed, first_seed + studies, SHARD)
    jobs = [(folder / f"{start:07d}.safetensors", range(start, min(start + SHARD, first_seed + studies)), config) for start in starts]
    todo = [job for job in jobs if not job[0].exists()]
    if todo:
        with multiprocessing.get_context("spawn").Pool(processes, initializer=_one_thread) as pool:
            for done, _ in enumerate(pool.imap_unordered(_make, todo), 1):
                print(f"shards {done}/{len(todo)}", flush=True)
    return [job[0] for job in jobs]


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _make(job: tuple[Path, range, EncoderConfig]) -> None:
    make_shard(*job)


def shards(paths: list[Path]) -> Iterator[Shard]:
    """Read shards one by one."""
    for path in paths:
        yield load_shard(path)
