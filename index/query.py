"""What a search asks for, and what it must respect."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoder.features import StudyFeatures
from encoder.study import Study
from prompts.diagnoses import taxonomy_name


def patient_of(study: Study) -> str:
    """Whose cases a query about the study must not return: its patient's or, where its files name none, its own."""
    return study.patient or study.key


@dataclass(frozen=True, eq=False)
class Query:
    """What to look for: a study, words, or both.

    embedding: (d,) study embedding, any length. sequence_vectors: (s, d_seq), one row a sequence, in the order of `sequences` (names).
    likely: (diagnosis, 0..1) pairs, what the encoder's heads make of the study; a case whose labels they favour ranks higher.
    text: free words; nothing in it is an operator. patient: whom the study is of; that patient's cases are not returned.
    diversity: 0 = by relevance alone, towards 1 = prefer cases unlike those already chosen.
    """

    embedding: NDArray[np.float32] | None = None
    sequence_vectors: NDArray[np.float32] | None = None
    sequences: tuple[str, ...] = ()
    likely: tuple[tuple[str, float], ...] = ()
    text: str | None = None
    patient: str | None = None
    diversity: float = 0.0

    @staticmethod
    def of(features: StudyFeatures, patient: str | None = None, text: str | None = None, diversity: float = 0.0) -> Query:
        """The query that an encoded study makes; patient: as `patient_of` has it."""
        likely = tuple(
            (taxonomy_name(head.name), head.probability if head.probability is not None else _logistic(head.score))
            for head in features.scores
        )
        return Query(features.embedding, features.sequences, features.names, likely, text, patient, diversity)


def _logistic(score: float) -> float:
    return 0.5 * (1 + math.tanh(score / 2))


@dataclass(frozen=True)
class Where:
    """Which cases may be returned; None leaves a field open.

    diagnosis: one of the case's labels. sequence: a part of a sequence's name, case ignored.
    same_patient: also cases of the query's own patient. at_least: the least similarity, in place of the index's calibrated one.
    """

    diagnosis: str | None = None
    age_band: str | None = None
    sex: str | None = None
    sequence: str | None = None
    exclude_patient: str | None = None
    exclude_ids: tuple[str, ...] = ()
    same_patient: bool = False
    at_least: float | None = None
