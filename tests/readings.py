"""Readings drawn by hand, for what composes results: no network takes part."""

from datetime import UTC, datetime
from typing import Final

import numpy as np

from models.registry import ModelIdentity
from pipeline.reading import Reading, Verdict

MODEL: Final = ModelIdentity(name="COVID-XNet", version="1.0.0", digest="5e" * 32, trained="2026-11-20")
READ_AT: Final = datetime(2026, 11, 23, 8, 40, 12, 345678, tzinfo=UTC)


def make_reading(
    shape: tuple[int, int], score: float = 0.731, *, side: int = 512, lungs: bool = True, heat: bool = True
) -> Reading:
    """Draw two lungs and two hot spots for a radiograph of `shape`; the verdict follows from 0.5 and the band.

    The hotter spot lies in the image's left lower quarter, so that a mirrored or turned picture is noticed.
    """
    scale = side / max(shape)
    rows, columns = round(shape[0] * scale), round(shape[1] * scale)
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    inside = (((x + 0.42) / 0.3) ** 2 + (y / 0.65) ** 2 < 1) | (((x - 0.42) / 0.3) ** 2 + (y / 0.65) ** 2 < 1)
    inside &= lungs
    hot = np.exp(-(((x + 0.45) / 0.2) ** 2) - ((y - 0.3) / 0.2) ** 2)
    warm = 0.7 * np.exp(-(((x - 0.45) / 0.15) ** 2) - ((y + 0.2) / 0.2) ** 2)
    verdict = Verdict.POSITIVE if score > 0.55 else Verdict.NEGATIVE if score < 0.45 else Verdict.INDETERMINATE
    return Reading(
        score=score,
        verdict=verdict,
        threshold=0.5,
        band=(0.45, 0.55),
        heatmap=((hot + warm) * inside * heat).astype(np.float32),
        lungs=inside,
        model=MODEL,
        stages={"decode": 4.0, "classify": 3.0},
        tells_apart=True,
    )
