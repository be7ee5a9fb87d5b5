"""How good a score, a probability or a level is: pure functions of truth, output and weights.

weights: (d, n), how often each of the n studies counts in each of d draws. Ones give the plain figure, multiplicities a bootstrap
draw, a 0/1 row a subgroup: one definition for all three, without a loop over draws. Every function returns (d,), NaN where a draw
leaves the metric undefined (no positives, say).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoder.calibration import adaptive_bins

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def auroc(truth: Bools, scores: Floats, weights: Floats) -> Floats:
    """Chance that a positive scores above a negative, ties counting half. truth, scores: (n,)."""
    return _ratio(*_concordance(truth, scores, _by_study(weights)))


def pooled_auroc(truth: Bools, scores: Floats, weights: Floats) -> Floats:
    """AUROC over the pairs of all columns, each compared within its column only: few positives in many columns still say something.

    truth, scores: (n, k).
    """
    right, pairs, by_study = np.zeros(len(weights)), np.zeros(len(weights)), _by_study(weights)
    for column in range(truth.shape[1]):
        some, all_ = _concordance(truth[:, column], scores[:, column], by_study)
        right, pairs = right + some, pairs + all_
    return _ratio(right, pairs)


def mean_auroc(truth: Bools, scores: Floats, weights: Floats) -> Floats:
    """AUROC averaged over the columns in which it is defined. truth, scores: (n, k)."""
    by_study = _by_study(weights)
    columns = range(truth.shape[1])
    each = np.array([_ratio(*_concordance(truth[:, k], scores[:, k], by_study)) for k in columns]).reshape(-1, len(weights))
    defined = np.isfinite(each)
    return _ratio(np.where(defined, each, 0).sum(0), defined.sum(0).astype(np.float64))


def average_precision(truth: Bools, scores: Floats, weights: Floats) -> Floats:
    """Area under precision over recall as a step function; its floor is the prevalence, not 0.5. truth, scores: (n,)."""
    positive, negative = (part[:, ::-1] for part in _by_score(truth, scores, weights))
    hits = positive.cumsum(1)
    called = hits + negative.cumsum(1)
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    return _ratio((positive * precision).sum(1), hits[:, -1])


def sensitivity_at(truth: Bools, scores: Floats, weights: Floats, specificity: float = 0.9) -> Floats:
    """The highest sensitivity of any threshold with at least this specificity, chosen on these studies. truth, scores: (n,)."""
    positive, negative = (part[:, ::-1].cumsum(1) for part in _by_score(truth, scores, weights))
    allowed = negative <= (1 - specificity) * negative[:, -1:] + 1e-9
    best = np.where(allowed, positive, 0).max(1)
    return np.where(negative[:, -1] > 0, _ratio(best, positive[:, -1]), np.nan)


def share(chosen: Bools, among: Bools, weights: Floats) -> Floats:
    """The share of `chosen` among the True of `among`, both any shape (n, ...): sensitivity among positives, and so on."""
    rest = tuple(range(1, among.ndim))
    return _ratio(weights @ (chosen & among).sum(rest).astype(np.float64), weights @ among.sum(rest).astype(np.float64))


def brier_skill(truth: Bools, probabilities: Floats, weights: Floats) -> Floats:
    """1 - squared error / that of always saying the prevalence: above 0 = better than the prevalence. truth, probabilities: (n,)."""
    y = truth.astype(np.float64)
    prevalence = _ratio(weights @ y, weights.sum(1))
    return 1 - _ratio(weights @ (probabilities - y) ** 2, weights.sum(1) * prevalence * (1 - prevalence))


def calibration_error(truth: Bools, probabilities: Floats, weights: Floats) -> Floats:
    """Expected calibration error over the bins of `encoder.calibration.reliability`, which stay the same in every draw.

    Chance differences add up and never cancel: even a perfect forecaster of n studies is above 0. truth, probabilities: (n,).
    """
    of = adaptive_bins(probabilities)
    difference = weights * (probabilities - truth)
    gaps = np.stack([np.abs(difference[:, of == b].sum(1)) for b in np.unique(of)])
    return _ratio(gaps.sum(0), weights.sum(1))


def kappa(truth: Ints, predicted: Ints, weights: Floats, levels: int) -> Floats:
    """Cohen's kappa with quadratic weights over ordered levels 0..levels-1: 0 = chance, 1 = agreement. truth, predicted: (n,)."""
    at = [weights @ np.eye(levels)[values] for values in (truth, predicted)]  # how often each level: (d, levels) each
    total = weights.sum(1)
    seen = weights @ ((truth - predicted) ** 2).astype(np.float64)
    distance = np.subtract.outer(np.arange(levels), np.arange(levels)) ** 2.0
    chance = _ratio(np.einsum("da,ab,db->d", at[0], distance, at[1]), total)
    return 1 - _ratio(seen, chance)


def confusion(truth: Ints, predicted: Ints, levels: int) -> Sequence[Sequence[int]]:
    """Counts by true level (rows) and predicted level (columns)."""
    table = np.zeros((levels, levels), np.int64)
    np.add.at(table, (truth, predicted), 1)
    return tuple(tuple(int(count) for count in row) for row in table)


def _by_study(weights: Floats) -> Floats:
    """(d, n) -> (n, d), so that picking studies copies whole rows: four times as fast."""
    return np.ascontiguousarray(weights.T)


def _concordance(truth: Bools, scores: Floats, by_study: Floats) -> tuple[Floats, Floats]:
    """Weight of (positive, negative) pairs in the right order (ties half), and of all pairs: (d,) each. by_study: (n, d)."""
    negative = np.flatnonzero(~truth)
    negative = negative[np.argsort(scores[negative], kind="stable")]
    below = np.zeros((len(negative) + 1, by_study.shape[1]))  # weight of the negatives before each place
    np.cumsum(by_study[negative], axis=0, out=below[1:])
    ordered = scores[negative]
    first, last = np.searchsorted(ordered, scores[truth], "left"), np.searchsorted(ordered, scores[truth], "right")
    return (by_study[truth] * (below[first] + below[last]) / 2).sum(0), by_study[truth].sum(0) * below[-1]


def _by_score(truth: Bools, scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weight of positives and of negatives at each distinct score, in rising order: (d, distinct) each."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.nan) != 0)
    sorted_ = weights[:, order]
    positive = np.add.reduceat(sorted_ * truth[order], starts, axis=1)
    return positive, np.add.reduceat(sorted_, starts, axis=1) - positive


def _ratio(a: Floats, b: Floats) -> Floats:
    result: Floats = np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=b > 0)
    return result
