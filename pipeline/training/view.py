"""Train the view judge: frontals of every archive, the few laterals there are, and images that are no chest at all."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from models.view_judge import CLASSES, SIDE, committee, view_judge
from pipeline.preprocess import working_frame
from pipeline.radiograph import Gray
from pipeline.training.corpus import BadCorpus, Sample
from pipeline.training.strange import photographs, strange_image
from pipeline.view import REFUSED_FROM, as_judged

_BATCH: Final = 32
_STEPS: Final = 60
"""Batches that make an epoch: what is drawn at random has no end."""
_STRANGE: Final = 400
"""Images of no chest that a network is judged on."""

Images = NDArray[np.float32]
"""What the view judge sees, (N, 64, 64), [0, 1]."""


def images_of(samples: Sequence[Sample], tick: Callable[[], None]) -> Images:
    """What the view judge sees of each sample."""
    images = []
    for sample in samples:
        images.append(as_judged(sample.frame()))
        tick()
    return np.stack(images)


def fold_of(sample: Sample, folds: int) -> int:
    """The fold of a patient, the same in every run."""
    import zlib

    return zlib.crc32(f"view {sample.patient}".encode()) % folds


def cross_validate(
    frontals: Sequence[Sample],
    laterals: Sequence[Sample],
    images: Images,
    *,
    folds: int,
    epochs: int,
    seed: int,
    tick: Callable[[], None],
) -> tuple[keras.Model, dict[str, float]]:
    """Train a network without each fold of patients, and judge that fold; the networks vote in what ships.

    images: of the frontals, then of the laterals. Returns the committee and the confusion on patients that the judging
    network did not see, by archive. Raises BadCorpus if a fold has no lateral.
    """
    samples = [*frontals, *laterals]
    lateral = np.arange(len(samples)) >= len(frontals)
    fold = np.array([fold_of(sample, folds) for sample in samples])
    pictures = photographs()
    networks, answers, strange = [], np.zeros((len(samples), len(CLASSES))), []
    for number in range(folds):
        out = fold == number
        if not (lateral & out).any() or not (lateral & ~out).any():
            raise BadCorpus(f"{len(laterals)} laterals are too few for {folds} folds by patient")
        learn = ~out
        seen = [picture for i, picture in enumerate(pictures) if i % folds != number]
        unseen = [picture for i, picture in enumerate(pictures) if i % folds == number]
        archives = [samples[i].archive for i in np.flatnonzero(learn & ~lateral)]
        network = fit(
            images[learn & ~lateral], archives, images[learn & lateral], seen, epochs=epochs, seed=seed, tick=tick
        )
        answers[out] = _answers(network, images[out])
        random = np.random.default_rng(seed + 1)
        others = [as_judged(_frame(strange_image(images[out & ~lateral], unseen, random))) for _ in range(_STRANGE)]
        strange.append(_answers(network, np.stack(others)))
        networks.append(network)
    return committee(networks), confusion(samples, lateral, answers, np.concatenate(strange))


def confusion(
    samples: Sequence[Sample], lateral: NDArray[np.bool_], answers: NDArray[np.float64], strange: NDArray[np.float64]
) -> dict[str, float]:
    """How many are refused: frontals as a share of each archive, laterals as a number that was missed.

    answers: (N, 3), of `samples`; strange: (M, 3), of images that are no chest.
    """
    refused = answers[:, 1:].max(axis=1) >= REFUSED_FROM
    metrics = {
        "laterals": float(lateral.sum()),
        "laterals_missed": float((lateral & ~refused).sum()),
        "laterals_not_called_frontal": float((answers[lateral].argmax(axis=1) > 0).sum()),
    }
    archives = np.array([sample.archive for sample in samples])
    for archive in sorted(set(archives[~lateral].tolist())):
        own = (archives == archive) & ~lateral
        metrics[f"frontals_{archive}"] = float(own.sum())
        metrics[f"frontals_{archive}_refused"] = float(refused[own].sum())
    metrics["frontals_refused_share"] = float(refused[~lateral].mean())
    metrics["no_chest_missed_share"] = float((strange[:, 1:].max(axis=1) < REFUSED_FROM).mean())
    return metrics


def fit(
    frontals: Images,
    archives: Sequence[str],
    laterals: Images,
    pictures: Sequence[Gray],
    *,
    epochs: int,
    seed: int,
    tick: Callable[[], None],
) -> keras.Model:
    """Train one network. archives: of the frontals, each of which is shown as often as another."""
    keras.utils.set_random_seed(seed)
    network = view_judge()
    schedule = keras.optimizers.schedules.CosineDecay(2e-3, epochs * _STEPS, alpha=0.01)
    network.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", jit_compile=False)
    by_archive = {name: np.flatnonzero(np.array(archives) == name) for name in sorted(set(archives))}
    network.fit(
        _batches(frontals, by_archive, laterals, pictures, np.random.default_rng(seed)),
        steps_per_epoch=_STEPS,
        epochs=epochs,
        verbose=0,
        shuffle=False,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: tick())],
    )
    return network


def _answers(network: keras.Model, images: Images) -> NDArray[np.float64]:
    return np.asarray(network.predict(images[..., None], batch_size=256, verbose=0), np.float64)


def _frame(image: Gray) -> Gray:
    return working_frame(image) if float(np.ptp(image)) else image


def _batches(
    frontals: Images,
    by_archive: Mapping[str, NDArray[np.intp]],
    laterals: Images,
    pictures: Sequence[Gray],
    random: np.random.Generator,
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Half frontals, each archive as often as another, a quarter laterals, and a quarter of no chest."""
    names = list(by_archive)
    while True:
        batch, targets = [], random.choice(len(CLASSES), _BATCH, p=(0.5, 0.25, 0.25))
        for target in targets:
            if target == 0:
                own = by_archive[names[random.integers(len(names))]]
                image = frontals[own[random.integers(len(own))]]
            elif target == 1:
                image = laterals[random.integers(len(laterals))]
            else:
                image = cv2.resize(
                    strange_image(frontals, pictures, random), (SIDE, SIDE), interpolation=cv2.INTER_AREA
                )
            batch.append(_vary(image, random))
        yield np.stack(batch)[..., None], targets


def _vary(image: Gray, random: np.random.Generator) -> Gray:
    """Move an image, put borders, letters and pipes on it, and change its tone: nothing of that tells a view."""
    angle = np.deg2rad(random.uniform(-15, 15))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shape = np.array(
        [[np.exp(random.uniform(-0.3, 0.2)), random.uniform(-0.1, 0.1)], [0, np.exp(random.uniform(-0.3, 0.2))]]
    )
    linear = turn @ shape
    if random.random() < 0.5:
        linear = linear @ np.diag([-1.0, 1.0])
    middle = np.full(2, SIDE / 2)
    matrix = np.column_stack([linear, middle + random.uniform(-6, 6, 2) - linear @ middle])
    border = 0.0 if random.random() < 0.6 else float(random.random())
    replicate = random.random() < 0.4
    image = cv2.warpAffine(
        image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE if replicate else cv2.BORDER_CONSTANT, borderValue=border,
    )  # fmt: skip
    image = np.clip(image, 0, 1) ** np.float32(np.exp(random.uniform(-0.7, 0.7)))
    if random.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.4, 1.5))
    for _ in range(random.integers(0, 3)):  # labels, devices
        height, width = (int(side) for side in random.integers(2, 14, 2))
        top, left = int(random.integers(0, SIDE - height)), int(random.integers(0, SIDE - width))
        image[top : top + height, left : left + width] = random.random()
    if random.random() < 0.25:  # collimators, or the frame of a figure
        sides = random.integers(0, 9, 4)
        frame = np.full_like(image, random.choice([0.0, 1.0]))
        inner = np.s_[sides[0] : SIDE - sides[1], sides[2] : SIDE - sides[3]]
        frame[inner] = image[inner]
        image = frame
    if random.random() < 0.03:
        image = 1 - image
    image = image + random.normal(0, random.uniform(0, 0.08), image.shape).astype(np.float32)
    return as_judged(np.clip(image, 0, 1).astype(np.float32))
