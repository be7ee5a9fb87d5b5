"""A prior study with its report, and a case that a search returned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ReportSections:
    """A radiology report by section; empty string where a section is absent."""

    technique: str = ""
    comparison: str = ""
    findings: str = ""
    impression: str = ""


@dataclass(frozen=True)
class Case:
    """A prior study with its report, without identity.

    id: short, stable, safe to cite (letters, digits, '-'). patient: pseudonymous key.
    diagnoses: labels, main first. age_band: e.g. "50-59". sequences: the names of its series.
    source: where the study can be had again, e.g. "phantom:seed=17" (None = not available).
    pictures: (caption, PNG bytes) key pictures.
    embedding: (d,) unit float32. sequence_vectors: (s, d_seq) float32 in the order of `sequences`.
    """

    id: str
    patient: str
    report: ReportSections
    diagnoses: tuple[str, ...]
    age_band: str | None
    sex: str | None
    sequences: tuple[str, ...]
    source: str | None
    pictures: tuple[tuple[str, bytes], ...]
    embedding: NDArray[np.float32]
    sequence_vectors: NDArray[np.float32]


@dataclass(frozen=True)
class Neighbour:
    """A retrieved case: similarity is the cosine of study embeddings (None for a pure text hit); rank from 1; why names the evidence."""

    case: Case
    similarity: float | None
    rank: int
    why: str
