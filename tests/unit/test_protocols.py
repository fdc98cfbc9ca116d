"""The protocols on scores whose worth is known."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from pipeline.evaluation.protocols import (
    calibration_protocol,
    negatives_protocol,
    same_source_protocol,
    shortcut_protocol,
    unseen_protocol,
)
from pipeline.evaluation.study import Corpus, Judged, two_class_archives
from pipeline.training.corpus import Label, Sample

GROUPS = (
    ("home", Label.COVID, 200), ("home", Label.NORMAL, 200), ("away", Label.COVID, 300), ("away", Label.NORMAL, 300),
    ("nih", Label.PNEUMONIA, 100), ("nih", Label.OTHER, 5),
)  # fmt: skip


def corpus() -> Corpus:
    samples = [
        Sample(file=Path("x"), label=label, patient=f"{archive}{label}{n}", archive=archive, lung_mask=None)
        for archive, label, count in GROUPS
        for n in range(count)
    ]
    nothing = np.zeros((len(samples), 2, 2), np.uint8)
    return Corpus(
        samples=samples,
        images=nothing,
        probed=np.arange(0, len(samples), 2),
        probes={},
        features=np.zeros((0, 1)),
        learners=np.ones(len(samples), np.bool_),
    )


CORPUS = corpus()
HOME = np.flatnonzero(CORPUS.archives == "home")
AWAY = np.flatnonzero(CORPUS.archives == "away")
PNEUMONIA = np.flatnonzero(CORPUS.labels == Label.PNEUMONIA)


def scored(apart: float, *, shift: float = 0, pneumonia: float = 0, seed: int = 0) -> NDArray[np.float64]:
    """Scores of which those of COVID-19 are `apart` standard deviations higher; elsewhere than home all are moved."""
    logits = np.random.default_rng(seed).normal(0, 1, len(CORPUS.samples)) + apart * CORPUS.targets
    logits[AWAY] += shift
    logits[PNEUMONIA] += pneumonia
    return np.asarray(1 / (1 + np.exp(-logits)), np.float64)


def judged(scores: NDArray[np.float64], *, blanked: float = 0, name: str = "unseen-a") -> Judged:
    probes = dict.fromkeys(("border_only", "halves_exchanged", "simple"), scored(0, seed=5))
    return Judged(
        name=name,
        scores=scores,
        probes={"lungs_blanked": scored(blanked, seed=6), **probes},
        judge=AWAY,
        home=HOME,
        seconds=1,
        curves={},
    )


def test_the_threshold_of_home_is_applied_away() -> None:
    scores = scored(2, shift=1.5)
    found = unseen_protocol(CORPUS, [judged(scores)], 0.9)
    split = found["splits"]["unseen-a"]
    ill = CORPUS.targets == 1
    assert split["home"]["sensitivity"] == pytest.approx(0.9)
    assert np.mean(scores[HOME][ill[HOME]] >= split["threshold"]) == split["home"]["sensitivity"]
    assert split["away"]["sensitivity"] == np.mean(scores[AWAY][ill[AWAY]] >= split["threshold"]) > 0.98
    specificity = np.mean(scores[AWAY][~ill[AWAY]] < split["threshold"])
    assert split["away"]["specificity"] == pytest.approx(specificity)
    assert specificity < 0.5
    assert split["auc"] == found["mean_auc"] == pytest.approx(roc_auc_score(ill[AWAY], scores[AWAY]))
    assert split["interval"][0] < split["auc"] < split["interval"][1]
    assert unseen_protocol(CORPUS, [], 0.9) == {"splits": {}, "mean_auc": None, "sensitivity": 0.9}


@pytest.mark.parametrize(("pneumonia", "apart"), [(0, True), (2, False)])
def test_pneumonia_that_scores_like_covid_is_told(pneumonia: float, apart: bool) -> None:
    scores = scored(2, pneumonia=pneumonia)
    found = negatives_protocol(CORPUS, [judged(scores)], 0.9)
    network = found["networks"]["unseen-a"]
    assert list(network["groups"]) == ["nih pneumonia"]  # five of another disease are too few to speak of
    group = network["groups"]["nih pneumonia"]
    assert group["called"]["share"] == np.mean(scores[PNEUMONIA] >= network["threshold"])
    both = np.concatenate([AWAY[CORPUS.targets[AWAY] == 1], PNEUMONIA])
    assert group["against_covid"]["auc"] == pytest.approx(roc_auc_score(CORPUS.targets[both], scores[both]))
    assert found["tells_apart"] == apart


def test_a_network_is_not_judged_on_what_it_learned_from() -> None:
    scores = scored(2)
    scores[PNEUMONIA[:95]] = np.nan
    assert negatives_protocol(CORPUS, [judged(scores)], 0.9)["networks"]["unseen-a"]["groups"] == {}
    assert negatives_protocol(CORPUS, [judged(scores)], 0.9)["tells_apart"] is False


@pytest.mark.parametrize(("blanked", "fails"), [(0, False), (1, True), (-1, True)])
def test_a_model_that_tells_the_class_without_lungs_fails(blanked: float, fails: bool) -> None:
    found = shortcut_protocol(CORPUS, [judged(scored(2), blanked=blanked)])
    probed = np.intersect1d(AWAY, CORPUS.probed)
    row = found["networks"]["unseen-a"]
    assert found["fails"] == fails
    assert row["lungs_blanked"] == roc_auc_score(CORPUS.targets[probed], scored(blanked, seed=6)[probed])
    assert row["intact"] == roc_auc_score(CORPUS.targets[probed], scored(2)[probed])
    assert row["radiographs"] == len(probed) == 300


def test_commissioning_brings_scores_back_that_another_machine_has_moved() -> None:
    found = calibration_protocol(CORPUS, [judged(scored(2.5, shift=3))], 0.9, seed=0)["unseen-a"]
    assert found["ece"] > 0.2
    assert found["commissioned"]["ece"] < 0.1
    assert found["before"]["specificity"] < 0.2
    assert found["commissioned_with_more"]["ece"] < found["commissioned"]["ece"]
    assert found["commissioned"]["ece"] < found["commissioned"]["ece_of_nine_in_ten"] < 0.2
    assert 0 < found["commissioned"]["standard_deviation"]["ece"] < 0.1
    assert found["commissioned"]["specificity"] > 0.6
    assert found["commissioned"]["sensitivity"] > 0.8


def test_a_site_with_too_few_radiographs_is_not_commissioned() -> None:
    few = Judged(
        name="unseen-a", scores=scored(2), probes={}, judge=AWAY[250:350], home=HOME, seconds=1, curves={}
    )  # fmt: skip
    assert calibration_protocol(CORPUS, [few], 0.9, seed=0)["unseen-a"]["commissioned"] is None


def test_an_archive_with_both_classes_is_its_own_control() -> None:
    assert two_class_archives(CORPUS) == ["away", "home"]
    scores = scored(2)
    found = same_source_protocol(CORPUS, [judged(scores, name="without-away"), judged(scores, name="unseen-a")])
    assert list(found) == ["away"]
    assert list(found["away"]) == ["without-away", "unseen-a"]
    assert found["away"]["without-away"]["auc"] == pytest.approx(roc_auc_score(CORPUS.targets[AWAY], scores[AWAY]))
    assert same_source_protocol(CORPUS, [judged(scores)]) == {}
