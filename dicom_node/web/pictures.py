"""Pictures of a radiograph for a browser: as it was received, in a window that somebody chose, and what was found.

Only radiographs that a worker has read are decoded here: what kills a decoder was set aside before.
"""

from functools import lru_cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from dicom_node.results.overlay import BACKGROUND
from pipeline.radiograph import Gray, from_dicom

LONGEST_SIDE: Final = 1280
"""Pixels of the longer side in the browser."""
_KEPT: Final = 8


def radiograph_png(path: Path, *, maximum_pixels: int, level: float = 0.5, width: float = 1.0) -> bytes:
    """The radiograph as a viewer would show it first, in the part of its greys around `level` that is `width` wide.

    level, width: of the range that its own window shows, [0, 1] from black to white; the original depth is used.
    Raises OSError, pipeline.errors.UnreadableRadiograph.
    """
    shown = (_small(path, maximum_pixels) - (level - width / 2)) / width
    return _png(cv2.convertScaleAbs(np.clip(shown, 0, 1), alpha=255))


def overlay_png(path: Path) -> bytes:
    """What the overlay adds to the radiograph: heat and outlines, transparent elsewhere; RGBA, to be laid over it.

    path: of the Secondary Capture. Raises OSError, ValueError if it is not laid out as we do it.
    """
    colours = _scaled(_anatomy(_pixels(dcmread(path))))
    spread = colours.max(axis=2).astype(np.int16) - colours.min(axis=2)
    alpha = np.clip(spread * 12, 0, 255).astype(np.uint8)
    return _png(np.dstack((colours[..., ::-1], alpha)))


def as_sent_png(path: Path) -> bytes:
    """The overlay as the destination got it, with its captions. Raises OSError."""
    return _png(_scaled(_pixels(dcmread(path)))[..., ::-1])


@lru_cache(maxsize=_KEPT)
def _small(path: Path, maximum_pixels: int) -> Gray:
    pixels = from_dicom(dcmread(path), maximum_pixels=maximum_pixels).pixels
    factor = LONGEST_SIDE / max(pixels.shape)
    if factor >= 1:
        return pixels
    return np.asarray(cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.float32)


def _pixels(capture: Dataset) -> NDArray[np.uint8]:
    return np.asarray(capture.pixel_array, np.uint8)


def _anatomy(canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The part of an overlay between the bands of captions, and right of the radiograph if it stands beside it.

    Bands and gap are of a colour that the grey of a radiograph never has.
    """
    ground = (canvas == np.array(BACKGROUND, np.uint8)).all(axis=2)
    rows = np.flatnonzero(~ground[:, 0])
    if not len(rows):
        raise ValueError("the overlay holds no radiograph")
    middle = slice(rows[0], rows[-1] + 1)
    gap = np.flatnonzero(ground[rows[0] : rows[-1] + 1].all(axis=0))
    return canvas[middle, gap[-1] + 1 if len(gap) else 0 :]


def _scaled(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    factor = LONGEST_SIDE / max(picture.shape[:2])
    if factor >= 1:
        return picture
    return np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)


def _png(picture: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not done:
        raise ValueError("the picture cannot be written")
    return data.tobytes()
