"""Frontal, lateral, or no chest at all, from the pixels, where the header does not say."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, cast

import cv2
import numpy as np

from models.serving import Network
from pipeline.localise import stretch
from pipeline.preprocess import working_frame
from pipeline.radiograph import Gray, Radiograph

_SIDE: Final = 64

REFUSED_FROM: Final = 0.9
"""Probability from which an image counts as lateral, or as no chest: a frontal that is refused is a radiograph that
nobody reads, a lateral that is not refused is read with a remark. Below it, the answer is unsure."""

_SURE_FROM: Final = 0.5
"""Probability from which an image counts as frontal."""


class Seen(StrEnum):
    """What the pixels show."""

    FRONTAL = "frontal"
    LATERAL = "lateral"
    NEITHER = "neither"
    UNSURE = "unsure"
    """The most probable answer is not probable enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewOpinion:
    """Probabilities of the three answers; they add up to 1."""

    frontal: float
    lateral: float
    neither: float

    @property
    def seen(self) -> Seen:
        """The answer, if it is probable enough."""
        if self.frontal >= _SURE_FROM:
            return Seen.FRONTAL
        if self.lateral >= REFUSED_FROM:
            return Seen.LATERAL
        return Seen.NEITHER if self.neither >= REFUSED_FROM else Seen.UNSURE


def as_judged(frame: Gray) -> Gray:
    """What the view judge sees: squeezed into a square, scaled between the 1st and the 99th percentile.

    frame: float32 (h, w), [0, 1]. Returns float32 (64, 64), [0, 1].
    """
    return stretch(cast(Gray, cv2.resize(frame, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)))


def view_of(radiograph: Radiograph, network: Network) -> ViewOpinion:
    """Judge the view by the pixels. Raises BlankRadiograph if all of them have one grey level."""
    probabilities = network(as_judged(working_frame(radiograph.pixels))[None, :, :, None])[0][0]
    frontal, lateral, neither = (float(p) for p in np.asarray(probabilities, np.float64))
    return ViewOpinion(frontal=frontal, lateral=lateral, neither=neither)
