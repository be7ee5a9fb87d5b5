"""Scores become probabilities that can be read as such."""

from __future__ import annotations

import numpy as np
import pytest

from encoder.calibration import best_threshold, fit_platt


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
