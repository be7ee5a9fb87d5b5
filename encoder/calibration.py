"""From a head's score to a probability that can be read as one, and how far such probabilities can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Method = Literal["auto", "platt", "isotonic"]

FEWEST = 8  # positives, and negatives, below which a head is not calibrated: a curve through fewer says nothing
FOLDS = 5
BINS = 10
WILSON = 1.96  # standard errors of the 95 % interval of an observed share


@dataclass(frozen=True)
class Platt:
    """probability = 1 / (1 + exp(-(slope * score + intercept)))."""

    slope: float
    intercept: float

    def __call__(self, score: float) -> float:
        """Probability of one score (logit - threshold)."""
        return float(1 / (1 + np.exp(-np.clip(self.slope * score + self.intercept, -30, 30))))


@dataclass(frozen=True)
class Isotonic:
    """A rising curve: straight between its (score, probability) knots, level outside them."""

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __call__(self, score: float) -> float:
        """Probability of one score (logit - threshold)."""
        return float(np.interp(score, self.scores, self.probabilities))


Curve = Platt | Isotonic


@dataclass(frozen=True)
class Bin:
    """A point of a reliability diagram: mean probability, share that had it, its 95 % interval, and of how many studies."""

    predicted: float
    observed: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class HeadCalibration:
    """What labelled studies say of one head.

    curve: None where there were fewer than FEWEST positives or negatives; the score then stays relative to its threshold.
    ece, bins: of probabilities for studies that the curve had not seen (cross-validation), so that they hold for the next study.
    """

    positives: int
    negatives: int
    curve: Curve | None = None
    ece: float | None = None
    bins: tuple[Bin, ...] = ()


def calibrate_head(scores: NDArray[np.float64], truth: NDArray[np.bool_], folds: NDArray[np.int64], method: Method) -> HeadCalibration:
    """Fit one head's curve and measure it. scores, truth, folds: (n,); `folds` as `folds_of` makes them.

    "auto" takes isotonic regression where it has the lower cross-validated log loss, which needs many studies, else Platt scaling.
    """
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if min(positives, negatives) < FEWEST:
        return HeadCalibration(positives, negatives)
    fits: list[Callable[[NDArray[np.float64], NDArray[np.bool_]], Curve]] = []
    fits += [fit_platt] if method in ("auto", "platt") else []
    fits += [fit_isotonic] if method in ("auto", "isotonic") else []
    tried = [(_unseen(fit, scores, truth, folds), fit) for fit in fits]
    unseen, fit = min(tried, key=lambda pair: log_loss(pair[0], truth))
    bins = reliability(unseen, truth)
    return HeadCalibration(positives, negatives, fit(scores, truth), expected_error(bins), bins)


def folds_of(patients: Sequence[str]) -> NDArray[np.int64]:
    """The fold of each study, (n,); a patient's studies share one, else the curve would know the next study already."""
    unique, place = np.unique(np.array(patients), return_inverse=True)
    folds: NDArray[np.int64] = np.random.default_rng(0).permutation(len(unique))[place] % FOLDS
    return folds


def _unseen(
    fit: Callable[[NDArray[np.float64], NDArray[np.bool_]], Curve],
    scores: NDArray[np.float64],
    truth: NDArray[np.bool_],
    folds: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Each study's probability by a curve fitted on the other folds: (n,)."""
    found = np.zeros(len(scores))
    for fold in np.unique(folds):
        own = folds == fold
        curve = fit(scores[~own], truth[~own])
        found[own] = [curve(score) for score in scores[own]]
    return found


def log_loss(probabilities: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Mean negative log-likelihood. probabilities, truth: (n,)."""
    right = np.where(truth, probabilities, 1 - probabilities)
    return float(-np.log(np.clip(right, 1e-6, 1)).mean())


def reliability(probabilities: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[Bin, ...]:
    """Adaptive bins, of about equally many studies each, equal probabilities together. probabilities, truth: (n,)."""
    place = adaptive_bins(probabilities)
    return tuple(_bin(probabilities[place == b], truth[place == b]) for b in np.unique(place))


def adaptive_bins(probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each study, in rising probability: (n,) -> (n,)."""
    wanted = max(1, min(BINS, len(probabilities) // FEWEST))
    inner = np.unique(np.quantile(probabilities, np.arange(1, wanted) / wanted))
    return np.searchsorted(inner, probabilities, side="right").astype(np.int64)


def _bin(probabilities: NDArray[np.float64], truth: NDArray[np.bool_]) -> Bin:
    n, share = len(truth), float(truth.mean())
    middle = (share + WILSON**2 / (2 * n)) / (1 + WILSON**2 / n)
    half = WILSON * float(np.sqrt(share * (1 - share) / n + WILSON**2 / (4 * n**2))) / (1 + WILSON**2 / n)
    return Bin(float(probabilities.mean()), share, max(0.0, middle - half), min(1.0, middle + half), n)


def expected_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: the mean distance of predicted from observed, by count."""
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.predicted - one.observed) for one in bins) / total


def fit_platt(scores: NDArray[np.float64], truth: NDArray[np.bool_], steps: int = 60) -> Platt:
    """Newton's method on the log-likelihood, with Platt's smoothed targets so that separable heads stay finite.

    scores, truth: (n,). The slope is kept positive: a head may be useless, never inverted.
    """
    positive, negative = truth.sum(), (~truth).sum()
    wanted = np.where(truth, (positive + 1) / (positive + 2), 1 / (negative + 2))
    x = np.stack([scores, np.ones_like(scores)], axis=1)
    w = np.array([1.0, 0.0])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        curvature = (x * (p * (1 - p))[:, None]).T @ x + 1e-3 * np.eye(2)
        step = np.linalg.solve(curvature, x.T @ (p - wanted) + 1e-3 * (w - [1.0, 0.0]))
        w = w - step * min(1.0, 2.0 / max(np.abs(step).max(), 1e-9))
        w[0] = max(w[0], 1e-3)
        if np.abs(step).max() < 1e-7:
            break
    return Platt(float(w[0]), float(w[1]))


def fit_isotonic(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> Isotonic:
    """The rising steps nearest to the labels (pool adjacent violators), joined at their middles.

    scores, truth: (n,). Never 0 or 1: n studies cannot rule out the next one.
    """
    values, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    blocks: list[NDArray[np.float64]] = []  # of hits, studies, sum of scores
    for block in np.stack([np.bincount(place, truth, len(values)), counts, values * counts], axis=1):
        pooled = block
        while blocks and blocks[-1][0] * pooled[1] >= pooled[0] * blocks[-1][1]:
            pooled = pooled + blocks.pop()
        blocks.append(pooled)
    hits, studies, sums = np.stack(blocks).T
    edge = 1 / (len(scores) + 2)
    return Isotonic(tuple((sums / studies).tolist()), tuple(np.clip(hits / studies, edge, 1 - edge).tolist()))


def fit_temperature(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """The softmax temperature with the lowest log loss on a grid. logits: (n, classes), log-probabilities will do; truth: (n,) classes."""

    def loss(temperature: float) -> float:
        scaled = logits / temperature
        scaled = scaled - scaled.max(1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(1)) - scaled[np.arange(len(truth)), truth]).mean())

    return float(min(np.geomspace(0.3, 5, 40), key=loss))


def best_threshold(logits: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """The logit at which F1 on these studies is highest; half-way between neighbours. logits, truth: (n,)."""
    order = np.argsort(-logits)
    hits = np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + truth.sum())
    at = int(f1.argmax())
    following = logits[order[at + 1]] if at + 1 < len(order) else logits[order[at]] - 1.0
    return float((logits[order[at]] + following) / 2)
