"""Radiographs without what should decide: a classifier that still tells the class has learned a shortcut.

Source: DeGrave, Janizek, Lee, "AI for radiographic COVID-19 detection selects shortcuts over signal", 2021.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.serving import Network
from pipeline.localise import find_lungs
from pipeline.preprocess import working_frame
from pipeline.radiograph import Gray, Radiograph
from pipeline.training.corpus import Sample

if TYPE_CHECKING:  # the processes that prepare a corpus import this module, and need no TensorFlow
    from pipeline.training.classifier import Images, Targets

_RIM: Final = 0.02
"""What is blanked beyond the outline of the lungs, and where its grey level is taken from; a share of the frame."""

_BORDER: Final = 0.1
"""Width of the border that is kept, as a share of the shorter side."""

_BINS: Final = 32


class _Recorded(Network):
    """Gives the same answer to every image, so that the lungs stay where they were found before they were blanked."""

    def __init__(self, answer: Sequence[NDArray[np.float32]]) -> None:
        self._answer = answer

    def __call__(self, image: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
        return self._answer


class _Recorder(Network):
    """Asks another network and keeps its last answer."""

    def __init__(self, asked: Network) -> None:
        self._asked = asked
        self.answer: Sequence[NDArray[np.float32]] = ()

    def __call__(self, image: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
        self.answer = self._asked(image)
        return self.answer


def _find(radiograph: Radiograph, lungs: Network) -> tuple[Gray, NDArray[np.bool_], Network]:
    frame, recorder = working_frame(radiograph.pixels), _Recorder(lungs)
    found = find_lungs(frame, recorder)
    return frame, found, _Recorded(recorder.answer)


def lungs_blanked(radiograph: Radiograph, lungs: Network) -> tuple[Radiograph, Network]:
    """Fill the lungs with the mean grey level of their rim. The frame is cut as if they were still there."""
    frame, found, recorded = _find(radiograph, lungs)
    rim = 2 * round(_RIM * max(frame.shape)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (rim, rim))
    blanked = cv2.dilate(found.astype(np.uint8), kernel).astype(bool)
    around = cv2.dilate(blanked.astype(np.uint8), kernel).astype(bool) & ~blanked
    if around.any():
        frame[blanked] = frame[around].mean()
    return replace(radiograph, pixels=frame), recorded


def border_only(radiograph: Radiograph, lungs: Network) -> tuple[Radiograph, Network]:
    """Keep a tenth at each side and fill the rest with its mean grey level. The frame is cut as if nothing was gone."""
    frame, _, recorded = _find(radiograph, lungs)
    width = max(1, round(_BORDER * min(frame.shape)))
    border = np.ones(frame.shape, np.bool_)
    border[width:-width, width:-width] = False
    frame[~border] = frame[border].mean()
    if frame.min() == frame.max():  # a black border: what is left must not count as a blank radiograph
        frame[0, 0] += np.float32(1 / 255)
    return replace(radiograph, pixels=frame), recorded


def halves_exchanged(images: "Images") -> "Images":
    """Exchange the left and the right half of what the classifier sees; uint8 (N, side, side)."""
    return np.roll(images, images.shape[2] // 2, axis=2)


def simple_features(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """What needs no look at the lungs: histogram of the grey levels and aspect ratio; float64 (N, 33)."""
    features = []
    for sample in samples:
        frame = sample.frame()
        counts, _ = np.histogram(frame, _BINS, (0, 1))
        features.append([*(counts / frame.size), frame.shape[1] / frame.shape[0]])
    return np.array(features)


def simple_scores(
    features: NDArray[np.float64], targets: "Targets", judged: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Scores of a logistic regression that was fitted on `features`, for `judged`; float64 (N,)."""
    regression = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000))
    return np.asarray(regression.fit(features, targets).predict_proba(judged)[:, 1], np.float64)
