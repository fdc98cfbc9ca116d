"""Where a score counts as positive, where it says little, its probability, and what in a heat map is hot."""

from collections.abc import Sequence
from typing import Final

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from models.covid_xnet import CLASSES
from models.registry import OperatingPoint
from pipeline.calibrate import temperature, threshold_for
from pipeline.preprocess import Recipe
from pipeline.training.classifier import Images, Targets, targets_of
from pipeline.training.corpus import Label, Sample
from pipeline.training.folds import unseen_splits
from pipeline.training.run import Run

SENSITIVITY: Final = 0.85
"""Of the threshold, unless another one is chosen."""

TELLS_APART: Final = 0.75
"""AUC of COVID-19 against pneumonia from which the node may say that it tells them apart."""

SMALLEST_GROUP: Final = 10
"""Radiographs of another disease, in one archive, from which on a share of them says something."""

_SPECIFICITY: Final = 0.85
"""What the upper end of the band stands for."""

_REFERENCE: Final = 20
"""Scores of each class that are kept to compare a site with."""


def operating_point(
    serving: keras.Model,
    recipe: Recipe,
    images: Images,
    targets: Targets,
    out_of_fold: NDArray[np.float64],
    *,
    sensitivity: float = SENSITIVITY,
) -> tuple[OperatingPoint, dict[str, float]]:
    """Choose threshold, band and temperature from out-of-fold scores, and the scale of the heat map from `serving`.

    The threshold is the highest with `sensitivity`. Of the COVID-19 radiographs that it misses, half lie above the
    lower end of the band; 85 % of the others lie below its upper end: in between, a score says little.
    """
    threshold = _rounded(threshold_for(targets, out_of_fold, sensitivity))
    low = _rounded(threshold_for(targets, out_of_fold, (1 + sensitivity) / 2))
    high = round(float(np.quantile(out_of_fold[targets == 0], _SPECIFICITY)), 4)
    positive = images[targets == 1][..., None].astype(np.float32) / 255
    activation = serving.predict(positive, batch_size=64, verbose=0)[1]
    shares = (np.arange(_REFERENCE) + 0.5) / _REFERENCE
    point = OperatingPoint(
        classes=CLASSES,
        threshold=threshold,
        band=(low, max(high, threshold)),
        # A network that learned nothing may have no activation above zero; its map is then empty.
        activation_scale=max(round(float(np.percentile(activation.max(axis=(1, 2, 3)), 95)), 4), 1e-4),
        recipe=recipe.name,
        recipe_digest=recipe.digest(),
        sensitivity=sensitivity,
        temperature=round(temperature(targets, out_of_fold), 4),
        reference={
            name: tuple(round(float(score), 6) for score in np.quantile(out_of_fold[targets == number], shares))
            for number, name in enumerate(CLASSES)
        },
    )
    called = out_of_fold >= point.threshold
    return point, {
        "cv_sensitivity": float(called[targets == 1].mean()),
        "cv_specificity": float(1 - called[targets == 0].mean()),
        "cv_balanced_accuracy": float(balanced_accuracy_score(targets, called)),
    }


def _rounded(threshold: float) -> float:
    """A threshold in few digits, which loses no radiograph that reached it."""
    return float(np.floor(threshold * 1e4) / 1e4)


def auc_against_pneumonia(run: Run, samples: Sequence[Sample], learners: NDArray[np.bool_], seed: int) -> float | None:
    """The worst AUC of COVID-19 against pneumonia, over the networks that were trained without some archives.

    run: has judged the `unseen_splits` of `samples`, `learners` and `seed`. Each network is asked about the COVID-19
    radiographs that it is judged on, and about the pneumonias of each archive whose patients it does not know; None if
    there are none.
    """
    targets, patients = targets_of(samples), np.array([sample.patient for sample in samples])
    labels, archives = (np.array([str(getattr(s, name)) for s in samples]) for name in ("label", "archive"))
    found = []
    for split in unseen_splits(samples, learners, seed):
        scores = np.array(run.part(split.name)["scores"])
        ill = split.judge[targets[split.judge] == 1]
        pneumonia = (labels == Label.PNEUMONIA) & ~np.isin(patients, patients[split.learn])
        for archive in np.unique(archives[pneumonia]):
            group = np.flatnonzero(pneumonia & (archives == archive))
            if len(group) >= SMALLEST_GROUP:
                both = np.concatenate([ill, group])
                found.append(float(roc_auc_score(targets[both], scores[both])))
    return min(found, default=None)
