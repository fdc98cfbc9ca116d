"""Rib suppression: bones cover a third of the lungs, and the classifier looks at what lies behind."""

from typing import Final, cast

import numpy as np

from models.serving import Network
from pipeline.localise import letterbox, out_of_letterbox
from pipeline.radiograph import Gray

_SIDE: Final = 512


def suppress_ribs(image: Gray, network: Network) -> Gray:
    """Take the bones out of a radiograph.

    image: float32 (h, w), [0, 1], air dark, the working frame after histogram matching.
    Returns float32 with the shape of `image`, [0, 1]. Source: COVID-XNet, section 2.2.2.
    """
    soft_tissue = network(letterbox(image, _SIDE)[None, :, :, None])[0][0, :, :, 0]
    return cast(Gray, np.clip(out_of_letterbox(soft_tissue, image.shape), 0, 1))
