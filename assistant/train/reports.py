"""The reports that the encoder is aligned with: each study's, in several wordings."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import phantom
from assistant.cores import one_thread_each

Wordings = tuple[tuple[str, ...], ...]  # several wordings of one report, each its sentences
VARIANTS = 4


def report_wordings(studies: Sequence[dict[str, Any]], *, processes: int = 1) -> list[Wordings]:
    """Findings and impression of each study's report, in `VARIANTS` wordings; a study and its mirror image are drawn once."""
    mirrors: dict[int, list[bool]] = {}
    for study in studies:
        mirrors.setdefault(study["seed"], []).append(study["mirror"])
    jobs = list(mirrors.items())
    if processes == 1:
        worded = dict(map(_worded, jobs))
    else:
        with one_thread_each(), multiprocessing.get_context("spawn").Pool(processes) as pool:
            worded = dict(pool.imap_unordered(_worded, jobs, chunksize=20))
    return [worded[study["seed"]][study["mirror"]] for study in studies]


def _worded(job: tuple[int, list[bool]]) -> tuple[int, dict[bool, Wordings]]:
    seed, mirrors = job
    drawn = phantom.sample(seed)  # drawing a phantom costs more than wording it
    reports = {
        mirror: [phantom.report.compose(replace(drawn, mirror=mirror), variant) for variant in range(VARIANTS)] for mirror in mirrors
    }
    return seed, {mirror: tuple(tuple(s.text for s in report.sentences) for report in found) for mirror, found in reports.items()}


def told(wordings: Wordings, rng: np.random.Generator) -> str:
    """One of the wordings, its sentences shuffled (PRIMA.md section 8)."""
    sentences = wordings[rng.integers(len(wordings))]
    return " ".join(sentences[k] for k in rng.permutation(len(sentences)))
