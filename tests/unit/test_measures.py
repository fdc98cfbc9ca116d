"""What a report measures, against definitions written down again."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from pipeline.calibrate import calibrated, temperature, threshold_for
from pipeline.evaluation.measures import (
    auc_of,
    auc_with_interval,
    expected_calibration_error,
    interval,
    share_with_interval,
    table_row,
)

TARGETS = np.array([0, 0, 0, 0, 1, 1, 1, 1])
SCORES = np.array([0.1, 0.2, 0.6, 0.3, 0.9, 0.5, 0.4, 0.8])


def test_a_row_of_the_table_counts_a_score_at_the_threshold_as_positive() -> None:
    row = table_row(TARGETS, SCORES, 0.5)
    assert row["confusion"] == [[3, 1], [1, 3]]
    assert (row["sensitivity"], row["specificity"], row["precision"], row["f1"]) == (0.75, 0.75, 0.75, 0.75)
    assert row["balanced_accuracy"] == 0.75
    assert row["auc"] == 14 / 16  # pairs in order: all but those of 0.6 with 0.5 and 0.4


@pytest.mark.parametrize(("sensitivity", "threshold"), [(1.0, 0.4), (0.75, 0.5), (0.7, 0.5), (0.5, 0.8), (0.1, 0.9)])
def test_the_threshold_is_the_highest_that_reaches_the_sensitivity(sensitivity: float, threshold: float) -> None:
    assert threshold_for(TARGETS, SCORES, sensitivity) == threshold


def test_the_threshold_is_that_of_scikit_learns_curve() -> None:
    random = np.random.default_rng(4)
    targets, scores = random.integers(0, 2, 200), random.integers(0, 60, 200) / 60
    _, found, thresholds = roc_curve(targets, scores, drop_intermediate=False)
    for sensitivity in np.arange(0.05, 1.01, 0.05):
        expected = thresholds[int(np.argmax(found >= sensitivity - 1e-9))]
        assert threshold_for(targets, scores, sensitivity) == expected


def test_the_weighted_area_is_that_of_scikit_learn_ties_and_all() -> None:
    random = np.random.default_rng(2)
    targets, scores = random.integers(0, 2, 300), random.integers(0, 40, 300) / 40
    area = auc_of(targets, scores)
    for _ in range(20):
        weights = random.integers(0, 4, 300).astype(float)
        assert area(weights) == pytest.approx(roc_auc_score(targets, scores, sample_weight=weights), abs=1e-12)
    assert np.isnan(area((targets == 1).astype(float)))


def test_the_bootstrap_draws_patients_and_not_radiographs() -> None:
    random = np.random.default_rng(0)
    of_patient = random.random(40)
    targets = np.repeat(np.arange(40) % 2, 10)
    scores = np.repeat(of_patient + 0.3 * (np.arange(40) % 2), 10) + random.normal(0, 1e-3, 400)
    grouped = auc_with_interval(targets, scores, [f"p{n // 10}" for n in range(400)])
    alone = auc_with_interval(targets, scores, [f"p{n}" for n in range(400)])
    assert grouped["auc"] == alone["auc"] == pytest.approx(roc_auc_score(targets, scores))
    assert grouped["interval"][1] - grouped["interval"][0] > 2 * (alone["interval"][1] - alone["interval"][0])


def test_the_interval_of_a_share_is_about_that_of_the_binomial_distribution() -> None:
    called = np.arange(400) % 4 == 0
    found = share_with_interval(called, [f"p{n}" for n in range(400)])
    assert found["share"] == 0.25
    half = 1.96 * np.sqrt(0.25 * 0.75 / 400)
    assert found["interval"] == pytest.approx([0.25 - half, 0.25 + half], abs=0.01)


def test_every_draw_holds_both_classes_and_the_seed_decides_them() -> None:
    targets, patients = np.array([0, 1, 1]), ["a", "b", "c"]

    def measure(weights: NDArray[np.float64]) -> float:
        assert weights[0] == 1
        assert weights.sum() == 3
        return float(weights[1])

    assert interval(measure, targets, patients, seed=3) == interval(measure, targets, patients, seed=3) == [0, 2]


def test_the_temperature_brings_scores_that_are_too_sure_back() -> None:
    random = np.random.default_rng(1)
    logits = random.normal(0, 1.5, 20000)
    targets = (random.random(20000) < 1 / (1 + np.exp(-logits))).astype(int)
    too_sure = 1 / (1 + np.exp(-3 * logits))
    found = temperature(targets, too_sure)
    assert found == pytest.approx(3, abs=0.1)
    assert expected_calibration_error(targets, too_sure) > 0.1
    assert expected_calibration_error(targets, calibrated(too_sure, 1 / found)) < 0.02


def test_the_calibration_error_counts_both_classes_the_same() -> None:
    # Bin 0.2 to 0.3: all normal, weight one half; bin 0.7 to 0.8: all ill, the other half.
    targets, scores = np.array([0, 0, 0, 1]), np.array([0.25, 0.25, 0.25, 0.75])
    assert expected_calibration_error(targets, scores) == pytest.approx(0.25)
    assert expected_calibration_error(np.array([0, 1]), np.array([0.5, 0.5])) == 0
    assert expected_calibration_error(np.array([0, 1]), np.array([0.0, 1.0])) == 0
