"""The protocols: what the networks of a study are worth, as plain numbers."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from pipeline.calibrate import calibrated, temperature
from pipeline.evaluation.measures import (
    auc_of,
    auc_with_interval,
    expected_calibration_error,
    interval,
    reliability,
    share_with_interval,
    table_row,
)
from pipeline.evaluation.study import Corpus, Judged
from pipeline.recalibrate import Home, on_curve, recalibrate
from pipeline.training.corpus import Label
from pipeline.training.operating import SMALLEST_GROUP, TELLS_APART

PAPER_THRESHOLD: Final = 0.5
"""The paper takes the class with the larger probability."""

BLANKED_LIMIT: Final = 0.60
"""AUC without lungs above which a model fails its own report, and below whose mirror image, too."""

_UNLABELLED, _LABELLED, _MORE_LABELLED, _COMMISSIONINGS = 200, 20, 60, 40
_CURVE_POINTS: Final = 400


def roc_of(corpus: Corpus, scores: NDArray[np.float64], judge: NDArray[np.intp]) -> dict[str, list[float]]:
    """Points of the ROC curve, thinned out to what a plot can show."""
    false, true, _ = roc_curve(corpus.targets[judge], scores[judge])
    chosen = np.unique(np.linspace(0, len(false) - 1, _CURVE_POINTS).round().astype(int))
    return {"false_positives": false[chosen].tolist(), "true_positives": true[chosen].tolist()}


def paper_protocol(corpus: Corpus, crossed: Judged) -> dict[str, Any]:
    """Protocol 1: Table 1 and Figure 3 of the paper, COVID-19 against normal, out of fold."""
    parts = [fold.judge[corpus.decided[fold.judge]] for fold in crossed.folds]
    rows = [table_row(corpus.targets[part], crossed.scores[part], PAPER_THRESHOLD) for part in parts]
    numbers = [name for name in rows[0] if name != "confusion"]
    mean: dict[str, Any] = {name: float(np.mean([row[name] for row in rows])) for name in numbers}
    everyone = np.concatenate(parts)
    patients = corpus.patients[everyone].tolist()
    targets, scores = corpus.targets[everyone], crossed.scores[everyone]
    ends = np.cumsum([len(part) for part in parts])[:-1]

    areas = [auc_of(corpus.targets[part], crossed.scores[part]) for part in parts]

    def mean_auc(weights: NDArray[np.float64]) -> float:
        return float(np.mean([area(drawn) for area, drawn in zip(areas, np.split(weights, ends), strict=True)]))

    def rate(of: int) -> Any:
        right = (scores >= PAPER_THRESHOLD) == (targets == 1)
        return lambda w: float(np.average(right[targets == of], weights=w[targets == of]))

    sensitivity, specificity = rate(1), rate(0)
    intervals = {
        "auc": interval(mean_auc, targets, patients),
        "sensitivity": interval(sensitivity, targets, patients),
        "specificity": interval(specificity, targets, patients),
        "balanced_accuracy": interval(lambda w: (sensitivity(w) + specificity(w)) / 2, targets, patients),
    }
    return {
        "threshold": PAPER_THRESHOLD,
        "folds": rows,
        "mean": {**mean, "confusion": np.sum([row["confusion"] for row in rows], axis=0).tolist()},
        "standard_deviation": {name: float(np.std([row[name] for row in rows])) for name in numbers},
        "intervals": intervals,
        "roc": [roc_of(corpus, crossed.scores, part) for part in parts],
        "patients": len(set(patients)),
    }


def unseen_protocol(corpus: Corpus, unseen: Sequence[Judged], sensitivity: float) -> dict[str, Any]:
    """Protocol 2: COVID-19 against normal of archives, and hospitals, that the network never saw."""
    found: dict[str, Any] = {}
    for judged in unseen:
        part, home = judged.judge, judged.home[corpus.decided[judged.home]]
        threshold = judged.threshold(corpus, sensitivity)
        found[judged.name] = {
            **auc_with_interval(corpus.targets[part], judged.scores[part], corpus.patients[part].tolist()),
            "home_auc": _auc(corpus, judged.scores, home),
            "threshold": threshold,
            "home": _rates(corpus, judged.scores, home, threshold),
            "away": _rates(corpus, judged.scores, part, threshold),
            "archives": sorted(set(corpus.archives[part].tolist())),
            "learned": sorted(set(corpus.archives[judged.home].tolist())),
            "roc": roc_of(corpus, judged.scores, part),
        }
    mean = float(np.mean([split["auc"] for split in found.values()])) if found else None
    return {"splits": found, "mean_auc": mean, "sensitivity": sensitivity}


def same_source_protocol(corpus: Corpus, networks: Sequence[Judged]) -> dict[str, Any]:
    """Protocol 3: archives with both classes, where the archive gives nothing away."""
    found: dict[str, Any] = {}
    for archive in sorted({str(name) for judged in networks for name in corpus.archives[judged.judge]}):
        for judged in networks:
            part = np.flatnonzero((corpus.archives == archive) & corpus.decided & ~np.isnan(judged.scores))
            if all((corpus.targets[part] == c).sum() > 1 for c in (0, 1)):
                found.setdefault(archive, {})[judged.name] = auc_with_interval(
                    corpus.targets[part], judged.scores[part], corpus.patients[part].tolist()
                )
    return {archive: models for archive, models in found.items() if f"without-{archive}" in models}


def negatives_protocol(corpus: Corpus, networks: Sequence[Judged], sensitivity: float) -> dict[str, Any]:
    """Protocol 4: other diseases called COVID-19 at the home threshold, and how well scores tell them apart."""
    found: dict[str, Any] = {}
    for judged in networks:
        threshold = judged.threshold(corpus, sensitivity)
        positive = judged.judge[corpus.targets[judged.judge] == 1]
        groups: dict[str, Any] = {}
        for label in (Label.PNEUMONIA, Label.OTHER):
            for archive in np.unique(corpus.archives[corpus.labels == label]):
                group = np.flatnonzero(
                    (corpus.labels == label) & (corpus.archives == archive) & ~np.isnan(judged.scores)
                )
                if len(group) < SMALLEST_GROUP:
                    continue
                both = np.concatenate([positive, group])
                groups[f"{archive} {label}"] = {
                    "called": share_with_interval(judged.scores[group] >= threshold, corpus.patients[group].tolist()),
                    "against_covid": auc_with_interval(
                        corpus.targets[both], judged.scores[both], corpus.patients[both].tolist()
                    ),
                }
        found[judged.name] = {
            "threshold": threshold,
            "sensitivity": float((judged.scores[positive] >= threshold).mean()),
            "groups": groups,
        }
    against = [
        group["against_covid"]["auc"]
        for network in found.values()
        for name, group in network["groups"].items()
        if name.endswith(Label.PNEUMONIA)
    ]
    worst = min(against) if against else None
    return {
        "networks": found,
        "worst_auc_against_pneumonia": worst,
        "tells_apart": worst is not None and worst >= TELLS_APART,
    }


def shortcut_protocol(corpus: Corpus, networks: Sequence[Judged]) -> dict[str, Any]:
    """Protocol 5: what can be told without the lungs, or without looking."""
    found: dict[str, Any] = {}
    for judged in networks:
        probed = np.intersect1d(judged.judge, corpus.probed)
        found[judged.name] = {
            "intact": _auc(corpus, judged.scores, probed),
            **{name: _auc(corpus, scores, probed) for name, scores in judged.probes.items()},
            "radiographs": len(probed),
        }
    blanked = [max(row["lungs_blanked"], 1 - row["lungs_blanked"]) for row in found.values()]
    return {"networks": found, "limit": BLANKED_LIMIT, "fails": max(blanked, default=0.0) > BLANKED_LIMIT}


def calibration_protocol(corpus: Corpus, unseen: Sequence[Judged], sensitivity: float, seed: int) -> dict[str, Any]:
    """Protocol 6: probabilities and thresholds at home, on unseen archives, and after commissioning there."""
    found: dict[str, Any] = {}
    for judged in unseen:
        home, part = judged.home[corpus.decided[judged.home]], judged.judge
        found_temperature = temperature(corpus.targets[home], judged.scores[home])
        slope = 1 / found_temperature
        away = calibrated(judged.scores[part], slope)
        threshold = judged.threshold(corpus, sensitivity)
        found[judged.name] = {
            "temperature": found_temperature,
            "ece_home": expected_calibration_error(corpus.targets[home], calibrated(judged.scores[home], slope)),
            "ece_raw": expected_calibration_error(corpus.targets[part], judged.scores[part]),
            "ece": expected_calibration_error(corpus.targets[part], away),
            "reliability_home": reliability(corpus.targets[home], calibrated(judged.scores[home], slope)),
            "reliability": reliability(corpus.targets[part], away),
            "before": _rates(corpus, judged.scores, part, threshold),
            "commissioned": _commissioned(corpus, judged, sensitivity, seed, _LABELLED),
            "commissioned_with_more": _commissioned(corpus, judged, sensitivity, seed, _MORE_LABELLED),
        }
    return found


def _commissioned(
    corpus: Corpus, judged: Judged, sensitivity: float, seed: int, labelled: int
) -> dict[str, Any] | None:
    """Commission on 200 unlabelled and some labelled radiographs of the site, half of them COVID-19, as a site would.

    Judged on its other radiographs, of other patients: mean and standard deviation over the draws, and the ECE that
    nine in ten draws stay below. None if the site has too few radiographs.
    """
    random, rows = np.random.default_rng(seed), []
    positives, negatives = (judged.judge[corpus.targets[judged.judge] == c] for c in (1, 0))
    if min(len(positives), len(negatives)) < labelled or len(judged.judge) < 2 * _UNLABELLED:
        return None
    at_home = judged.home[corpus.decided[judged.home]]
    home = Home.of(*(judged.scores[at_home[corpus.targets[at_home] == c]] for c in (0, 1)))
    for _ in range(_COMMISSIONINGS):
        known = np.concatenate([random.permutation(group)[: labelled // 2] for group in (positives, negatives)])
        others = random.permutation(np.setdiff1d(judged.judge, known))
        unlabelled = others[:_UNLABELLED]
        taken = np.isin(corpus.patients[others], corpus.patients[np.concatenate([known, unlabelled])])
        rest = others[~taken]
        found = recalibrate(judged.scores[unlabelled], judged.scores[known], corpus.targets[known], home, sensitivity)
        targets, rates = corpus.targets[rest], _rates(corpus, judged.scores, rest, found.threshold)
        ece = expected_calibration_error(targets, on_curve(judged.scores[rest], found.curve))
        rows.append((ece, rates["sensitivity"], rates["specificity"]))
    names = ("ece", "sensitivity", "specificity")
    return {
        "unlabelled": _UNLABELLED,
        "labelled": labelled,
        **dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True)),
        "standard_deviation": dict(zip(names, np.std(rows, axis=0).tolist(), strict=True)),
        "ece_of_nine_in_ten": float(np.quantile([row[0] for row in rows], 0.9)),
        "draws": _COMMISSIONINGS,
    }


def _auc(corpus: Corpus, scores: NDArray[np.float64], judge: NDArray[np.intp]) -> float:
    return float(roc_auc_score(corpus.targets[judge], scores[judge]))


def _rates(corpus: Corpus, scores: NDArray[np.float64], judge: NDArray[np.intp], threshold: float) -> dict[str, float]:
    called, targets = scores[judge] >= threshold, corpus.targets[judge]
    return {
        "sensitivity": float(called[targets == 1].mean()),
        "specificity": float(1 - called[targets == 0].mean()),
    }
