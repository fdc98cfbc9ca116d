"""Images varied at random, so that a network learns what stays the same."""

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Vary = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.float32]]
"""Vary an image, uint8 (side, side); returns float32 (side, side), [0, 1]."""

_GENTLY: Final = 0.4
"""Share of the paper's range: lungs that are laid out have their place already."""


def as_in_the_paper(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.float32]:
    """Move an image. Source: COVID-XNet, section 2.3: 15 degrees, 20 % of shift, shear and zoom, horizontal flips."""
    return _moved(image, random, 1.0, cv2.BORDER_CONSTANT)


def gently_and_in_tone(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.float32]:
    """Move an image a little, and change its contrast, sharpness and noise: what differs between machines."""
    grey = _moved(image, random, _GENTLY, cv2.BORDER_REPLICATE)
    grey = (grey - 0.5) * np.float32(np.exp(random.uniform(-0.5, 0.5))) + np.float32(0.5 + random.uniform(-0.08, 0.08))
    if random.random() < 0.5:
        grey = cv2.GaussianBlur(grey, (0, 0), random.uniform(0.3, 2.5))
    if random.random() < 0.5:
        grey = grey + random.normal(0, random.uniform(0, 0.08), grey.shape).astype(np.float32)
    return np.clip(grey, 0, 1).astype(np.float32)


def _moved(image: NDArray[np.uint8], random: np.random.Generator, strength: float, border: int) -> NDArray[np.float32]:
    side = image.shape[0]
    angle, shear = strength * np.deg2rad(random.uniform(-15, 15)), strength * random.uniform(-0.2, 0.2)
    zoom_x, zoom_y = 1 + strength * random.uniform(-0.2, 0.2, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[1, shear], [0, 1]]) @ np.diag([zoom_x, zoom_y])
    if random.random() < 0.5:
        linear = linear @ np.diag([-1.0, 1.0])
    middle = np.full(2, side / 2)
    shift = strength * random.uniform(-0.2, 0.2, 2) * side
    matrix = np.column_stack([linear, middle + shift - linear @ middle])
    moved: NDArray[np.uint8] = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border)
    return moved.astype(np.float32) / np.float32(255)
