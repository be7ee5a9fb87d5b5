"""Ridge logistic regression, and its scores on studies that it was not fitted on."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from assistant.evaluate.metrics import Bools, Floats, Ints

RIDGE = 10.0  # on columns of unit spread; how strong it is hardly matters for a floor
STEPS = 12


def out_of_fold(features: Floats, truth: Bools, folds: Ints) -> Floats:
    """Score of every study by a model fitted on the other folds. features: (n, f), truth: (n,), folds: (n,) -> (n,).

    Scores are ranks within the fold, from 0 to 1: the intercepts of different fits are no information, and pooled as they are they push
    a worthless model's AUROC below 0.5.
    """
    scores = np.zeros(len(truth))
    for fold in np.unique(folds):
        held_out = folds == fold
        fitted = features[~held_out]
        centre, spread = fitted.mean(0), fitted.std(0)
        spread = np.where(spread > 0, spread, np.inf)  # a column that never varies says nothing
        weights = fit((fitted - centre) / spread, truth[~held_out])
        raw = (features[held_out] - centre) / spread @ weights[:-1]
        scores[held_out] = rankdata(raw) / (len(raw) + 1)
    return scores


def fit(features: Floats, truth: Bools, ridge: float = RIDGE) -> Floats:
    """Newton's method; weights (f + 1,), the intercept last and not shrunk."""
    x = np.column_stack([features, np.ones(len(features))])
    shrink = np.full(x.shape[1], ridge)
    shrink[-1] = 1e-6
    w = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        curvature = (x * (p * (1 - p) + 1e-6)[:, None]).T @ x + np.diag(shrink)
        step = np.linalg.solve(curvature, x.T @ (p - truth) + shrink * w)
        w = w - step
        if np.abs(step).max() < 1e-6:
            break
    return w


def stratified_folds(strata: Ints, folds: int, rng: np.random.Generator) -> Ints:
    """Fold of each study; every stratum is spread over the folds as evenly as it goes. (n,) -> (n,)."""
    order = rng.permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]
    result = np.zeros(len(strata), np.int64)
    result[order] = np.arange(len(strata)) % folds
    return result
