"""Train COVID-XNet: folds by patient, archives held out, the operating point from scores of unseen patients."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import cv2
import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve
from sklearn.model_selection import StratifiedGroupKFold

from models.covid_xnet import CLASSES, covid_xnet, with_activation_map
from models.registry import OperatingPoint
from pipeline.preprocess import Recipe
from pipeline.training.corpus import BadCorpus, Label, Sample

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


def fit(images: Images, targets: Targets, *, epochs: int, seed: int, tick: Callable[[], None]) -> keras.Model:
    """Train one classifier. Source: COVID-XNet, section 2.3: Adadelta, batches of 32, class weights, augmentation."""
    keras.utils.set_random_seed(seed)
    network = covid_xnet(side=images.shape[1])
    # Keras' own rate of 0.001 does not train; the paper's Keras had 1.0.
    network.compile(keras.optimizers.Adadelta(learning_rate=1.0), "sparse_categorical_crossentropy")
    network.fit(
        _batches(images, targets, np.random.default_rng(seed)),
        steps_per_epoch=max(1, len(images) // BATCH),
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


def cross_validate(
    samples: Sequence[Sample], images: Images, *, folds: int, epochs: int, seed: int, tick: Callable[[], None]
) -> tuple[NDArray[np.float64], dict[str, float]]:
    """Score each sample by a network that saw none of its patient; returns the scores and the AUC over the folds.

    Raises BadCorpus if a class has fewer patients than there are folds. Source: COVID-XNet, section 2.4.
    """
    targets = targets_of(samples)
    patients = [sample.patient for sample in samples]
    fewest = min(len({p for p, t in zip(patients, targets, strict=True) if t == c}) for c in range(len(CLASSES)))
    if fewest < folds:
        raise BadCorpus(f"{fewest} patients of one class are too few for {folds} folds")
    out_of_fold = np.zeros(len(samples))
    areas = []
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for fold, (learn, judge) in enumerate(splitter.split(images, targets, patients)):
        network = fit(images[learn], targets[learn], epochs=epochs, seed=seed + fold, tick=tick)
        out_of_fold[judge] = scores(network, images[judge])
        areas.append(roc_auc_score(targets[judge], out_of_fold[judge]))
    return out_of_fold, {"cv_auc_mean": float(np.mean(areas)), "cv_auc_sd": float(np.std(areas))}


def judge_unseen_archives(
    samples: Sequence[Sample], images: Images, *, epochs: int, seed: int, tick: Callable[[], None]
) -> dict[str, float]:
    """Train on some archives, test on COVID-19 against normal of others: what a new hospital would see."""
    targets = targets_of(samples)
    found: dict[str, float] = {}
    for name, (learning, testing) in UNSEEN.items():
        learn = np.array([s.archive in learning for s in samples])
        judge = np.array([s.archive in testing and s.label in (Label.COVID, Label.NORMAL) for s in samples])
        if len(set(targets[learn])) < 2 or len(set(targets[judge])) < 2:
            continue
        network = fit(images[learn], targets[learn], epochs=epochs, seed=seed, tick=tick)
        found[f"unseen_archives_{name}_auc"] = float(roc_auc_score(targets[judge], scores(network, images[judge])))
    if found:
        found["unseen_archives_auc_mean"] = float(np.mean(list(found.values())))
    return found


def operating_point(
    network: keras.Model, recipe: Recipe, images: Images, targets: Targets, out_of_fold: NDArray[np.float64]
) -> tuple[OperatingPoint, dict[str, float]]:
    """Choose threshold and band from out-of-fold scores, and the scale of the heat map from `network`.

    The threshold has the largest sum of sensitivity and specificity; inside the band, reaching to 95 % of each, a score
    says little.
    """
    false_positives, true_positives, thresholds = roc_curve(targets, out_of_fold)
    best = int(np.argmax(true_positives - false_positives))
    threshold = float(np.clip(thresholds[best], 0, 1))
    sensitive = float(np.clip(thresholds[int(np.argmax(true_positives >= 0.95))], 0, 1))
    specific = float(np.clip(thresholds[int(np.flatnonzero(false_positives <= 0.05)[-1])], 0, 1))
    positive = images[targets == 1][..., None].astype(np.float32) / 255
    activation = with_activation_map(network).predict(positive, batch_size=64, verbose=0)[1]
    point = OperatingPoint(
        classes=CLASSES,
        threshold=round(threshold, 4),
        band=(round(min(sensitive, threshold), 4), round(max(specific, threshold), 4)),
        # A network that learned nothing may have no activation above zero; its map is then empty.
        activation_scale=max(round(float(np.percentile(activation.max(axis=(1, 2, 3)), 95)), 4), 1e-4),
        recipe=recipe.name,
        recipe_digest=recipe.digest(),
    )
    return point, {
        "cv_sensitivity": float(true_positives[best]),
        "cv_specificity": float(1 - false_positives[best]),
        "cv_balanced_accuracy": float(balanced_accuracy_score(targets, out_of_fold >= threshold)),
    }


def _batches(
    images: Images, targets: Targets, random: np.random.Generator
) -> Iterator[tuple[NDArray[np.float32], Targets, NDArray[np.float64]]]:
    weights = class_weights(targets)[targets]
    while True:
        order = random.permutation(len(images))
        for begin in range(0, max(1, len(order) - BATCH + 1), BATCH):
            chosen = order[begin : begin + BATCH]
            yield np.stack([_vary(images[i], random) for i in chosen])[..., None], targets[chosen], weights[chosen]


def _vary(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.float32]:
    """Move an image at random. Source: COVID-XNet, section 2.3: 15 degrees, 20 % of shift, shear and zoom, flips."""
    side = image.shape[0]
    angle, shear = np.deg2rad(random.uniform(-15, 15)), random.uniform(-0.2, 0.2)
    zoom_x, zoom_y = random.uniform(0.8, 1.2, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[1, shear], [0, 1]]) @ np.diag([zoom_x, zoom_y])
    if random.random() < 0.5:
        linear = linear @ np.diag([-1.0, 1.0])
    middle = np.full(2, side / 2)
    matrix = np.column_stack([linear, middle + random.uniform(-0.2, 0.2, 2) * side - linear @ middle])
    moved: NDArray[np.uint8] = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR)
    return moved.astype(np.float32) / np.float32(255)
