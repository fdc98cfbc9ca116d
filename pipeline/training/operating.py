"""Where a score counts as positive, where it says little, and what in a heat map is hot."""

from typing import Final

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, roc_curve

from models.covid_xnet import CLASSES
from models.registry import OperatingPoint
from pipeline.preprocess import Recipe
from pipeline.training.classifier import Images, Targets

_SURE: Final = 0.85
"""Sensitivity, and specificity, that a score outside the band stands for."""


def operating_point(
    serving: keras.Model, recipe: Recipe, images: Images, targets: Targets, out_of_fold: NDArray[np.float64]
) -> tuple[OperatingPoint, dict[str, float]]:
    """Choose threshold and band from out-of-fold scores, and the scale of the heat map from `serving`, which gives it.

    The threshold has the largest sum of sensitivity and specificity. Above the lower end of the band lie 85 % of the
    COVID-19 radiographs, below its upper end 85 % of the others: in between, a score says little.
    """
    false_positives, true_positives, thresholds = roc_curve(targets, out_of_fold)
    best = int(np.argmax(true_positives - false_positives))
    threshold = float(np.clip(thresholds[best], 0, 1))
    sensitive = float(np.clip(thresholds[int(np.argmax(true_positives >= _SURE))], 0, 1))
    specific = float(np.clip(thresholds[int(np.flatnonzero(false_positives <= 1 - _SURE)[-1])], 0, 1))
    positive = images[targets == 1][..., None].astype(np.float32) / 255
    activation = serving.predict(positive, batch_size=64, verbose=0)[1]
    point = OperatingPoint(
        classes=CLASSES,
        threshold=round(threshold, 4),
        band=(round(min(sensitive, threshold), 4), round(max(specific, threshold), 4)),
        # A network that learned nothing may have no activation above zero; its map is then empty.
        activation_scale=max(round(float(np.percentile(activation.max(axis=(1, 2, 3)), 95)), 4), 1e-4),
        recipe=recipe.name,
        recipe_digest=recipe.digest(),
    )
    return point, {
        "cv_sensitivity": float(true_positives[best]),
        "cv_specificity": float(1 - false_positives[best]),
        "cv_balanced_accuracy": float(balanced_accuracy_score(targets, out_of_fold >= threshold)),
    }
