"""From a head's score to a probability that can be read as one (Platt scaling)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Platt:
    """probability = 1 / (1 + exp(-(slope * score + intercept)))."""

    slope: float
    intercept: float

    def __call__(self, score: float) -> float:
        """Probability of one score (logit - threshold)."""
        return float(1 / (1 + np.exp(-np.clip(self.slope * score + self.intercept, -30, 30))))


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


def best_threshold(logits: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """The logit at which F1 on these studies is highest; half-way between neighbours. logits, truth: (n,)."""
    order = np.argsort(-logits)
    hits = np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + truth.sum())
    at = int(f1.argmax())
    following = logits[order[at + 1]] if at + 1 < len(order) else logits[order[at]] - 1.0
    return float((logits[order[at]] + following) / 2)
