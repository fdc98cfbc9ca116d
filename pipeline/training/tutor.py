"""A simple model that travels between archives better than a network: it marks the examples that the network learns."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.feature import hog
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

_SIDE: Final = 64
_CELL: Final = 8
_STEEPNESS: Final = 2.0
"""Log odds of a mark for one standard deviation of the tutor's decision."""


Features = NDArray[np.float32]
"""Oriented gradients of images, float32 (N, F)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tutor:
    """A regularised linear model on oriented gradients that was fitted."""

    model: Pipeline

    @classmethod
    def fit(cls, features: Features, targets: NDArray[np.int64], freedom: float) -> "Tutor":
        """Learn from the features of images of both classes; targets: 1 for COVID-19, else 0; (N,).

        freedom: inverse strength of the regularisation. The less, the less can a single feature, such as a marker or a
        border, decide.
        """
        model = make_pipeline(StandardScaler(), LogisticRegression(C=freedom, class_weight="balanced", max_iter=1000))
        return cls(model=model.fit(features, targets))

    def decide(self, features: Features) -> NDArray[np.float64]:
        """How much each image looks like COVID-19; (N,), any range."""
        return np.asarray(self.model.decision_function(features), np.float64)


def marks(images: NDArray[np.uint8], targets: NDArray[np.int64], freedom: float) -> NDArray[np.float64]:
    """How sure the tutor is of COVID-19 in each of the images that it is fitted on; (N,), [0, 1].

    It is too simple to know them by heart: a label that goes against all that it sees gets a doubtful mark.
    """
    features = features_of(images)
    decision = Tutor.fit(features, targets, freedom).decide(features)
    middle = np.mean([decision[targets == label].mean() for label in (0, 1)])
    sure: NDArray[np.float64] = 1 / (1 + np.exp(-_STEEPNESS * (decision - middle) / decision.std()))
    return sure


def features_of(images: NDArray[np.uint8]) -> Features:
    """What the tutor sees of images, uint8 (N, side, side)."""
    small = [cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for image in images]
    found = [hog(image, pixels_per_cell=(_CELL, _CELL), cells_per_block=(2, 2)) for image in small]
    return np.stack(found).astype(np.float32)
