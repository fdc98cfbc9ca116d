"""Train COVID-XNet: who is chosen, how a network is taught, and what it says of an image."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import keras
import numpy as np
from numpy.typing import NDArray

from models.covid_xnet import CLASSES, covid_xnet
from pipeline.training.augment import Vary, as_in_the_paper, gently_and_in_tone
from pipeline.training.corpus import Label, Sample
from pipeline.training.tutor import marks

BATCH: Final = 32
_PER_ARCHIVE: Final = 600

Images = NDArray[np.uint8]
"""What the classifier sees, uint8 (N, side, side)."""

Targets = NDArray[np.int64]
"""1 for COVID-19, 0 for everything else; (N,)."""

UNSEEN: Final[Mapping[str, tuple[frozenset[str], frozenset[str]]]] = {
    "a": (frozenset({"cohen", "covid-cxnet", "hannover", "shenzhen", "montgomery"}), frozenset({"bimcv", "rsna"})),
    "b": (
        frozenset({"bimcv", "rsna", "nih"}),
        frozenset({"cohen", "covid-cxnet", "hannover", "shenzhen", "montgomery"}),
    ),
    "c": (frozenset({"cohen", "covid-cxnet", "nih"}), frozenset({"hannover", "bimcv", "shenzhen", "montgomery"})),
}
"""Splits by archive: trained on the first set, tested on COVID-19 against normals of the second."""


def choose(samples: Sequence[Sample], seed: int = 0) -> list[Sample]:
    """The labelled samples, at most 600 of one archive and label, so that no archive drowns the others."""
    random = np.random.default_rng(seed)
    chosen: list[Sample] = []
    labelled = [sample for sample in samples if sample.label is not Label.UNLABELLED]
    for group in sorted({(sample.archive, sample.label) for sample in labelled}):
        own = [sample for sample in labelled if (sample.archive, sample.label) == group]
        chosen += [own[i] for i in sorted(random.permutation(len(own))[:_PER_ARCHIVE])]
    return chosen


def targets_of(samples: Sequence[Sample]) -> Targets:
    """1 for COVID-19, 0 for everything else."""
    return np.array([int(sample.label is Label.COVID) for sample in samples])


def class_weights(targets: Targets) -> NDArray[np.float64]:
    """Weights with which both classes count the same; (2,)."""
    counts = np.bincount(targets, minlength=len(CLASSES))
    weights: NDArray[np.float64] = len(targets) / (len(CLASSES) * np.maximum(counts, 1))
    return weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a network is taught.

    vary: how its images are varied. tutored: it learns the marks of the tutor instead of the labels.
    averaged: it ends with the running average of its weights, which a last lucky or unlucky step does not change.
    """

    vary: Vary
    tutored: bool
    averaged: bool


COURSES: Final[Mapping[str, Course]] = {
    "paper": Course(vary=as_in_the_paper, tutored=False, averaged=False),
    "default": Course(vary=gently_and_in_tone, tutored=True, averaged=True),
}
"""By the name of the recipe. Source of the first: COVID-XNet, section 2.3."""


def fit(
    images: Images, targets: Targets, *, course: Course, epochs: int, seed: int, tick: Callable[[], None]
) -> keras.Model:
    """Train one classifier. Source: COVID-XNet, section 2.3: Adadelta, batches of 32, class weights, augmentation."""
    keras.utils.set_random_seed(seed)
    network = covid_xnet(side=images.shape[1])
    steps = max(1, len(images) // BATCH)
    network.compile(
        # Keras' own rate of 0.001 does not train; the paper's Keras had 1.0. The average spans the last tenth at least.
        keras.optimizers.Adadelta(
            learning_rate=1.0, use_ema=course.averaged, ema_momentum=min(0.99, max(0.0, 1 - 10 / (steps * epochs)))
        ),
        "categorical_crossentropy",
    )
    sure = marks(images, targets) if course.tutored else targets.astype(np.float64)
    network.fit(
        _batches(images, np.column_stack([1 - sure, sure]), class_weights(targets)[targets], course.vary, seed),
        steps_per_epoch=steps,
        epochs=epochs,
        verbose=0,
        shuffle=False,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: tick())],
    )
    return network


def scores(network: keras.Model, images: Images) -> NDArray[np.float64]:
    """Scores towards COVID-19, (N,)."""
    inputs = images[..., None].astype(np.float32) / 255
    return np.asarray(network.predict(inputs, batch_size=64, verbose=0)[:, 1], np.float64)


def _batches(
    images: Images, sure: NDArray[np.float64], weights: NDArray[np.float64], vary: Vary, seed: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]]:
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(len(images))
        for begin in range(0, max(1, len(order) - BATCH + 1), BATCH):
            chosen = order[begin : begin + BATCH]
            yield np.stack([vary(images[i], random) for i in chosen])[..., None], sure[chosen], weights[chosen]
