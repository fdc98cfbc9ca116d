"""What the networks say about one radiograph."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from models.registry import ModelIdentity
from pipeline.commissioning import Commissioning
from pipeline.radiograph import Gray


class Verdict(StrEnum):
    """The score against the operating point of the model."""

    POSITIVE = "positive"
    NEGATIVE = "negative"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """One reading of one radiograph. Investigational, not for diagnosis.

    score: suspicion score towards COVID-19, [0, 1].
    verdict: positive above `band`, negative below, indeterminate inside.
    threshold: operating point of the model, [0, 1].
    band: lower and upper bound of the indeterminate band around the threshold; both equal it if there is none.
    heatmap: class activation map, float32 (h, w), [0, 1], 0 outside the lungs. The grid spans the whole
        radiograph with its aspect ratio, its longest side is `preprocess.WORKING_SIDE`.
    lungs: bool (h, w), the same grid; all False if no lungs were found.
    model: which network with which weights.
    stages: milliseconds of each stage, in the order of the walk.
    probability: what calibration makes of the score, [0, 1], if half of the radiographs showed COVID-19: that of the
        site if it commissioned the node, else that of the training archives; None if the model has none.
    commissioning: by whom and on what threshold and band were chosen at this site; None: they are those of the model.
    tells_apart: whether the model tells COVID-19 from other pneumonia; None if nobody measured it.
    statistics: of what went into the networks, from `pipeline.input_statistics`.
    Source: COVID-XNet, sections 2.2 and 2.3; Zhou et al. 2016 for the class activation map.
    """

    score: float
    verdict: Verdict
    threshold: float
    band: tuple[float, float]
    heatmap: Gray
    lungs: NDArray[np.bool_]
    model: ModelIdentity
    stages: Mapping[str, float]
    probability: float | None = None
    commissioning: Commissioning | None = None
    tells_apart: bool | None = None
    statistics: Mapping[str, float] = field(default_factory=dict)

    @property
    def milliseconds(self) -> float:
        """Time of all stages together."""
        return sum(self.stages.values())

    @property
    def lungs_found(self) -> bool:
        """Whether the lung network found lungs to look at."""
        return bool(self.lungs.any())
