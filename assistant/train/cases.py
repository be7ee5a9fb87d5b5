"""The demo index: phantom cases that the encoder never saw in training, each of which can be made again from its seed."""

from __future__ import annotations

import logging
import multiprocessing
import shutil
from collections.abc import Iterator
from pathlib import Path

import phantom
from assistant.cores import one_thread_each
from assistant.train.studies import as_study
from encoder.encoder import Encoder
from encoder.study import Study
from index.building import case_of
from index.case import Case, ReportSections
from index.errors import IndexStoreError
from index.store import CaseIndex
from index.text import TextTower

log = logging.getLogger(__name__)

BLOCK = 16  # studies rendered at a time, which bounds the memory


def demo_cases(encoder: Encoder, seeds: range, *, processes: int = 1) -> Iterator[Case]:
    """One case a seed, in the order of the seeds."""
    for seed, study in _rendered(seeds, processes):
        p = phantom.sample(seed)
        report = phantom.report.compose(p)
        sections = ReportSections(report.technique, report.comparison, report.findings, report.impression)
        yield case_of(study, encoder.encode(study), sections, p.names, id=f"demo-{seed}", source=f"phantom:seed={seed}")


def _rendered(seeds: range, processes: int) -> Iterator[tuple[int, Study]]:
    if processes == 1:
        yield from ((seed, _study(seed)) for seed in seeds)
        return
    with one_thread_each(), multiprocessing.get_context("spawn").Pool(processes) as pool:
        for at in range(0, len(seeds), BLOCK):
            yield from zip(seeds[at : at + BLOCK], pool.imap(_study, seeds[at : at + BLOCK]), strict=True)


def _study(seed: int) -> Study:
    return as_study(phantom.sample(seed))


def build_demo_index(encoder: Encoder, tower: TextTower, folder: Path, seeds: range) -> CaseIndex:
    """Make the index anew, calibrate its similarity cuts, and leave it ready to ship."""
    if folder.exists():
        shutil.rmtree(folder)
    dim, width = encoder.card.config.study.out, encoder.card.config.sequence.out
    index = CaseIndex.create(folder, encoder.hash, dim, width, command="prima train demo")
    index.tower = tower
    index.add(demo_cases(encoder, seeds, processes=2))
    try:
        index.calibrate()
    except IndexStoreError as error:  # weak weights still ship an index; it returns its k cases however unlike, and says so
        log.warning("Not calibrated: %s", error)
        index.compact()  # calibrating does it too
    return index
