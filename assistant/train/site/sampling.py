"""Which studies a step sees, and how they are altered: everything follows from the seed, the step and the place in the step.

No generator has a state to save: a run that resumes, and a run whose step is parted among processes or micro-batches, draw the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assistant.errors import UsageError
from assistant.train.site.cache import CachedStudy
from assistant.train.site.config import ClipTraining
from encoder.model import TokenBatch
from encoder.prima import UNKNOWN

NUMBERED = re.compile(r"(?:^|\s)\d{1,2}[.)]\s+")
SENTENCE = re.compile(r"(?<=[.!?])\s+|\s*\n\s*(?:[-*•]\s+)?")


@dataclass(frozen=True)
class Batch:
    """Studies with their reports. owners: (s,) number of the patient of each series."""

    tokens: TokenBatch
    texts: list[str]
    owners: Tensor


class Studies:
    """The studies of one side of the split, as batches."""

    def __init__(self, studies: Sequence[CachedStudy], config: ClipTraining, seed: int, device: torch.device) -> None:
        self.studies, self.config, self.seed, self.device = tuple(studies), config, seed, device
        patients = {patient: number for number, patient in enumerate(sorted({one.patient for one in studies}))}
        self.owners = [patients[one.patient] for one in studies]
        self.findings = [findings(one.entry.report) for one in studies]
        often = np.array([config.abnormal if one.entry.labels else 1.0 for one in studies])
        self.chance = often / often.sum()

    def drawn(self, step: int, count: int) -> NDArray[np.int64]:
        """The studies of one step, none twice: a study must not be its own negative. Raises UsageError where there are too few."""
        if count > len(self.studies):
            raise UsageError(
                f"Expected at least {count} training studies for one step, found {len(self.studies)}; lower batch or give more."
            )
        return np.random.default_rng([self.seed, step]).choice(len(self.studies), count, replace=False, p=self.chance)

    def altered(self, chosen: NDArray[np.int64], step: int, first: int) -> Batch:
        """Studies with dropped series, tokens and names and shuffled findings. first: the place in the step of the first of them."""
        return self._batch(chosen, [np.random.default_rng([self.seed, step, first + k, 1]) for k in range(len(chosen))])

    def whole(self, chosen: NDArray[np.int64]) -> Batch:
        """Studies as they are."""
        return self._batch(chosen, [None] * len(chosen))

    def _batch(self, chosen: NDArray[np.int64], generators: Sequence[np.random.Generator | None]) -> Batch:
        rows: list[NDArray[np.float16]] = []
        lengths: list[int] = []
        names: list[str] = []
        counts, texts, owners = [], [], []
        for study, rng in zip(chosen.tolist(), generators, strict=True):
            one = self.studies[study]
            series = list(zip(np.split(one.arrays()["rows"], np.cumsum(one.lengths)[:-1]), one.names, strict=True))
            if rng is not None:
                series = self._dropped(series, rng)
            rows += [part for part, _ in series]
            lengths += [len(part) for part, _ in series]
            names += [name for _, name in series]
            counts.append(len(series))
            texts.append(told(self.findings[study], rng if self.config.shuffle_findings else None))
            owners += [self.owners[study]] * len(series)
        packed = torch.from_numpy(np.concatenate(rows)).to(self.device).float()
        descriptions = [self.studies[study].description for study in chosen.tolist()]
        return Batch(TokenBatch(packed, lengths, names, counts, descriptions), texts, torch.tensor(owners, device=self.device))

    def _dropped(self, series: list[tuple[NDArray[np.float16], str]], rng: np.random.Generator) -> list[tuple[NDArray[np.float16], str]]:
        kept = [one for one in series if rng.random() >= self.config.series_dropout] or [series[rng.integers(len(series))]]
        return [(self._thinned(rows, rng), UNKNOWN if rng.random() < self.config.name_dropout else name) for rows, name in kept]

    def _thinned(self, rows: NDArray[np.float16], rng: np.random.Generator) -> NDArray[np.float16]:
        stays = rng.random(len(rows)) >= self.config.token_dropout
        index = np.flatnonzero(stays) if stays.any() else np.arange(1)
        if self.config.most_tokens and len(index) > self.config.most_tokens:
            index = np.sort(rng.permutation(index)[: self.config.most_tokens])
        return rows[index]


def findings(report: str) -> tuple[str, ...]:
    """The items of a numbered list, or the sentences or lines of free text."""
    if re.match(r"\s*1[.)]\s", report):
        parts = NUMBERED.split(report)
    else:
        parts = SENTENCE.split(report)
    return tuple(part.strip() for part in parts if part.strip()) or (report.strip(),)


def told(items: Sequence[str], rng: np.random.Generator | None) -> str:
    """A numbered list of findings, in their own order or in one drawn at random."""
    order = range(len(items)) if rng is None else rng.permutation(len(items)).tolist()
    return " ".join(f"{number}. {items[place]}" for number, place in enumerate(order, start=1))
