"""From scores to probabilities, and from a wanted sensitivity to a threshold, on radiographs of known class."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

_CLOSEST: Final = 1e-6
"""Scores are kept that far from 0 and 1, where their logit ends."""

Targets = NDArray[np.int64]
"""1 for COVID-19, 0 for everything else; (N,)."""

Scores = NDArray[np.float64]
"""Of the classifier, towards COVID-19, [0, 1]; (N,)."""


def logits_of(scores: Scores) -> Scores:
    """Logits of scores, finite also at 0 and 1."""
    return np.asarray(logit(np.clip(scores, _CLOSEST, 1 - _CLOSEST)), np.float64)


def calibrated(scores: Scores, slope: float) -> Scores:
    """Scores whose logits were multiplied by `slope`."""
    return np.asarray(expit(logits_of(scores) * slope), np.float64)


def balance(targets: Targets) -> Scores:
    """Weights with which both classes count one half; their sum is 1."""
    counts = np.bincount(targets, minlength=2)
    return np.asarray(0.5 / np.maximum(counts, 1)[targets], np.float64)


def temperature(targets: Targets, scores: Scores) -> float:
    """What logits are divided by to become those of probabilities, if both classes are equally frequent.

    Source: Guo et al., "On calibration of modern neural networks", 2017.
    """
    from scipy.optimize import minimize_scalar  # only here: a worker, which never does this, saves 25 MB

    signed, weights = np.where(targets == 1, -1, 1) * logits_of(scores), balance(targets)

    def loss(log_slope: float) -> float:
        return float((weights * np.logaddexp(0, signed * np.exp(log_slope))).sum())

    return float(np.exp(-minimize_scalar(loss, bounds=(-4, 3), method="bounded").x))


def threshold_for(targets: Targets, scores: Scores, sensitivity: float) -> float:
    """The highest threshold that reaches `sensitivity`: that share of the positives is not below it."""
    positives = np.sort(scores[targets == 1])[::-1]
    # 1e-9: 0.9 of 10 are 9, whatever 0.9 * 10 is in binary.
    return float(positives[max(0, int(np.ceil(sensitivity * len(positives) - 1e-9)) - 1)])
