"""Images that are no chest radiograph, for the view judge: drawn limbs, photographs, text, noise, torn radiographs."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from pipeline.radiograph import Gray

_SIDE: Final = 128
"""Of the images, in pixels."""

_PHOTOGRAPHS: Final = (
    "astronaut", "brick", "camera", "cell", "cat", "clock", "coffee", "coins", "colorwheel", "grass", "gravel", "horse",
    "hubble_deep_field", "immunohistochemistry", "microaneurysms", "moon", "page", "retina", "rocket", "text",
)  # fmt: skip
"""What scikit-image ships."""


def photographs() -> list[Gray]:
    """Photographs, micrographs and pages: float32 (h, w), [0, 1]."""
    pictures = []
    for name in _PHOTOGRAPHS:
        picture = np.asarray(getattr(skimage.data, name)(), np.float32)
        picture = picture[..., :3].mean(axis=-1) if picture.ndim == 3 else picture
        pictures.append(picture / max(1.0, float(picture.max())))
    return pictures


def strange_image(chests: NDArray[np.float32], pictures: Sequence[Gray], random: np.random.Generator) -> Gray:
    """Make an image that is no chest radiograph: float32 (h, w), [0, 1].

    chests: radiographs to tear, (N, h, w), [0, 1]. pictures: photographs to cut from, float32 (h, w), [0, 1].
    """
    chest = chests[int(random.integers(len(chests)))]
    kind = random.random()
    if kind < 0.4:
        return _limb(random)
    if kind < 0.55:
        return _cutting(pictures[int(random.integers(len(pictures)))], random.uniform(0.3, 1), random)
    if kind < 0.7:
        return _cutting(chest, random.uniform(0.06, 0.18), random)
    if kind < 0.78:
        return _shuffled(chest, random)
    if kind < 0.9:
        return _noise(random)
    return _page(random)


def _limb(random: np.random.Generator) -> Gray:
    """One to four limbs: soft tissue with one or two bones, whose rims are brighter, some between collimators."""
    y, x = np.mgrid[-1 : 1 : _SIDE * 1j, -1 : 1 : _SIDE * 1j].astype(np.float32)
    angle = random.normal(0, 0.25) + (np.pi / 2 if random.random() < 0.2 else 0)
    along, across = x * np.sin(angle) + y * np.cos(angle), x * np.cos(angle) - y * np.sin(angle)
    across = across + random.normal(0, 0.1) * along**2
    image = np.full_like(x, random.uniform(0, 0.15))
    limbs = int(random.choice([1, 1, 1, 2, 4]))
    for centre in np.linspace(-0.65, 0.65, limbs) if limbs > 1 else (random.uniform(-0.4, 0.4),):
        width = random.uniform(0.2, 0.55) / max(1, limbs * 0.7) * (1 + random.normal(0, 0.25) * along)
        inside = np.clip(1 - ((across - centre) / width) ** 2, 0, None)
        image += np.sqrt(inside) * random.uniform(0.25, 0.5)
        bones = int(random.choice([1, 2]))
        joint = random.uniform(-1.5, 1.5)
        for bone in range(bones):
            place = centre + (0 if bones == 1 else (bone - 0.5) * random.uniform(0.35, 0.6) * float(width.mean()) * 2)
            flare = 1 + random.uniform(0.5, 2) * np.exp(-(((along - joint) / 0.25) ** 2))
            thick = random.uniform(0.15, 0.3) * float(width.mean()) * flare
            shaft = np.clip(1 - ((across - place) / thick) ** 2, 0, None)
            rim = np.exp(-(((np.abs(across - place) - 0.85 * thick) / (0.2 * thick)) ** 2))
            gap = 1 - 0.7 * np.exp(-(((along - joint) / 0.04) ** 2))
            image += (0.3 * np.sqrt(shaft) + random.uniform(0.1, 0.4) * rim) * gap
    if random.random() < 0.5:
        image = _between_collimators(image, random)
    return _finished(image, random)


def _between_collimators(image: Gray, random: np.random.Generator) -> Gray:
    top, bottom, left, right = (int(random.uniform(0, 0.3) * _SIDE) for _ in range(4))
    grey = float(random.choice([0.0, 1.0, 1.0]))
    if random.random() < 0.5:
        top = bottom = 0
    framed = np.full_like(image, grey)
    inner = np.s_[top : _SIDE - bottom, left : _SIDE - right]
    framed[inner] = image[inner]
    return framed


def _cutting(image: Gray, share: float, random: np.random.Generator) -> Gray:
    """A part of `image` with sides of `share` of its own: of a radiograph, too small to tell what it shows."""
    height, width = (max(8, int(side * share)) for side in image.shape)
    top, left = (
        int(random.integers(0, side - part + 1)) for side, part in zip(image.shape, (height, width), strict=True)
    )
    return _finished(image[top : top + height, left : left + width], random)


def _shuffled(image: Gray, random: np.random.Generator) -> Gray:
    """The tiles of a radiograph in another order."""
    tiles = int(random.integers(3, 7))
    part = _SIDE // tiles
    whole = cv2.resize(image, (part * tiles, part * tiles), interpolation=cv2.INTER_AREA)
    cells = whole.reshape(tiles, part, tiles, part).swapaxes(1, 2).reshape(-1, part, part)
    cells = cells[random.permutation(len(cells))].reshape(tiles, tiles, part, part)
    return _finished(cells.swapaxes(1, 2).reshape(part * tiles, part * tiles), random)


def _noise(random: np.random.Generator) -> Gray:
    """Noise of any grain, gradients, and discs and rectangles on them."""
    grain = int(random.choice([2, 4, 8, 16, 32, _SIDE]))
    image = cv2.resize(random.random((grain, grain), dtype=np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    slope = random.normal(0, 1, 2)
    y, x = np.mgrid[-1 : 1 : _SIDE * 1j, -1 : 1 : _SIDE * 1j].astype(np.float32)
    image = image * np.float32(random.uniform(0, 1)) + (slope[0] * x + slope[1] * y).astype(np.float32)
    for _ in range(random.integers(0, 4)):
        centre, radius = tuple(int(c) for c in random.integers(0, _SIDE, 2)), int(random.integers(5, 60))
        grey = float(random.uniform(-1, 1))
        if random.random() < 0.5:
            cv2.circle(image, centre, radius, grey, -1)
        else:
            cv2.rectangle(image, centre, (centre[0] + radius, centre[1] + radius), grey, -1)
    return _finished(image, random)


def _page(random: np.random.Generator) -> Gray:
    """Lines of characters."""
    paper = int(random.integers(0, 256))
    image, ink = np.full((_SIDE, _SIDE), paper, np.uint8), 0 if paper > 127 else 255
    size = random.uniform(0.25, 0.8)
    for row in range(int(12 * size) + 4, _SIDE, int(30 * size) + 4):
        if random.random() < 0.85:
            characters = "".join(chr(c) for c in random.integers(33, 127, int(random.integers(3, 30))))
            cv2.putText(image, characters, (int(random.integers(0, 20)), row), cv2.FONT_HERSHEY_SIMPLEX, size, ink)
    return _finished(image.astype(np.float32), random)


def _finished(image: Gray, random: np.random.Generator) -> Gray:
    """Scaled to [0, 1], at times as a negative, with some noise."""
    grey = (image - image.min()) / max(float(np.ptp(image)), 1e-6)
    if random.random() < 0.15:
        grey = 1 - grey
    noisy = grey + random.normal(0, random.uniform(0, 0.04), grey.shape).astype(np.float32)
    finished: Gray = np.clip(noisy, 0, 1)
    return finished
