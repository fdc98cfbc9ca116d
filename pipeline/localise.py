"""Where the lungs are, and where in them the classifier found what it looks for."""

from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from models.serving import Network
from pipeline.preprocess import Box, overlap
from pipeline.radiograph import Gray
from pipeline.unroll import Unrolling

_SIDE: Final = 256
_SMALLEST_LUNG, _LARGEST_LUNG = 0.01, 0.5
"""Plausible share of one lung in the frame."""


def letterbox(image: Gray, side: int) -> Gray:
    """Put `image` into the middle of a black square of `side` pixels, its aspect kept.

    image: float32 (h, w). Returns float32 (side, side).
    """
    rows, columns = image.shape
    scale = side / max(rows, columns)
    height, width = max(1, round(rows * scale)), max(1, round(columns * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square = np.zeros((side, side), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = cv2.resize(image, (width, height), interpolation=interpolation)
    return square


def out_of_letterbox(square: Gray, shape: tuple[int, ...]) -> Gray:
    """Take the picture out of its square again and bring it to `shape`; float32."""
    rows, columns = shape
    side = square.shape[0]
    scale = side / max(rows, columns)
    height, width = max(1, round(rows * scale)), max(1, round(columns * scale))
    top, left = (side - height) // 2, (side - width) // 2
    inner = square[top : top + height, left : left + width]
    return cast(Gray, cv2.resize(inner, (columns, rows), interpolation=cv2.INTER_LINEAR))


def stretch(image: Gray) -> Gray:
    """Scale between the 1st and the 99th percentile: how the lung network sees every radiograph. float32, [0, 1]."""
    low, high = np.percentile(image, (1, 99))
    return cast(Gray, np.clip((image - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32))


def find_lungs(frame: Gray, network: Network) -> NDArray[np.bool_]:
    """Find the lungs, without the heart.

    frame: float32 (h, w), [0, 1], the working frame. Returns bool (h, w): the two largest regions of a plausible size
    with their holes filled, all False if there is none.
    Source: COVID-XNet, section 2.3.
    """
    probability = network(letterbox(stretch(frame), _SIDE)[None, :, :, None])[0][0, :, :, 0]
    return out_of_letterbox(two_lungs(probability).astype(np.float32), frame.shape) > 0.5


def two_lungs(probability: Gray) -> NDArray[np.bool_]:
    """The two largest regions that are lung with a probability above one half and of a plausible size, holes filled.

    probability: float32 (s, s), [0, 1]. Returns bool (s, s), all False if there is no such region.
    """
    regions = (probability > 0.5).astype(np.uint8)
    contours, _ = cv2.findContours(regions, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    plausible = [c for c in contours if _SMALLEST_LUNG < cv2.contourArea(c) / probability.size < _LARGEST_LUNG]
    filled = np.zeros(probability.shape, np.uint8)
    for contour in sorted(plausible, key=cv2.contourArea)[-2:]:
        cv2.drawContours(filled, [contour], -1, 1, thickness=cv2.FILLED)
    return filled > 0


def heatmap(
    activation: Gray, box: Box, lungs: NDArray[np.bool_], scale: float, *, unrolling: Unrolling | None = None
) -> Gray:
    """Bring a class activation map back to where it belongs.

    activation: float32 (a, a), any range, over `box`, or over the lungs in it as `unrolling` laid them out.
    scale: activation that is shown as fully hot; fixed for a model, so that a weak map stays weak. lungs: bool (h, w).
    Returns float32 (h, w), [0, 1], 0 outside the lungs. Source: Zhou et al. 2016; COVID-XNet, section 2.3.
    """
    hot = np.clip(activation / scale, 0, 1).astype(np.float32)
    if unrolling is not None:
        hot = unrolling.roll_up(hot)
    square = cv2.resize(hot, (box.side, box.side), interpolation=cv2.INTER_LINEAR)
    placed = np.zeros(lungs.shape, np.float32)
    inside, frame = overlap(box, lungs.shape)
    placed[frame] = square[inside]
    placed[~lungs] = 0
    return placed
