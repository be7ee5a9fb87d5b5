"""The demo index: phantom cases that the encoder never saw in training, each of which can be made again from its seed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import phantom
from assistant.train.studies import as_study
from encoder.encoder import Encoder
from index.building import case_of
from index.case import Case, ReportSections
from index.errors import IndexStoreError
from index.store import CaseIndex

log = logging.getLogger(__name__)

LABEL_PRECISION = 0.8  # share of retrieved cases that should carry the query's main diagnosis at the similarity cut


def demo_cases(encoder: Encoder, seeds: range) -> Iterator[Case]:
    """One case a seed."""
    for seed in seeds:
        p = phantom.sample(seed)
        study, report = as_study(p), phantom.report.compose(p)
        sections = ReportSections(report.technique, report.comparison, report.findings, report.impression)
        yield case_of(study, encoder.encode(study), sections, phantom.truth(p).diagnoses, id=f"demo-{seed}", source=f"phantom:seed={seed}")


def build_demo_index(encoder: Encoder, folder: Path, seeds: range) -> CaseIndex:
    """Make the index anew, calibrate its similarity cut, and leave it ready to ship."""
    if folder.exists():
        shutil.rmtree(folder)
    dim, width = encoder.card.config.study.out, encoder.card.config.sequence.out
    index = CaseIndex.create(folder, encoder.hash, dim, width, command="prima train demo")
    index.add(demo_cases(encoder, seeds))
    try:
        index.calibrate(LABEL_PRECISION)
    except IndexStoreError as error:  # weak weights still ship an index; it returns its k cases however unlike, and says so
        log.warning("The demo index has no similarity cut: %s", error)
    index.compact()
    return index
