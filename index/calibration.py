"""How alike is alike enough: the similarity above which a neighbour's labels agree often enough."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from index.errors import IndexStoreError

LEAST_PAIRS = 20  # fewer agreeing pairs than this say nothing about a precision
PRECISIONS = (0.8, 0.7, 0.6, 0.5, 0.4, 0.35, 0.3)  # tried in this order where none is asked for
LEAST_COVERAGE = 0.8  # share of cases with a neighbour above the cut: normal studies are the most alike, and a high cut leaves only those


@dataclass(frozen=True)
class Calibration:
    """The cut, and what it rests on.

    similarity: the least cosine of study embeddings at which a case and its neighbour (never one patient) shared a label with `precision`.
    coverage: the share of cases that had a neighbour so near. pairs: how many pairs lay above the cut.
    text_similarity: the same cut between a report's words and another case's images; None without a text tower.
    """

    precision: float
    similarity: float
    coverage: float
    pairs: int
    text_similarity: float | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Calibration:
        return Calibration(**json.loads(text))


def cut(
    cosines: NDArray[np.float64], agrees: NDArray[np.bool_], nearest: NDArray[np.float64], precisions: Sequence[float] = PRECISIONS
) -> Calibration:
    """The cut of the first precision that leaves `LEAST_COVERAGE` of the cases a neighbour, else of the last.

    cosines, agrees: (pairs,); nearest: (cases,), the cosine of each case's nearest neighbour. precisions: falling.
    Raises IndexStoreError where even the last cannot be reached.
    """

    def at(precision: float) -> Calibration:
        similarity, pairs = least_similarity(cosines, agrees, precision)
        return Calibration(precision, similarity, float(np.mean(nearest >= similarity)), pairs)

    for precision in precisions[:-1]:
        with suppress(IndexStoreError):  # a lower one may be reached
            if (made := at(precision)).coverage >= LEAST_COVERAGE:
                return made
    return at(precisions[-1])


def agree(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether two cases share a label; two without any (normal studies) do."""
    return bool(set(first) & set(second)) or not (first or second)


def least_similarity(cosines: NDArray[np.float64], agrees: NDArray[np.bool_], precision: float) -> tuple[float, int]:
    """The least cosine at or above which the share of agreeing pairs is `precision`, and how many pairs lie there.

    Raises IndexStoreError where no cut reaches it.
    """
    order = np.argsort(-cosines, kind="stable")
    share = np.cumsum(agrees[order]) / np.arange(1, len(order) + 1)
    # A cut between two equal cosines cannot be made: only the last of a run of equals counts.
    last = np.append(np.diff(cosines[order]) != 0, True)
    reached = np.flatnonzero((share >= precision) & last & (np.arange(1, len(order) + 1) >= LEAST_PAIRS))
    if not len(reached):
        best = float(share[LEAST_PAIRS - 1 :].max()) if len(order) >= LEAST_PAIRS else 0.0
        raise IndexStoreError(
            f"No similarity separates agreeing from disagreeing cases: expected {precision:.0%} of at least {LEAST_PAIRS} pairs "
            f"to share a label, found at best {best:.0%} of {len(order)}. Add labelled cases or ask for a lower precision."
        )
    return float(cosines[order[reached[-1]]]), int(reached[-1]) + 1
