"""Where in the source image a reading looks: outlines of its maps in image coordinates."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.reading import Reading, Verdict

HEAT_LEVEL: Final = 0.5
"""Fraction of the strongest activation above which an area counts as a region of the heat map."""

MOST_REGIONS: Final = 4
"""A report that outlines every speck is read by nobody; the largest are kept."""

_SMALLEST: Final = 0.001
"""Fraction of the radiograph below which an area is a speck."""


class RegionKind(StrEnum):
    """What the outlines of a report show."""

    HEAT = "heat"
    LUNGS = "lungs"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Regions:
    """Outlines, largest first, each float32 (n, 2): column and row of a closed polygon, its last point its first.

    Columns lie in [0, Columns], rows in [0, Rows] of the source; 0\\0 is the upper left corner of the upper left
    pixel, so that its centre is 0.5\\0.5. Source: PS3.3 C.18.6.1.
    """

    kind: RegionKind
    outlines: tuple[NDArray[np.float32], ...]


def find_regions(reading: Reading, *, rows: int, columns: int) -> Regions:
    """Outline what the report refers to, in the coordinates of a source of `rows` by `columns`.

    The strongest heat where the score is not negative; the lungs where it is negative, or where there is no heat;
    nothing where no lungs were found.
    """
    if reading.verdict is not Verdict.NEGATIVE:
        peak = float(reading.heatmap.max())
        if peak > 0 and (heat := _outlines(reading.heatmap >= HEAT_LEVEL * peak, rows, columns)):
            return Regions(kind=RegionKind.HEAT, outlines=heat)
    if lungs := _outlines(reading.lungs, rows, columns):
        return Regions(kind=RegionKind.LUNGS, outlines=lungs)
    return Regions(kind=RegionKind.NONE, outlines=())


def _outlines(mask: NDArray[np.bool_], rows: int, columns: int) -> tuple[NDArray[np.float32], ...]:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    large = sorted((c for c in contours if cv2.contourArea(c) >= _SMALLEST * mask.size), key=cv2.contourArea)
    scale = np.array([columns / mask.shape[1], rows / mask.shape[0]])
    found = []
    for contour in large[: -MOST_REGIONS - 1 : -1]:
        polygon = cv2.approxPolyDP(contour, 0.75, closed=True)[:, 0, :]
        if len(polygon) < 3:
            continue
        # A grid point is the centre of its cell.
        closed = np.vstack([polygon, polygon[:1]]) + 0.5
        found.append((closed * scale).astype(np.float32))
    return tuple(found)
