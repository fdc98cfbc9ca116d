"""Train COVID-XNet: who is chosen, how a network is taught, and what it says of an image."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import keras
import numpy as np
from numpy.typing import NDArray

from models.covid_xnet import CLASSES, covid_xnet
from pipeline.preprocess import PAPER, Recipe
from pipeline.training.augment import Vary, as_in_the_paper, gently_and_in_tone
from pipeline.training.corpus import Label, Sample, labelled_of
from pipeline.training.tutor import marks

BATCH: Final = 32
_PER_ARCHIVE: Final = 600
_SEEDS: Final = 1000
"""Between the seeds of networks that vote: those of folds follow each other."""
_LEAST: Final = 1e-30
"""Probability whose logarithm still has a use."""

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
    labelled = labelled_of(samples)
    for group in sorted({(sample.archive, sample.label) for sample in labelled}):
        own = [sample for sample in labelled if (sample.archive, sample.label) == group]
        chosen += [own[i] for i in sorted(random.permutation(len(own))[:_PER_ARCHIVE])]
    return chosen


def learners(samples: Sequence[Sample], recipe: Recipe) -> NDArray[np.bool_]:
    """Which of labelled samples a recipe learns from; (N,).

    The paper's from all COVID-19 and normal radiographs; others from at most 600 of one archive and label, with
    pneumonia and tuberculosis as negatives.
    """
    if recipe == PAPER:
        return np.array([sample.label in (Label.COVID, Label.NORMAL) for sample in samples])
    chosen = {id(sample) for sample in choose(samples)}
    return np.array([id(sample) in chosen for sample in samples])


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

    vary: how its images are varied. epochs: passes over them.
    tutor: freedom of the tutor whose marks it learns instead of the labels; None: it learns the labels.
    averaged: it ends with the running average of its weights, which a last lucky or unlucky step does not change.
    votes: how many networks are trained, each with its own seed, to vote.
    poolings: of the network; all if None.
    """

    vary: Vary
    epochs: int
    tutor: float | None = None
    averaged: bool = False
    votes: int = 1
    poolings: int | None = None


COURSES: Final[Mapping[str, Course]] = {
    "paper": Course(vary=as_in_the_paper, epochs=10),
    "default": Course(vary=gently_and_in_tone, epochs=10, tutor=0.001, averaged=True, poolings=3),
}
"""By the name of the recipe. Source of the first: COVID-XNet, section 2.3."""


def fit(images: Images, targets: Targets, *, course: Course, seed: int, tick: Callable[[], None]) -> list[keras.Model]:
    """Train a classifier: one network, or several that vote.

    Source: COVID-XNet, section 2.3: Adadelta, batches of 32, class weights, augmentation.
    """
    sure = targets.astype(np.float64) if course.tutor is None else marks(images, targets, course.tutor)
    return [_fit(images, targets, sure, course, seed + _SEEDS * vote, tick) for vote in range(course.votes)]


def _fit(
    images: Images,
    targets: Targets,
    sure: NDArray[np.float64],
    course: Course,
    seed: int,
    tick: Callable[[], None],
) -> keras.Model:
    keras.utils.set_random_seed(seed)
    network = covid_xnet(side=images.shape[1], poolings=course.poolings)
    steps = max(1, len(images) // BATCH)
    network.compile(
        # Keras' own rate of 0.001 does not train; the paper's Keras had 1.0. The average spans the last tenth at least.
        keras.optimizers.Adadelta(
            learning_rate=1.0,
            use_ema=course.averaged,
            ema_momentum=min(0.99, max(0.0, 1 - 10 / (steps * course.epochs))),
        ),
        "categorical_crossentropy",
    )
    network.fit(
        batches_of(images, np.column_stack([1 - sure, sure]), class_weights(targets)[targets], course.vary, seed),
        steps_per_epoch=steps,
        epochs=course.epochs,
        verbose=0,
        shuffle=False,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: tick())],
    )
    return network


def scores(networks: Sequence[keras.Model], images: Images) -> NDArray[np.float64]:
    """Scores towards COVID-19, (N,): of the mean log probabilities of the networks, as the serving network has it."""
    inputs = images[..., None].astype(np.float32) / 255
    votes = [np.asarray(network.predict(inputs, batch_size=64, verbose=0), np.float64) for network in networks]
    odds = np.mean(
        [np.log(np.maximum(vote[:, 1], _LEAST)) - np.log(np.maximum(vote[:, 0], _LEAST)) for vote in votes], axis=0
    )
    return np.asarray(1 / (1 + np.exp(-odds)), np.float64)


def batches_of(
    images: Images, sure: NDArray[np.float64], weights: NDArray[np.float64], vary: Vary, seed: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]]:
    """Batches without an end, each image varied anew: float32 (32, side, side, 1), targets and weights of theirs."""
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(len(images))
        for begin in range(0, max(1, len(order) - BATCH + 1), BATCH):
            chosen = order[begin : begin + BATCH]
            yield np.stack([vary(images[i], random) for i in chosen])[..., None], sure[chosen], weights[chosen]
