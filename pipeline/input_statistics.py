"""A few cheap numbers about what went into the networks, so that a site sees when its radiographs change."""

from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.radiograph import Gray


class Statistic(StrEnum):
    """One number of a radiograph."""

    MEAN = "mean"
    """Of the prepared image, as the classifier gets it, [0, 1]."""
    DEVIATION = "deviation"
    """Of its grey levels."""
    SHARPNESS = "sharpness"
    """Variance of its Laplacian."""
    ASPECT_RATIO = "aspect ratio"
    """Columns by rows of the radiograph as it came."""
    LUNG_SHARE = "lung share"
    """Of the radiograph's area, [0, 1]."""


def input_statistics(image: Gray, lungs: NDArray[np.bool_], shape: tuple[int, ...]) -> dict[str, float]:
    """Name of each `Statistic` -> its value.

    image: what the classifier gets, float32, [0, 1]. lungs: bool (h, w), over the whole radiograph.
    shape: rows and columns of the radiograph.
    """
    return {
        Statistic.MEAN.value: float(image.mean()),
        Statistic.DEVIATION.value: float(image.std()),
        Statistic.SHARPNESS.value: float(cv2.Laplacian(image, cv2.CV_32F).var()),
        Statistic.ASPECT_RATIO.value: shape[1] / shape[0],
        Statistic.LUNG_SHARE.value: float(lungs.mean()),
    }
