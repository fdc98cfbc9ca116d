"""Lungs laid out as rectangles, row by row, so that their outline, which tells archives and postures apart, is gone."""

from dataclasses import dataclass
from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.radiograph import Gray

_SMALLEST: Final = 0.01
"""Share of the square below which a region is no lung."""
_BOTH: Final = 0.6
"""Share of the square's width above which one region is both lungs, grown together."""
NEUTRAL: Final = 0.5
"""Grey level in place of a lung that was not found: that of no contrast at all."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unrolling:
    """How two lungs of a square become the left and the right half of another square, and back.

    columns, rows: where each pixel of the result lies in the square, float32 (side, side); NaN where a lung is missing.
    back_columns, back_rows: where each pixel of the square lies in the result, float32; NaN outside the lungs.
    """

    columns: NDArray[np.float32]
    rows: NDArray[np.float32]
    back_columns: NDArray[np.float32]
    back_rows: NDArray[np.float32]

    def unroll(self, image: Gray) -> Gray:
        """Lay the lungs of `image`, a square, out; float32 (side, side)."""
        return _sampled(image, self.columns, self.rows, NEUTRAL)

    def roll_up(self, activation: Gray) -> Gray:
        """Bring an activation over the result, float32 (a, a) with an even a, back into the square; 0 outside lungs."""
        side = self.columns.shape[0]
        halves = np.hsplit(activation, 2)  # the lungs are not neighbours: nothing may flow from one into the other
        laid_out = np.hstack([cv2.resize(half, (side // 2, side), interpolation=cv2.INTER_LINEAR) for half in halves])
        return _sampled(laid_out, self.back_columns, self.back_rows, 0.0)


def unrolling_of(lungs: NDArray[np.bool_], side: int) -> Unrolling | None:
    """Lay out `lungs`, bool (s, s), as two rectangles of side x side / 2; None if there are none.

    Each row of a lung, from its first to its last pixel, becomes a row of its rectangle.
    """
    found = _each(lungs)
    if not found:
        return None
    half = side // 2
    columns, rows = np.full((side, side), np.nan, np.float32), np.full((side, side), np.nan, np.float32)
    back_columns, back_rows = np.full(lungs.shape, np.nan, np.float32), np.full(lungs.shape, np.nan, np.float32)
    for index, lung in found.items():
        of_rows = np.flatnonzero(lung.any(axis=1))
        top, bottom = int(of_rows[0]), int(of_rows[-1])
        first = lung[top : bottom + 1].argmax(axis=1).astype(np.float32)
        last = lung.shape[1] - 1 - lung[top : bottom + 1, ::-1].argmax(axis=1).astype(np.float32)
        y = np.linspace(top, bottom, side, dtype=np.float32)
        nearest = np.rint(y).astype(int) - top
        across = np.linspace(0, 1, half, dtype=np.float32)
        place = slice(index * half, (index + 1) * half)
        columns[:, place] = first[nearest, None] + across * (last - first)[nearest, None]
        rows[:, place] = y[:, None]
        r, c = np.nonzero(lung)
        width = np.maximum(last - first, 1)[r - top]
        back_columns[r, c] = index * half + (c - first[r - top]) / width * (half - 1)
        back_rows[r, c] = (r - top) / max(bottom - top, 1) * (side - 1)
    return Unrolling(columns=columns, rows=rows, back_columns=back_columns, back_rows=back_rows)


def _each(lungs: NDArray[np.bool_]) -> dict[int, NDArray[np.bool_]]:
    """The lungs by their place in the image: 0 on its left, 1 on its right."""
    side = lungs.shape[1]
    count, labels, statistics, centres = cv2.connectedComponentsWithStats(lungs.astype(np.uint8))
    large = [i for i in range(1, count) if statistics[i, cv2.CC_STAT_AREA] > _SMALLEST * lungs.size]
    largest = sorted(large, key=lambda i: -int(statistics[i, cv2.CC_STAT_AREA]))[:2]
    if len(largest) == 2:
        return {index: labels == i for index, i in enumerate(sorted(largest, key=lambda i: float(centres[i][0])))}
    if not largest:
        return {}
    region = labels == largest[0]
    left, width = (int(statistics[largest[0], s]) for s in (cv2.CC_STAT_LEFT, cv2.CC_STAT_WIDTH))
    if width <= _BOTH * side:
        return {int(centres[largest[0]][0] > side / 2): region}
    third = left + width // 3
    cut = third + int(region[:, third : left + width - width // 3].sum(axis=0).argmin())
    halves = {0: region.copy(), 1: region.copy()}
    halves[0][:, cut:] = False
    halves[1][:, :cut] = False
    # Cutting may leave rows without lung between others; such a lung is laid out from its largest piece.
    return {index: _largest_piece(half) for index, half in halves.items() if half.any()}


def _largest_piece(lung: NDArray[np.bool_]) -> NDArray[np.bool_]:
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(lung.astype(np.uint8))
    return cast(NDArray[np.bool_], labels == 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax()))


def _sampled(image: Gray, columns: NDArray[np.float32], rows: NDArray[np.float32], missing: float) -> Gray:
    known = ~np.isnan(columns)
    sampled = cv2.remap(
        image,
        np.where(known, columns, 0),
        np.where(known, rows, 0),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cast(Gray, np.where(known, sampled, np.float32(missing)))
