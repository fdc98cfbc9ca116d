"""From a radiograph to what the classifier sees. The same code prepares images for training and for serving."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.exposure import match_histograms

from pipeline.errors import BlankRadiograph
from pipeline.radiograph import Gray
from pipeline.unroll import Unrolling, unrolling_of

WORKING_SIDE: Final = 512
"""Longest side of the working frame, in pixels: all steps before the classifier happen at this size."""

_REFERENCE_FILE: Final = Path(__file__).with_name("reference.npy")
_CUT_SIDE: Final = 224
"""Side of the square around the lungs in which contrast is normalised and the lungs are laid out, in pixels."""
_LAID_OUT_SIDE: Final = 128
"""Side of the square on which the lungs are laid out, before it is smoothed, in pixels."""
_NEIGHBOURHOOD: Final = 12.0
"""Standard deviation of the surroundings with which a pixel of that square is compared, in pixels."""
_LEVELS: Final = 4096
"""Grey levels between which histograms are matched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that can change what the classifier sees.

    lung_box: crop to the lungs, or show the whole frame as the paper does.
    lung_margin: around the lungs, as a share of their longer side.
    ribs: suppress the ribs.
    unroll: lay the lungs out as rectangles with locally normalised contrast, instead of CLAHE on their picture.
    detail: pixels along a side of which the classifier gets to know the content; what is finer is smoothed away.
    clahe_clip, clahe_tiles: contrast limit, and tiles along each side.
    side: of the classifier's square input, in pixels.
    """

    name: str
    lung_box: bool
    lung_margin: float = 0.08
    ribs: bool = True
    unroll: bool = False
    detail: int = 128
    clahe_clip: float = 2.0
    clahe_tiles: int = 8
    working_side: int = WORKING_SIDE
    side: int = 128

    def digest(self) -> str:
        """Sha256 (hex) of the parameters and of the reference histogram."""
        parameters = asdict(self)
        if self.ribs:  # a later parameter: what was trained before it was there keeps its digest
            del parameters["ribs"]
        text = json.dumps(parameters, sort_keys=True)
        return hashlib.sha256(text.encode() + reference().tobytes()).hexdigest()


PAPER: Final = Recipe(name="paper", lung_box=False)
"""As COVID-XNet, section 2.2, has it."""

DEFAULT: Final = Recipe(name="default", lung_box=True, ribs=False, unroll=True, detail=64, side=64)
"""What ships. Around the lungs, in their outline, in the tone and in the finest detail lies what tells archives apart:
borders, letters, posture, exposure, noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A square of the working frame, in its pixels; it may reach beyond the frame, where all is black."""

    top: int
    left: int
    side: int


@cache
def reference() -> NDArray[np.float32]:
    """The shipped reference: float32 (4096,), [0, 1], ascending: mean grey level at each share of the pixels.

    Averaged over normal radiographs of five archives, so that it is no patient's image.
    """
    reference: NDArray[np.float32] = np.load(_REFERENCE_FILE)
    return reference


def working_frame(image: Gray) -> Gray:
    """Bring a radiograph to the size at which it is prepared.

    image: float32 (H, W), [0, 1]. Returns float32 (h, w), [0, 1], same aspect, longest side 512.
    Raises BlankRadiograph if `image` has one grey level.
    """
    if float(image.min()) == float(image.max()):
        raise BlankRadiograph("All pixels have one grey level.")
    rows, columns = image.shape
    scale = WORKING_SIDE / max(rows, columns)
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    frame = cast(Gray, cv2.resize(image, size, interpolation=interpolation))
    return np.clip(frame, 0, 1, out=frame)


def match_histogram(image: Gray) -> Gray:
    """Give `image` the grey-level distribution of the shipped reference.

    image: float32 (H, W), [0, 1]. Returns float32 with the shape of `image`, [0, 1].
    Source: COVID-XNet, section 2.2.1.
    """

    def levels(grey: NDArray[np.float32]) -> NDArray[np.uint16]:
        return np.rint(grey * (_LEVELS - 1)).astype(np.uint16)

    matched = match_histograms(levels(image), levels(reference())[None, :])
    return cast(Gray, (matched / (_LEVELS - 1)).astype(np.float32))


def enhance_contrast(image: Gray, recipe: Recipe) -> Gray:
    """Contrast limited adaptive histogram equalisation (CLAHE).

    image: float32 (H, W), [0, 1]. Returns float32 with the shape of `image`, [0, 1], of 256 levels.
    Source: COVID-XNet, section 2.2.3.
    """
    clahe = cv2.createCLAHE(clipLimit=recipe.clahe_clip, tileGridSize=(recipe.clahe_tiles, recipe.clahe_tiles))
    equalised = clahe.apply(np.rint(image * 255).astype(np.uint8))
    return cast(Gray, equalised.astype(np.float32) / 255)


def box_of(lungs: NDArray[np.bool_], recipe: Recipe) -> Box:
    """The square that the classifier sees.

    lungs: bool (h, w) on the working frame. Returns the square around the lungs with the recipe's margin; around the
    whole frame if the recipe says so or no lungs were found.
    """
    rows, columns = lungs.shape
    top, left, bottom, right, margin = 0, 0, rows, columns, 0.0
    if recipe.lung_box and lungs.any():
        of_rows, of_columns = np.flatnonzero(lungs.any(axis=1)), np.flatnonzero(lungs.any(axis=0))
        top, bottom = int(of_rows[0]), int(of_rows[-1]) + 1
        left, right = int(of_columns[0]), int(of_columns[-1]) + 1
        margin = recipe.lung_margin
    side = round(max(bottom - top, right - left) * (1 + 2 * margin))
    return Box(top=(top + bottom - side) // 2, left=(left + right - side) // 2, side=side)


def normalise_contrast(square: Gray) -> Gray:
    """Tell of each pixel only how it differs from its surroundings, in standard deviations of theirs.

    square: float32 (s, s), [0, 1]. Returns float32 (s, s), [0, 1]: 0.5 is no difference, 0 and 1 are 3 deviations.
    """
    difference = square - cv2.GaussianBlur(square, (0, 0), _NEIGHBOURHOOD)
    deviation = np.sqrt(cv2.GaussianBlur(difference * difference, (0, 0), _NEIGHBOURHOOD))
    # 0.02: where all is even, noise must not be blown up.
    return cast(Gray, np.clip(0.5 + difference / (deviation + np.float32(0.02)) / 6, 0, 1))


def cut(image: Gray, box: Box, side: int | None = None) -> Gray:
    """Cut `box` out of the working frame.

    image: float32 (h, w). Returns float32, a square of `side` pixels, or of the box's own; 0 beyond the frame.
    """
    square = np.zeros((box.side, box.side), np.float32)
    inside, source = overlap(box, image.shape)
    square[inside] = image[source]
    if side is None:
        return square
    interpolation = cv2.INTER_AREA if box.side > side else cv2.INTER_LINEAR
    return cast(Gray, cv2.resize(square, (side, side), interpolation=interpolation))


def lay_out(image: Gray, lungs: NDArray[np.bool_], box: Box) -> tuple[Gray, Unrolling | None]:
    """Cut `box` out of the working frame, normalise its contrast, and lay the lungs in it out as rectangles.

    image: float32 (h, w), [0, 1]. lungs: bool (h, w). Returns float32 (128, 128), [0, 1], with the way back; the
    square as it is, and None, if there are no lungs.
    """
    square = normalise_contrast(cut(image, box, _CUT_SIDE))
    unrolling = unrolling_of(cut(lungs.astype(np.float32), box, _CUT_SIDE) > 0.5, _LAID_OUT_SIDE)
    return (square if unrolling is None else unrolling.unroll(square)), unrolling


def coarsen(square: Gray, recipe: Recipe) -> Gray:
    """Bring a square to the detail and to the size that the classifier gets.

    square: float32 (s, s). Returns float32 (side, side). Source: COVID-XNet, section 2.2.4, for the size.
    """
    for side in dict.fromkeys((recipe.detail, recipe.side)):
        interpolation = cv2.INTER_AREA if square.shape[0] > side else cv2.INTER_LINEAR
        square = cast(Gray, cv2.resize(square, (side, side), interpolation=interpolation))
    return square


def overlap(box: Box, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where box and frame overlap: as slices of the box, and as slices of the frame of `shape`."""
    top, left = max(box.top, 0), max(box.left, 0)
    bottom, right = min(box.top + box.side, shape[0]), min(box.left + box.side, shape[1])
    frame = slice(top, bottom), slice(left, right)
    return (slice(top - box.top, bottom - box.top), slice(left - box.left, right - box.left)), frame
