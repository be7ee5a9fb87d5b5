"""The metrics against brute force and scikit-learn (which sentence-transformers brings), and what must hold of any of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from assistant.evaluate import metrics
from assistant.evaluate.intervals import Bootstrap
from assistant.evaluate.logistic import out_of_fold, stratified_folds
from assistant.evaluate.metrics import Bools, Floats
from encoder.calibration import expected_error, reliability

ONCE = {n: np.ones((1, n)) for n in (60, 200, 400)}
METRICS = (metrics.auroc, metrics.average_precision, metrics.sensitivity_at)


def sample(n: int, seed: int, skill: float = 1.0, ties: bool = True) -> tuple[Bools, Floats]:
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.3
    scores = skill * truth + rng.standard_normal(n)
    return truth, np.round(scores, 1) if ties else scores


def brute_auroc(truth: Bools, scores: Floats) -> float:
    pairs = [(p > q) + (p == q) / 2 for p, q in itertools.product(scores[truth], scores[~truth])]
    return float(np.mean(pairs))


def brute_sensitivity(truth: Bools, scores: Floats, specificity: float) -> float:
    thresholds = [*scores, np.inf]
    return max((scores >= t)[truth].mean() for t in thresholds if (scores < t)[~truth].mean() >= specificity - 1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_brute_force_and_the_reference(seed: int) -> None:
    truth, scores = sample(60, seed)
    assert metrics.auroc(truth, scores, ONCE[60])[0] == pytest.approx(brute_auroc(truth, scores))
    assert metrics.auroc(truth, scores, ONCE[60])[0] == pytest.approx(reference.roc_auc_score(truth, scores))
    assert metrics.average_precision(truth, scores, ONCE[60])[0] == pytest.approx(reference.average_precision_score(truth, scores))
    assert metrics.sensitivity_at(truth, scores, ONCE[60], 0.8)[0] == pytest.approx(brute_sensitivity(truth, scores, 0.8))
    levels, said = np.random.default_rng(seed).integers(0, 4, (2, 60))
    said = np.where(truth, levels, said)
    assert metrics.kappa(levels, said, ONCE[60], 4)[0] == pytest.approx(reference.cohen_kappa_score(levels, said, weights="quadratic"))
    chances = 1 / (1 + np.exp(-scores))
    brier, plain = reference.brier_score_loss(truth, chances), truth.mean() * (1 - truth.mean())
    assert metrics.brier_skill(truth, chances, ONCE[60])[0] == pytest.approx(1 - brier / plain)


@pytest.mark.parametrize("metric", METRICS)
def test_a_weight_is_a_study_repeated(metric: object) -> None:
    truth, scores = sample(60, 1)
    counts = np.random.default_rng(2).integers(0, 4, 60)
    repeated = np.repeat(np.arange(60), counts)
    one = np.ones((1, len(repeated)))
    assert metric(truth, scores, counts[None] * 1.0)[0] == pytest.approx(metric(truth[repeated], scores[repeated], one)[0])


def test_many_draws_at_once_are_those_draws_one_by_one() -> None:
    truth, scores = sample(60, 3)
    weights = np.random.default_rng(3).multinomial(60, np.full(60, 1 / 60), 7).astype(float)
    levels, said = np.random.default_rng(3).integers(0, 4, (2, 60))
    chances = 1 / (1 + np.exp(-scores))
    for measure in (
        lambda w: metrics.auroc(truth, scores, w),
        lambda w: metrics.average_precision(truth, scores, w),
        lambda w: metrics.sensitivity_at(truth, scores, w),
        lambda w: metrics.brier_skill(truth, chances, w),
        lambda w: metrics.calibration_error(truth, chances, w),
        lambda w: metrics.kappa(levels, said, w, 4),
        lambda w: metrics.mean_auroc(np.stack([truth, ~truth], 1), np.stack([scores, scores], 1), w),
        lambda w: metrics.pooled_auroc(np.stack([truth, ~truth], 1), np.stack([scores, scores], 1), w),
    ):
        assert measure(weights) == pytest.approx(np.concatenate([measure(row[None]) for row in weights]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(-8, 8)), min_size=6, max_size=30))
def test_a_monotone_transform_leaves_rank_metrics_alone(rows: list[tuple[bool, int]]) -> None:
    truth, scores = np.array([t for t, _ in rows]), np.array([float(s) for _, s in rows])
    once = np.ones((1, len(rows)))
    for metric in METRICS:
        assert metric(truth, scores, once) == pytest.approx(metric(truth, np.exp(scores / 3) * 7 - 5, once), nan_ok=True)


def test_perfect_is_one_and_inverted_is_nought() -> None:
    truth = np.arange(60) % 3 == 0
    for metric in METRICS:
        assert metric(truth, truth * 1.0, ONCE[60])[0] == 1
    assert metrics.auroc(truth, -1.0 * truth, ONCE[60])[0] == 0
    assert metrics.brier_skill(truth, truth * 1.0, ONCE[60])[0] == 1
    assert metrics.calibration_error(truth, truth * 1.0, ONCE[60])[0] == 0
    assert metrics.kappa(truth * 3, truth * 3, ONCE[60], 4)[0] == 1


def test_the_prevalence_has_no_skill_and_no_calibration_error() -> None:
    truth = np.arange(60) % 3 == 0
    always = np.full(60, 1 / 3)
    assert metrics.brier_skill(truth, always, ONCE[60])[0] == pytest.approx(0)
    assert metrics.calibration_error(truth, always, ONCE[60])[0] == pytest.approx(0)


def test_calibration_error_is_the_mean_gap_of_the_reliability_table() -> None:
    truth, scores = sample(400, 4)
    chances = 1 / (1 + np.exp(-scores))
    assert metrics.calibration_error(truth, chances, ONCE[400])[0] == pytest.approx(expected_error(reliability(chances, truth)))


def test_shuffled_labels_give_one_half_within_the_interval() -> None:
    truth, scores = sample(400, 5, skill=2.0)
    shuffled = np.random.default_rng(5).permutation(truth)
    found = Bootstrap(400, 300)(lambda w: metrics.auroc(shuffled, scores, w))
    assert found.value == pytest.approx(0.5, abs=0.1)
    assert found.low < 0.5 < found.high


def test_the_interval_covers_a_known_value_about_as_often_as_it_says() -> None:
    """Two normals one standard deviation apart: AUROC = Phi(1 / sqrt 2) = 0.760."""
    covered = 0
    for seed in range(60):
        truth, scores = sample(200, 100 + seed, ties=False)
        found = Bootstrap(200, 200, seed)(lambda w, t=truth, s=scores: metrics.auroc(t, s, w))
        covered += found.low <= 0.7602 <= found.high
    assert 51 <= covered <= 60


def test_one_seed_one_interval_and_too_few_positives_none() -> None:
    truth, scores = sample(60, 6)
    measure = lambda w: metrics.auroc(truth, scores, w)  # noqa: E731
    assert Bootstrap(60, 100, 1)(measure) == Bootstrap(60, 100, 1)(measure)
    none = Bootstrap(60, 100)(lambda w: metrics.auroc(np.zeros(60, bool), scores, w))
    assert none.value is None
    assert none.reason
    few = Bootstrap(60, 100)(measure, positives=3)
    assert few.value is None
    assert "positive studies: 3" in str(few.reason)


def test_what_tells_nothing_is_at_one_half_even_out_of_fold() -> None:
    """Pooled as they are, cross-validated scores of a worthless model fall below 0.5: each fold's intercept leans away from it."""
    rng = np.random.default_rng(7)
    values = []
    for _ in range(20):
        truth = rng.random(200) < 0.1
        folds = stratified_folds(truth.astype(np.int64), 5, rng)
        assert max(truth[folds == k].sum() for k in range(5)) - min(truth[folds == k].sum() for k in range(5)) <= 1
        values.append(metrics.auroc(truth, out_of_fold(rng.standard_normal((200, 6)), truth, folds), ONCE[200])[0])
    assert np.mean(values) == pytest.approx(0.5, abs=0.05)


def test_what_tells_something_is_found_out_of_fold() -> None:
    rng = np.random.default_rng(8)
    truth = rng.random(200) < 0.3
    features = np.column_stack([truth + rng.standard_normal(200), rng.standard_normal((200, 5)), np.ones(200)])
    scores = out_of_fold(features, truth, stratified_folds(truth.astype(np.int64), 5, rng))
    assert metrics.auroc(truth, scores, ONCE[200])[0] > 0.65
