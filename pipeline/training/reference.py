"""The reference histogram: what a normal chest radiograph looks like on average, and nobody's in particular."""

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from pipeline.training.corpus import Label, Sample

_POINTS = 4096
_PER_ARCHIVE = 40
_SMALLEST_ARCHIVE = 20


def average_histogram(samples: Sequence[Sample], seed: int = 0) -> NDArray[np.float32]:
    """Average the quantiles of normal radiographs, equally many of each archive that has enough of them.

    Returns float32 (4096,), [0, 1], ascending: the mean grey level at each share of the pixels.
    """
    random = np.random.default_rng(seed)
    normal = [sample for sample in samples if sample.label is Label.NORMAL]
    shares = (np.arange(_POINTS) + 0.5) / _POINTS
    quantiles = []
    for archive in sorted({sample.archive for sample in normal}):
        own = [sample for sample in normal if sample.archive == archive]
        if len(own) < _SMALLEST_ARCHIVE:
            continue
        for i in random.choice(len(own), min(_PER_ARCHIVE, len(own)), replace=False):
            quantiles.append(np.quantile(own[i].frame(), shares))
    return cast(NDArray[np.float32], np.mean(quantiles, axis=0).astype(np.float32))
