"""What is chosen on scores of patients held out."""

from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models.covid_xnet import covid_xnet, with_activation_map
from pipeline.preprocess import PAPER
from pipeline.training.corpus import Label, Sample
from pipeline.training.folds import unseen_splits
from pipeline.training.operating import auc_against_pneumonia, operating_point
from pipeline.training.run import Run

SIDE = 32


@pytest.fixture(scope="module")
def serving() -> keras.Model:
    return with_activation_map(covid_xnet(side=SIDE))


def test_threshold_band_and_temperature_are_those_of_patients_held_out(serving: keras.Model) -> None:
    random = np.random.default_rng(0)
    targets = np.repeat([0, 1], [3000, 1000])
    logits = random.normal(2 * targets - 1, 1)  # whose log odds are twice the logit
    scores = 1 / (1 + np.exp(-logits))
    images = random.integers(0, 255, (len(targets), SIDE, SIDE), dtype=np.uint8)
    point, metrics = operating_point(serving, PAPER, images, targets, scores, sensitivity=0.9)
    ill, well = scores[targets == 1], scores[targets == 0]
    assert point.sensitivity == 0.9
    assert metrics["cv_sensitivity"] == pytest.approx(0.9, abs=3e-3)
    assert np.mean(ill >= point.threshold) == metrics["cv_sensitivity"]
    assert np.mean(well < point.threshold) == pytest.approx(metrics["cv_specificity"])
    low, high = point.band
    assert np.mean(ill >= low) == pytest.approx(0.95, abs=3e-3)
    assert np.mean(well < high) == pytest.approx(0.85, abs=3e-3)
    assert point.temperature == pytest.approx(0.5, abs=0.03)
    for number, name in enumerate(point.classes):
        kept, own = np.array(point.reference[name]), scores[targets == number]
        assert (np.diff(kept) >= 0).all()
        assert kept.mean() == pytest.approx(own.mean(), abs=0.01)
        assert np.median(kept) == pytest.approx(np.median(own), abs=0.02)


def test_a_network_is_asked_about_pneumonia_that_it_did_not_learn_from(tmp_path: Path) -> None:
    groups = (
        ("cohen", Label.COVID, 30), ("nih", Label.NORMAL, 30), ("nih", Label.PNEUMONIA, 20),
        ("hannover", Label.COVID, 30), ("shenzhen", Label.NORMAL, 30), ("cohen", Label.PNEUMONIA, 4),
    )  # fmt: skip
    samples = [
        Sample(file=Path("x"), label=label, patient=f"{archive} {label} {n}", archive=archive, lung_mask=None)
        for archive, label, count in groups
        for n in range(count)
    ]
    (split,) = unseen_splits(samples, np.ones(len(samples), np.bool_), 0)
    assert split.name == "unseen-c"
    scores = np.random.default_rng(1).random(len(samples))
    run = Run.open(tmp_path, {})
    run.once(split.name, lambda: {"scores": scores.tolist()})
    # One in five pneumonias of NIH is held out: too few to say something.
    assert auc_against_pneumonia(run, samples, np.ones(len(samples), np.bool_), 0) is None

    more = [*samples, *(Sample(file=Path("x"), label=Label.PNEUMONIA, patient=f"rsna {n}", archive="rsna",
                               lung_mask=None) for n in range(20))]  # fmt: skip
    scores = np.random.default_rng(1).random(len(more))
    run = Run.open(tmp_path / "more", {})
    run.once(split.name, lambda: {"scores": scores.tolist()})
    ill = [i for i, s in enumerate(more) if s.archive == "hannover"]
    both = np.array([*ill, *range(len(samples), len(more))])
    expected = roc_auc_score([s.label is Label.COVID for s in (more[i] for i in both)], scores[both])
    assert auc_against_pneumonia(run, more, np.ones(len(more), np.bool_), 0) == pytest.approx(expected)
