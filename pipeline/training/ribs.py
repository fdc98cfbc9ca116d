"""Teach our own rib suppression what the published autoencoder does, at a quarter of its size."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.rib_suppression import PUBLISHED_SIDE, SIDE, rib_suppression
from pipeline.localise import letterbox
from pipeline.training.corpus import Sample, held_out
from pipeline.training.start import begin_with

_PATCH: Final = 256
_BATCH: Final = 16
_PATCHES_OF_ONE: Final = 2
_PER_ARCHIVE: Final = 150


def published(network: keras.Model, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Treat a radiograph as the author of the published autoencoder does.

    image: float32 (512, 512), [0, 1], air dark. Returns float32 (512, 512), air dark, not bounded to [0, 1].
    """
    large = np.asarray(
        Image.fromarray(np.rint(image * 255).astype(np.uint8)).resize((PUBLISHED_SIDE,) * 2, Image.Resampling.LANCZOS),
        np.float32,
    )
    # It sees negatives: lungs bright, bones dark.
    negative = network(1 - large[None, :, :, None] / 255, training=False)
    soft_tissue = 1 - np.asarray(negative)[0, :, :, 0]
    small: NDArray[np.float32] = cv2.resize(soft_tissue, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return small


def choose(samples: Sequence[Sample], seed: int = 0) -> list[Sample]:
    """At most 150 radiographs of each archive."""
    random = np.random.default_rng(seed)
    chosen: list[Sample] = []
    for archive in sorted({sample.archive for sample in samples}):
        own = [sample for sample in samples if sample.archive == archive]
        chosen += [own[i] for i in random.choice(len(own), min(_PER_ARCHIVE, len(own)), replace=False)]
    return chosen


def lessons(
    samples: Sequence[Sample], teacher: keras.Model, cache: Path, tick: Callable[[], None]
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """What the teacher makes of each sample: pairs of float32 (512, 512), computed once and kept in `cache`."""
    weights = hashlib.sha256(b"".join(tensor.tobytes() for tensor in teacher.get_weights())).hexdigest()
    cache = cache / weights[:16]
    cache.mkdir(parents=True, exist_ok=True)
    pairs = []
    for sample in samples:
        file = cache / f"{sample.digest()}.npz"
        if not file.exists():
            square = letterbox(sample.frame(), SIDE)
            part = file.with_suffix(".part.npz")
            np.savez_compressed(
                part,
                image=np.rint(square * 255).astype(np.uint8),
                target=published(teacher, square).astype(np.float16),
            )
            part.rename(file)
        with np.load(file) as lesson:
            pairs.append((lesson["image"].astype(np.float32) / 255, lesson["target"].astype(np.float32)))
        tick()
    return pairs


def fit(
    samples: Sequence[Sample],
    pairs: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
    *,
    epochs: int,
    start: Path | None = None,
    callbacks: Sequence[Any] = (),
    seed: int = 0,
) -> tuple[keras.Model, dict[str, float]]:
    """Train the network; returns it with its peak signal-to-noise ratio in dB on held-out patients, mean and worst.

    start: the registry with the network to begin with.
    """
    keras.utils.set_random_seed(seed)
    test = held_out(samples, 8)
    learning = [pair for pair, out in zip(pairs, test, strict=True) if not out]
    steps = max(1, len(learning) * _PATCHES_OF_ONE // _BATCH)
    network = rib_suppression()
    schedule = keras.optimizers.schedules.CosineDecay(1e-3 if start else 3e-3, epochs * steps, alpha=0.01)
    network_for_patches = rib_suppression(side=_PATCH)
    if start:
        begin_with(network_for_patches, start)
    # Not XLA: on a processor it takes more time than oneDNN.
    network_for_patches.compile(keras.optimizers.Adam(schedule), _log_error, jit_compile=False)
    network_for_patches.fit(
        _patches(learning, np.random.default_rng(seed)),
        steps_per_epoch=steps,
        epochs=epochs,
        verbose=0,
        shuffle=False,
        callbacks=list(callbacks),
    )
    network.set_weights(network_for_patches.get_weights())
    ratios = []
    for image, target in (pair for pair, out in zip(pairs, test, strict=True) if out):
        mine = np.asarray(network(image[None, :, :, None], training=False))[0, :, :, 0]
        error = np.clip(mine, 0, 1) - np.clip(target, 0, 1)
        ratios.append(-10 * np.log10(float(np.mean(error**2))))
    return network, {"psnr_db_mean": float(np.mean(ratios)), "psnr_db_worst": float(np.min(ratios))}


def _log_error(target: Any, soft_tissue: Any) -> Any:
    """Logarithm of the mean squared error of each patch: what is lowered is what is measured, decibels."""
    error = keras.ops.mean(keras.ops.square(keras.ops.clip(target, 0, 1) - soft_tissue), (1, 2, 3))
    return keras.ops.log(error + 1e-6)


def _patches(
    pairs: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]], random: np.random.Generator
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    # Multiples of eight, the stride of the network, so that it learns where its grid lies.
    offsets = np.arange(0, SIDE - _PATCH + 1, 8)
    while True:
        batch = []
        for i in random.integers(len(pairs), size=_BATCH):
            top, left = random.choice(offsets, 2)
            flip = slice(None, None, -1 if random.random() < 0.5 else 1)
            batch.append([a[top : top + _PATCH, left : left + _PATCH][:, flip] for a in pairs[i]])
        stacked = np.asarray(batch, np.float32)[..., None]
        yield stacked[:, 0], stacked[:, 1]
