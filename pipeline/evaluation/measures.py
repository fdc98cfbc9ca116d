"""What is measured: scikit-learn's numbers, and how far they would scatter with other patients."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from pipeline.calibrate import Scores, Targets, balance

DRAWS: Final = 1000
"""Of the bootstrap."""
BINS: Final = 10
"""Of the reliability diagram, equally wide."""


def table_row(targets: Targets, scores: Scores, threshold: float) -> dict[str, Any]:
    """A row of Table 1 of the paper: positive is a score that reaches the threshold.

    confusion: [[true negatives, false positives], [false negatives, true positives]].
    """
    called = (scores >= threshold).astype(np.int64)
    return {
        "confusion": confusion_matrix(targets, called, labels=[0, 1]).tolist(),
        "sensitivity": float(recall_score(targets, called, zero_division=0)),
        "specificity": float(recall_score(targets, called, pos_label=0, zero_division=0)),
        "precision": float(precision_score(targets, called, zero_division=0)),
        "f1": float(f1_score(targets, called, zero_division=0)),
        "auc": float(roc_auc_score(targets, scores)),
        "balanced_accuracy": float(balanced_accuracy_score(targets, called)),
    }


def interval(
    measure: Callable[[NDArray[np.float64]], float],
    targets: Targets,
    patients: Sequence[str],
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> list[float] | None:
    """The 95 % interval of a bootstrap over patients; None if no draw held both classes.

    measure: gets how often each sample was drawn, float64 (N,): the weights of scikit-learn's measures. Patients are
    drawn within the class of their first sample, so that a draw of few patients has both.
    """
    _, of = np.unique(np.array(patients), return_inverse=True)
    count = int(of.max()) + 1
    first = np.full(count, -1)
    first[of[::-1]] = np.arange(len(of))[::-1]
    random, found = np.random.default_rng(seed), []
    groups = [np.flatnonzero(targets[first] == c) for c in np.unique(targets[first])]
    for _ in range(draws):
        drawn = np.zeros(count)
        for group in groups:
            drawn[group] = np.bincount(random.integers(0, len(group), len(group)), minlength=len(group))
        weights = drawn[of]
        found.append(measure(weights))
    found = [value for value in found if np.isfinite(value)]
    return [float(value) for value in np.percentile(found, (2.5, 97.5))] if found else None


def auc_of(targets: Targets, scores: Scores) -> Callable[[NDArray[np.float64]], float]:
    """The area under the ROC curve as a function of the samples' weights; NaN if they leave one class only.

    The numbers are those of scikit-learn, which would sort the scores again for each draw of a bootstrap.
    """
    _, level = np.unique(scores, return_inverse=True)

    def area(weights: NDArray[np.float64]) -> float:
        positives = np.bincount(level, weights * (targets == 1))
        negatives = np.bincount(level, weights * (targets == 0))
        pairs = positives.sum() * negatives.sum()
        below = np.cumsum(negatives) - negatives / 2
        return float((positives * below).sum() / pairs) if pairs > 0 else float("nan")

    return area


def auc_with_interval(targets: Targets, scores: Scores, patients: Sequence[str]) -> dict[str, Any]:
    """Area under the ROC curve, its interval, and how many of each class it rests on."""
    return {
        "auc": float(roc_auc_score(targets, scores)),
        "interval": interval(auc_of(targets, scores), targets, patients),
        "positives": int((targets == 1).sum()),
        "negatives": int((targets == 0).sum()),
    }


def share_with_interval(called: NDArray[np.bool_], patients: Sequence[str]) -> dict[str, Any]:
    """Share of `called`, its interval, and how many it rests on."""
    one_class = np.zeros(len(called), np.int64)
    return {
        "share": float(called.mean()),
        "interval": interval(lambda w: float(np.average(called, weights=w)), one_class, patients),
        "radiographs": len(called),
    }


def reliability(targets: Targets, scores: Scores) -> list[dict[str, float]]:
    """The reliability diagram: of each bin that is not empty its mean score, share of positives and weight.

    Both classes count the same: otherwise it would show how frequent COVID-19 is in the corpus.
    """
    bins, weights = np.minimum((scores * BINS).astype(int), BINS - 1), balance(targets)
    return [
        {
            "score": float(np.average(scores[bins == i], weights=weights[bins == i])),
            "positives": float(np.average(targets[bins == i], weights=weights[bins == i])),
            "weight": float(weights[bins == i].sum()),
        }
        for i in range(BINS)
        if (bins == i).any()
    ]


def expected_calibration_error(targets: Targets, scores: Scores) -> float:
    """ECE: mean distance of score and share of positives over the bins, by their weight, which is that of `balance`."""
    return sum(bin["weight"] * abs(bin["score"] - bin["positives"]) for bin in reliability(targets, scores))
