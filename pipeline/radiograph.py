"""A radiograph as an array."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.float32]
"""float32 (H, W), [0, 1], air dark (MONOCHROME2 sense)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Radiograph:
    """One frame as it is meant to be seen: modality LUT, VOI LUT and photometric interpretation applied.

    pixels: float32 (H, W), [0, 1], air dark.
    """

    pixels: Gray
