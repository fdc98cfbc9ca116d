"""Train the lung U-Net on masks drawn by hand, so that it also finds lungs that are full of opacities."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from models.lung_unet import SIDE, lung_unet
from pipeline.localise import letterbox, stretch, two_lungs
from pipeline.training.corpus import Sample, held_out
from pipeline.training.start import begin_with

_BATCH: Final = 16
_ONE_IN: Final = 6
"""One in so many patients is held out."""

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Radiograph as the network sees it, and the share of lung in each pixel; float32 (256, 256), [0, 1]."""


def lessons(samples: Sequence[Sample], *, with_heart: bool = False) -> list[Pair]:
    """The radiographs with their masks, of the convention that includes most of the heart or of the one without it."""
    pairs = []
    for sample in samples:
        frame = sample.frame()
        mask = sample.mask(frame.shape, with_heart=with_heart)
        pairs.append((letterbox(stretch(frame), SIDE), letterbox(mask, SIDE)))
    return pairs


def fit(
    samples: Sequence[Sample],
    pairs: Sequence[Pair],
    *,
    epochs: int,
    start: Path | None = None,
    callbacks: Sequence[Any] = (),
    seed: int = 0,
) -> keras.Model:
    """Train the network on all patients but the held-out ones. start: the registry with the one to begin with."""
    keras.utils.set_random_seed(seed)
    learning = [pair for pair, out in zip(pairs, held_out(samples, _ONE_IN), strict=True) if not out]
    steps = max(1, len(learning) // _BATCH)
    network = lung_unet()
    if start:
        begin_with(network, start)
    schedule = keras.optimizers.schedules.CosineDecay(1e-3 if start else 2e-3, epochs * steps, alpha=0.01)
    # Not XLA: on a processor it takes nearly twice the time of oneDNN.
    network.compile(keras.optimizers.Adam(schedule), _overlap_loss, jit_compile=False)
    network.fit(
        _batches(learning, np.random.default_rng(seed)),
        steps_per_epoch=steps,
        epochs=epochs,
        verbose=0,
        shuffle=False,
        callbacks=list(callbacks),
    )
    return network


def measure(network: keras.Model, samples: Sequence[Sample], pairs: Sequence[Pair]) -> dict[str, float]:
    """Dice coefficient on held-out patients: mean, median, the twentieth part below which it is worse, and the worst.

    As served: two regions, holes filled.
    """
    held = [pair for pair, out in zip(pairs, held_out(samples, _ONE_IN), strict=True) if out]
    dice = [_dice(_found(network, image), mask > 0.5) for image, mask in held]
    return {
        "dice_mean": float(np.mean(dice)),
        "dice_median": float(np.median(dice)),
        "dice_worst_of_20": float(np.quantile(dice, 0.05)),
        "dice_worst": float(np.min(dice)),
        "held_out_radiographs": float(len(dice)),
    }


def measure_with_heart(network: keras.Model, pairs: Sequence[Pair]) -> dict[str, float]:
    """What becomes of masks of the other convention, none of which was learned from.

    The Dice coefficient counts the heart against the network. The share of what it finds that the mask includes, and
    the share of radiographs in which it finds two lungs, do not.
    """
    found = [_found(network, image) for image, _ in pairs]
    drawn = [mask > 0.5 for _, mask in pairs]
    inside = [(f & d).sum() / f.sum() for f, d in zip(found, drawn, strict=True) if f.any()]
    return {
        "with_heart_dice_mean": float(np.mean([_dice(f, d) for f, d in zip(found, drawn, strict=True)])),
        "with_heart_found_inside_mean": float(np.mean(inside)) if inside else 0.0,
        "with_heart_two_lungs_share": float(
            np.mean([cv2.connectedComponents(f.astype(np.uint8))[0] == 3 for f in found])
        ),
        "with_heart_radiographs": float(len(pairs)),
    }


def _found(network: keras.Model, image: NDArray[np.float32]) -> NDArray[np.bool_]:
    return two_lungs(np.asarray(network(image[None, :, :, None], training=False))[0, :, :, 0])


def _dice(found: NDArray[np.bool_], drawn: NDArray[np.bool_]) -> float:
    return 2 * float((found & drawn).sum()) / max(1, int(found.sum() + drawn.sum()))


def _overlap_loss(drawn: Any, found: Any) -> Any:
    drawn = keras.ops.cast(drawn, "float32")
    common = keras.ops.sum(drawn * found, (1, 2, 3))
    both = keras.ops.sum(drawn, (1, 2, 3)) + keras.ops.sum(found, (1, 2, 3))
    return keras.ops.mean(keras.losses.binary_crossentropy(drawn, found), (1, 2)) + 1 - (2 * common + 1) / (both + 1)


def _batches(pairs: Sequence[Pair], random: np.random.Generator) -> Iterator[Pair]:
    while True:
        order = random.permutation(len(pairs))
        for begin in range(0, max(1, len(order) - _BATCH + 1), _BATCH):
            batch = [_vary(pairs[i], random) for i in order[begin : begin + _BATCH]]
            yield np.stack([image for image, _ in batch])[..., None], np.stack([mask for _, mask in batch])[..., None]


def _vary(pair: Pair, random: np.random.Generator) -> Pair:
    image, mask = _move(*pair, random)
    if random.random() < 0.5:
        image = _with_opacities(image, mask, random)
    image = np.clip(image, 0, 1) ** np.float32(np.exp(random.uniform(-0.6, 0.6)))
    contrast, middle = np.exp(random.uniform(-0.4, 0.3)), 0.5 + random.uniform(-0.12, 0.12)
    image = (image - 0.5) * np.float32(contrast) + np.float32(middle)
    if random.random() < 0.4:  # as from a small or blurred image
        side = int(random.integers(60, 200))
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (SIDE, SIDE))
    if random.random() < 0.3:  # a label, a device, a collimator
        height, width = int(random.integers(5, 40)), int(random.integers(10, 60))
        top, left = int(random.integers(0, SIDE - height)), int(random.integers(0, SIDE - width))
        image[top : top + height, left : left + width] = random.random()
    noise = random.normal(0, random.uniform(0, 0.05), image.shape).astype(np.float32)
    return stretch(np.clip(image + noise, 0, 1)), mask


def _move(image: NDArray[np.float32], mask: NDArray[np.float32], random: np.random.Generator) -> Pair:
    middle = np.full(2, SIDE / 2)
    angle = np.deg2rad(random.uniform(-10, 10))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    scale = np.exp(random.uniform(-0.25, 0.2))
    shape = np.array([[scale * np.exp(random.uniform(-0.12, 0.12)), random.uniform(-0.12, 0.12)], [0, scale]])
    linear = turn @ shape
    if random.random() < 0.5:
        linear = linear @ np.diag([-1.0, 1.0])
    matrix = np.column_stack([linear, middle + random.uniform(-18, 18, 2) - linear @ middle])
    border = 0.0 if random.random() < 0.7 else float(random.random())
    moved = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderValue=border)
    return moved, cv2.warpAffine(mask, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)


def _with_opacities(
    image: NDArray[np.float32], mask: NDArray[np.float32], random: np.random.Generator
) -> NDArray[np.float32]:
    """Put cloudy shadows, as of pneumonia, into the lungs: the masks were drawn on lungs that have few."""
    rows, columns = np.nonzero(mask > 0.5)
    if not rows.size:
        return image
    soft = cv2.GaussianBlur(mask, (0, 0), 4)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    for _ in range(random.integers(1, 7)):
        i, radius = random.integers(rows.size), random.uniform(8, 45)
        cloud = cv2.resize(random.random((8, 8)).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        distance = ((x - columns[i]) / radius) ** 2 + ((y - rows[i]) / (radius * random.uniform(0.5, 2))) ** 2
        strength = np.exp(-distance) * np.clip(cloud, 0.3, 1) * random.uniform(0.2, 0.8)
        image = image + np.clip(0.75 - image, 0, None) * strength.astype(np.float32) * soft
    return image
