"""Scores become probabilities that can be read as such."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from encoder.calibration import (
    FEWEST,
    Isotonic,
    Platt,
    best_threshold,
    calibrate_head,
    expected_error,
    fit_isotonic,
    fit_platt,
    fit_temperature,
    folds_of,
    reliability,
)


def test_platt_recovers_the_curve_that_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 3, 20_000)
    truth = rng.random(20_000) < 1 / (1 + np.exp(-(0.7 * scores - 0.5)))
    platt = fit_platt(scores, truth)
    assert platt.slope == pytest.approx(0.7, abs=0.05)
    assert platt.intercept == pytest.approx(-0.5, abs=0.08)


def test_separable_scores_stay_finite_and_a_useless_head_is_never_inverted() -> None:
    separable = fit_platt(np.array([-3.0, -2, 2, 3] * 10), np.array([False, False, True, True] * 10))
    assert np.isfinite([separable.slope, separable.intercept]).all()
    useless = fit_platt(np.array([3.0, 2, -2, -3] * 10), np.array([False, False, True, True] * 10))
    assert useless.slope > 0


def test_the_threshold_lies_between_the_two_groups() -> None:
    logits = np.array([-4.0, -3, -2, 1, 2, 3])
    threshold = best_threshold(logits, logits > 0)
    assert -2 < threshold < 1


def logistic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-x)))


def simulated(n: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Probabilities, and labels drawn with them: a head that is calibrated perfectly."""
    rng = np.random.default_rng(seed)
    p = rng.beta(0.6, 1.5, n)
    return p, rng.random(n) < p


def test_the_error_of_a_perfectly_calibrated_head_is_nearly_zero_and_that_of_a_bragging_one_is_not() -> None:
    p, truth = simulated(20_000)
    assert expected_error(reliability(p, truth)) < 0.01
    assert expected_error(reliability(np.where(p > 0.5, 0.99, 0.01), truth)) > 0.1


def test_bins_hold_every_study_once_about_equally_many_and_no_value_in_two() -> None:
    p, truth = simulated(1000)
    bins = reliability(p, truth)
    assert sum(b.count for b in bins) == 1000
    assert {b.count for b in bins} == {100}
    tied = reliability(np.repeat([0.2, 0.7], 50), np.tile([True, False], 50))
    assert [(b.count, b.observed) for b in tied] == [(50, 0.5), (50, 0.5)]
    assert all(b.low <= b.observed <= b.high for b in bins)


@given(
    st.lists(st.tuples(st.floats(-20, 20), st.booleans()), min_size=2, max_size=60),
    st.lists(st.floats(-30, 30), min_size=2, max_size=10),
)
def test_every_curve_rises_and_stays_strictly_between_0_and_1(pairs: list[tuple[float, bool]], asked: list[float]) -> None:
    scores, truth = np.array([s for s, _ in pairs]), np.array([t for _, t in pairs])
    for curve in (fit_platt(scores, truth), fit_isotonic(scores, truth)):
        chances = [curve(score) for score in sorted(asked)]
        assert all(0 < chance < 1 for chance in chances)
        assert all(a <= b + 1e-12 for a, b in pairwise(chances))


def test_isotonic_is_the_rise_nearest_to_the_labels() -> None:
    """Against every way to cut ten studies into rising steps (their ends, 0 and 1, are held off by a twelfth)."""
    for seed in range(6):
        truth = np.random.default_rng(seed).random(10) < np.linspace(0.1, 0.9, 10)
        best: NDArray[np.float64] = np.zeros(10)
        least = np.inf
        for cuts in range(2**9):
            ends = [0, *(i + 1 for i in range(9) if cuts >> i & 1), 10]
            steps = np.concatenate([np.full(b - a, truth[a:b].mean()) for a, b in pairwise(ends)])
            error = ((steps - truth) ** 2).sum()
            if (np.diff(steps) >= 0).all() and error < least:
                best, least = steps, error
        curve = fit_isotonic(np.arange(10.0), truth)
        wanted, middles = np.unique(best, return_inverse=True)
        np.testing.assert_allclose(curve.probabilities, np.clip(wanted, 1 / 12, 11 / 12), atol=1e-12)
        np.testing.assert_allclose(curve.scores, [np.flatnonzero(middles == k).mean() for k in range(len(wanted))], atol=1e-12)


def test_each_method_recovers_the_distortion_it_can_express() -> None:
    """A cubed logit is no logistic curve: Platt scaling cannot follow it, isotonic regression can, and `auto` knows."""
    rng = np.random.default_rng(1)
    scores = rng.normal(0, 1.5, 6000)
    grid = np.linspace(-2.5, 2.5, 41)
    folds = folds_of([str(i) for i in range(6000)])
    for bent, winner in ((lambda x: 0.7 * x - 0.5, Platt), (lambda x: x**3, Isotonic)):
        truth = rng.random(6000) < logistic(bent(scores))
        found = calibrate_head(scores, truth, folds, "auto")
        assert isinstance(found.curve, winner)
        assert found.ece is not None
        assert found.ece < 0.03
        off = np.array([found.curve(x) for x in grid]) - logistic(bent(grid))
        assert np.abs(off).mean() < 0.03


def test_error_is_measured_on_studies_that_the_curve_has_not_seen() -> None:
    """In its own sample isotonic regression always looks good; where labels follow no score that would be a lie."""
    folds, seen, unseen = folds_of([str(i) for i in range(80)]), [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        scores, truth = rng.normal(size=80), rng.random(80) < 0.5
        found = calibrate_head(scores, truth, folds, "isotonic")
        assert found.curve is not None
        assert found.ece is not None
        seen.append(expected_error(reliability(np.array([found.curve(score) for score in scores]), truth)))
        unseen.append(found.ece)
    assert np.mean(seen) < np.mean(unseen)


def test_heads_with_too_few_of_either_kind_get_no_curve_but_their_counts() -> None:
    scores, folds = np.arange(100.0), folds_of([str(i) for i in range(100)])
    for positives in (0, FEWEST - 1, 100 - FEWEST + 1):
        found = calibrate_head(scores, np.arange(100) >= 100 - positives, folds, "auto")
        assert (found.curve, found.ece, found.positives, found.negatives) == (None, None, positives, 100 - positives)
    assert calibrate_head(scores, np.arange(100) >= 100 - FEWEST, folds, "platt").curve is not None


def test_a_patient_is_in_one_fold() -> None:
    patients = [f"p{i % 17}" for i in range(100)]
    folds = folds_of(patients)
    assert {len({f for f, p in zip(folds, patients, strict=True) if p == patient}) for patient in patients} == {1}
    assert len(set(folds)) == 5


def test_the_temperature_that_blurred_the_logits_is_found() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 4))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = np.array([rng.choice(4, p=p) for p in shares])
    assert fit_temperature(logits * 3, truth) == pytest.approx(3, rel=0.1)
