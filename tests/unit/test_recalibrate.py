"""The operating point of a site, from scores whose distribution is known."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from pipeline.evaluation.measures import expected_calibration_error
from pipeline.recalibrate import Home, called_elsewhere, on_curve, recalibrate

HOME = Home(middle=0.0, deviation=1.4)
SHIFT = -2.0
"""How far the scores of the site have moved, in logits."""


def draw(
    count: int, of_them: int, *, apart: float = 2.0, wide: float = 1.0, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores and targets of a site: `of_them` of `count` with COVID-19."""
    targets = np.arange(count) < of_them
    deviations = np.where(targets, wide, 1.0)
    logits = np.random.default_rng(seed).normal(SHIFT + apart * (targets - 0.5), deviations)
    return expit(logits), targets.astype(np.int64)


def test_many_labels_find_what_the_scores_mean() -> None:
    scores, targets = draw(4000, 2000)
    unlabelled, _ = draw(200, 100, seed=1)
    found = recalibrate(unlabelled, scores, targets, HOME, 0.9)
    probabilities = on_curve(scores, found.curve)
    # Two normal densities with one deviation: the log odds are 2 (logit - middle).
    logits = np.log(scores / (1 - scores))
    assert np.abs(probabilities - expit(2 * (logits - SHIFT))).mean() < 0.02
    assert expected_calibration_error(targets, probabilities) < 0.02
    assert np.mean(scores[targets == 1] >= found.threshold) == pytest.approx(0.9, abs=0.01)
    low, high = found.band
    assert np.mean(scores[targets == 1] >= low) == pytest.approx(0.95, abs=0.01)
    # At 90 % sensitivity more than 15 % of the others are above the threshold, so that the band reaches beyond it.
    assert low < found.threshold < high
    assert high == pytest.approx(expit(SHIFT - 1 + ndtri(0.85)), abs=0.02)


def test_few_labels_are_better_than_none_and_make_cautious_probabilities() -> None:
    judged, truth = draw(2000, 1000, seed=9)
    errors = []
    for seed in range(8):
        scores, targets = draw(20, 10, seed=seed)
        unlabelled, _ = draw(200, 60, seed=100 + seed)
        found = recalibrate(unlabelled, scores, targets, HOME, 0.85)
        probabilities = on_curve(judged, found.curve)
        errors.append(expected_calibration_error(truth, probabilities))
        assert np.mean(judged[truth == 1] >= found.threshold) > 0.6
    assert np.mean(errors) < 0.09
    assert expected_calibration_error(truth, judged) > 0.25


def test_a_class_that_is_wider_bends_the_curve_and_it_never_falls() -> None:
    scores, targets = draw(2000, 1000, wide=2.0)
    found = recalibrate(scores, scores, targets, HOME, 0.85)
    known, probabilities = np.array(found.curve).T
    assert (np.diff(known) > 0).all()
    assert (np.diff(probabilities) >= 0).all()
    # Far below, the wide class has as many as the narrow one again: no score excludes it.
    assert probabilities[0] > 0.15
    assert probabilities[-1] > 0.99
    assert expected_calibration_error(targets, on_curve(scores, found.curve)) < 0.1


def test_the_same_radiographs_give_the_same_operating_point() -> None:
    scores, targets = draw(20, 10)
    unlabelled, _ = draw(100, 50)
    assert recalibrate(unlabelled, scores, targets, HOME, 0.85) == recalibrate(unlabelled, scores, targets, HOME, 0.85)


def test_a_labelled_radiograph_is_judged_by_a_threshold_that_it_took_no_part_in() -> None:
    scores, targets = draw(12, 6)
    unlabelled, _ = draw(100, 50)
    called = called_elsewhere(unlabelled, scores, targets, HOME, 0.85)
    for i in (0, 11):
        others = np.arange(12) != i
        found = recalibrate(unlabelled, scores[others], targets[others], HOME, 0.85)
        assert called[i] == (scores[i] >= found.threshold)


def test_scores_of_nought_and_one_are_no_obstacle() -> None:
    scores, targets = np.array([0.0, 0.0, 0.2, 1.0, 1.0, 0.9]), np.array([0, 0, 0, 1, 1, 1])
    found = recalibrate(np.array([0.0, 1.0] * 30), scores, targets, Home.of(np.zeros(3), np.ones(3)), 0.85)
    assert 0 <= found.band[0] <= found.threshold <= found.band[1] <= 1
    assert np.isfinite(on_curve(np.array([0.0, 0.5, 1.0]), found.curve)).all()
