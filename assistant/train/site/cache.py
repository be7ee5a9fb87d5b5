"""What was cut from each study, kept on disk: one safetensors file a study, or the reason why there is none."""

from __future__ import annotations

import csv
import hashlib
import json
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assistant.cores import one_thread_each
from assistant.errors import UsageError
from assistant.evaluate.cache import files_of
from assistant.train.site.manifest import Entry
from assistant.train.studies import thin_first
from encoder.config import PatchSpec
from encoder.errors import StudyError

REASON = ".excluded"


@dataclass(frozen=True)
class CutStudy:
    """A study's tokens, one series after the other.

    values: (n, thin, patch, patch) float16, thin axis first, not doubled. positions: (n, 3) start voxels (z, y, x). planes: (n,) which
    array axis was thin. lengths: tokens of each series; names: of each. patient: pseudonym, or the study's where files name nobody.
    """

    values: NDArray[np.float16]
    positions: NDArray[np.int64]
    planes: NDArray[np.uint8]
    lengths: tuple[int, ...]
    names: tuple[str, ...]
    description: str
    patient: str


@dataclass(frozen=True)
class CachedStudy:
    """A study of the manifest and the file that holds what was kept of it; the rest as in CutStudy."""

    entry: Entry
    file: Path
    lengths: tuple[int, ...]
    names: tuple[str, ...]
    description: str
    patient: str

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `keep` made of the study."""
        from safetensors.numpy import load_file

        return dict(load_file(self.file))


@dataclass(frozen=True)
class Exclusion:
    """A study of the manifest that is not trained on, and why."""

    path: Path
    reason: str


Keep = Callable[[CutStudy], Mapping[str, NDArray[Any]]]


def cut_study(path: Path, spec: PatchSpec) -> CutStudy:
    """Read a study and cut every series that gives tokens. Raises StudyError where none does."""
    from encoder.patches import patchify
    from encoder.prima import UNKNOWN
    from encoder.reading import read_study

    study = read_study(path)
    cuts, names, faults = [], [], []
    for series in study.series:
        try:
            cuts.append(patchify(series, spec))
            names.append(series.name)
        except StudyError as error:
            faults.append(str(error))
    if not cuts:
        raise StudyError(f"{path}: expected a series that gives tokens, found none: {'; '.join(faults)}.")
    return CutStudy(
        values=np.concatenate([thin_first(p) for p in cuts]),
        positions=np.concatenate([p.positions for p in cuts]),
        planes=np.concatenate([np.full(len(p), p.plane_axis, np.uint8) for p in cuts]),
        lengths=tuple(len(p) for p in cuts),
        names=tuple(names),
        description=study.context.description or UNKNOWN,
        patient=study.patient or study.key,
    )


def fill(
    folder: Path, entries: Sequence[Entry], spec: PatchSpec, keep: Keep, workers: int = 0, tick: Callable[[], None] = lambda: None
) -> None:
    """Read, cut and keep every study that `folder` lacks; a killed run goes on where it was, and no epoch reads an image.

    workers: processes that read and cut (0 = this one). A study that cannot be used leaves a file with the reason,
    and is tried again the next time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [entry for entry in entries if not _files(folder, entry)[0].exists()]
    for _ in range(len(entries) - len(missing)):
        tick()
    for entry, cut in zip(missing, _mapped(partial(_cut_or_reason, spec=spec), [e.path for e in missing], workers), strict=True):
        target, reason = _files(folder, entry)
        path = reason if isinstance(cut, str) else target
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        if isinstance(cut, str):
            part.write_text(cut, encoding="utf-8")
        else:
            _save(part, keep(cut), cut)
        os.replace(part, path)  # whole or not at all
        if path is target:
            reason.unlink(missing_ok=True)
        tick()


def opened(folder: Path, entries: Sequence[Entry]) -> tuple[tuple[CachedStudy, ...], tuple[Exclusion, ...]]:
    """The studies that `fill` kept, and those it could not. Raises UsageError where none is left."""
    from safetensors import safe_open

    studies, excluded = [], []
    for entry in entries:
        target, reason = _files(folder, entry)
        if reason.exists():
            excluded.append(Exclusion(entry.path, reason.read_text(encoding="utf-8")))
            continue
        with safe_open(target, framework="numpy") as file:
            said = json.loads(file.metadata()["study"])
        patient = entry.patient or said["patient"]
        studies.append(CachedStudy(entry, target, tuple(said["lengths"]), tuple(said["names"]), said["description"], patient))
    if not studies:
        raise UsageError(f"Expected a study that can be read, found none among {len(entries)}: {excluded[0].reason}")
    return tuple(studies), tuple(excluded)


def write_excluded(path: Path, excluded: Iterable[Exclusion]) -> None:
    """A CSV of path and reason."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "reason"))
        table.writerows((str(one.path), one.reason) for one in excluded)


def split(studies: Sequence[CachedStudy], share: float, seed: int) -> tuple[tuple[CachedStudy, ...], tuple[CachedStudy, ...]]:
    """Training and validation studies, no patient in both; the manifest's word stands before the draw.

    Which patients are drawn depends on them and the seed alone, not on the order of rows. Raises UsageError where a side stays empty.
    """
    told = {one.patient: one.entry.split for one in studies if one.entry.split}
    if wrong := sorted({str(one.entry.path) for one in studies if one.entry.split and told[one.patient] != one.entry.split}):
        raise UsageError(f"Manifest: expected a patient's studies on one side of the split, found both: {', '.join(wrong)}.")
    drawn = sorted({one.patient for one in studies} - told.keys(), key=lambda patient: key_of(seed, patient))
    wanted = 0 if "validation" in told.values() else max(1, round(share * len(drawn)))
    held = set(drawn[:wanted]) | {patient for patient, side in told.items() if side == "validation"}
    sides = tuple(one for one in studies if one.patient not in held), tuple(one for one in studies if one.patient in held)
    if not all(sides):
        raise UsageError(f"Manifest: expected studies of at least two patients, found {len({one.patient for one in studies})}; give more.")
    return sides


def key_of(*parts: object) -> str:
    """A short name for what a folder's content depends on."""
    return hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode()).hexdigest()[:12]


def spec_key(spec: PatchSpec) -> str:
    """Of everything that cutting depends on but the study."""
    return key_of(asdict(spec))


def some_tokens(cut: CutStudy, count: int) -> CutStudy:
    """`count` of a study's tokens, the same each time, in order."""
    chosen = np.sort(np.random.default_rng(len(cut.values)).permutation(len(cut.values))[:count])
    return replace(cut, values=cut.values[chosen], positions=cut.positions[chosen], planes=cut.planes[chosen])


def _files(folder: Path, entry: Entry) -> tuple[Path, Path]:
    """Where a study's arrays lie, and where the reason stands if there are none; a changed study has other names."""
    name = files_of(entry.path)[:24]
    return folder / f"{name}.safetensors", folder / f"{name}{REASON}"


def _cut_or_reason(path: Path, spec: PatchSpec) -> CutStudy | str:
    try:
        return cut_study(path, spec)
    except StudyError as error:
        return str(error)


def _mapped(function: Callable[[Path], CutStudy | str], paths: Iterable[Path], workers: int) -> Iterator[CutStudy | str]:
    if workers == 0:
        yield from map(function, paths)
        return
    waiting: deque[Future[CutStudy | str]] = deque()
    try:
        # An executor, not a Pool: a Pool waits for ever for what a killed process had in hand.
        with one_thread_each(), ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            for path in paths:
                waiting.append(pool.submit(function, path))
                if len(waiting) > 2 * workers:  # reading is faster than tokenising: what is cut must not pile up in memory
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise UsageError(f"A process that reads studies was ended, for want of memory perhaps; lower --workers from {workers}.") from error


def _save(path: Path, arrays: Mapping[str, NDArray[Any]], cut: CutStudy) -> None:
    from safetensors.numpy import save_file

    said = {"lengths": cut.lengths, "names": cut.names, "description": cut.description, "patient": cut.patient}
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path, metadata={"study": json.dumps(said)})
