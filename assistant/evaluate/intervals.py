"""A figure with its interval, or the reason why there is none; never a number that the studies cannot bear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from assistant.evaluate.metrics import Floats

LEVEL = 0.95
FEWEST = 5  # positives, and negatives, below which a metric is not computed
CELLS = 4_000_000  # of a matrix (draws, studies) held at once
Measure = Callable[[Floats], Floats]  # weights (d, n) -> (d,), as in `metrics`


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % percentile-bootstrap interval; or value None and the reason.

    positives: of the studies, where the metric counts them.
    """

    value: float | None
    low: float | None
    high: float | None
    studies: int
    positives: int | None = None
    reason: str | None = None

    @staticmethod
    def missing(reason: str, studies: int, positives: int | None = None) -> Estimate:
        """Not computed, and why."""
        return Estimate(None, None, None, studies, positives, reason)


@dataclass(frozen=True)
class Bootstrap:
    """Whole studies drawn with replacement, the same draws for every metric of one set of studies: differences are paired.

    Several studies of one patient count as independent here; give one a patient where that matters.
    """

    studies: int
    draws: int = 1000
    seed: int = 0

    def __call__(self, measure: Measure, positives: int | None = None) -> Estimate:
        """The measure on all studies, with its interval."""
        value = float(measure(np.ones((1, self.studies)))[0])
        if positives is not None and positives < FEWEST:
            return Estimate.missing(f"positive studies: {positives}, at least {FEWEST} are needed", self.studies, positives)
        if not np.isfinite(value):
            return Estimate.missing("too few positive or negative studies", self.studies, positives)
        low, high = np.nanquantile(self.drawn(measure), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Estimate(value, float(low), float(high), self.studies, positives)

    def drawn(self, measure: Measure) -> Floats:
        """The measure on every draw, (draws,)."""
        rng, even = np.random.default_rng(self.seed), np.full(self.studies, 1 / self.studies)
        return np.concatenate([measure(rng.multinomial(self.studies, even, size).astype(np.float64)) for size in self.sizes()])

    def sizes(self) -> list[int]:
        """The draws, as many at a time as memory should hold."""
        step = max(1, CELLS // self.studies)
        return [min(step, self.draws - start) for start in range(0, self.draws, step)]


def enough(positives: int, negatives: int) -> str | None:
    """Why a metric of positives against negatives cannot be computed; None where it can."""
    if positives < FEWEST:
        return f"positive studies: {positives}, at least {FEWEST} are needed"
    if negatives < FEWEST:
        return f"negative studies: {negatives}, at least {FEWEST} are needed"
    return None
