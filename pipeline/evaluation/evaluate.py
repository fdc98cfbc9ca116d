"""An evaluation from a prepared corpus to its report."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.evaluation.gallery import look
from pipeline.evaluation.protocols import (
    BLANKED_LIMIT,
    calibration_protocol,
    negatives_protocol,
    paper_protocol,
    same_source_protocol,
    shortcut_protocol,
    unseen_protocol,
)
from pipeline.evaluation.report import html
from pipeline.evaluation.study import Corpus, Judged, Study
from pipeline.preprocess import Recipe
from pipeline.training.folds import Teaching
from pipeline.training.operating import TELLS_APART
from pipeline.training.run import Run

REPORT: Final = "report.json"
PAGE: Final = "report.html"


def evaluate(
    corpus: Corpus,
    run: Run,
    recipe: Recipe,
    weights: Path,
    *,
    teaching: Teaching,
    folds: int,
    seed: int,
    sensitivity: float,
) -> dict[str, Any]:
    """Train what the protocols need, unless the run has it, and write `report.json` and `report.html` into its folder.

    weights: folder with the lung and rib networks. Raises BadCorpus if the corpus does not allow a
    cross-validation.
    """
    study = Study(corpus=corpus, run=run, teaching=teaching, folds=folds, seed=seed)
    crossed = study.cross_validation()
    unseen = study.unseen_archives()
    same = study.same_source()
    report = {
        "title": "COVID-XNet, evaluation",
        "recipe": {**asdict(recipe), "digest": recipe.digest()},
        "asked": run.config(),
        "environments": run.environments(),
        "data": _counts(corpus),
        "protocol_1_paper": paper_protocol(corpus, crossed),
        "protocol_2_unseen_archives": unseen_protocol(corpus, unseen, sensitivity),
        "protocol_3_same_source": same_source_protocol(corpus, [*same, *unseen, crossed]),
        "protocol_4_negatives": negatives_protocol(corpus, [crossed, *unseen], sensitivity),
        "protocol_5_shortcuts": shortcut_protocol(corpus, [crossed, *unseen]),
        "protocol_6_calibration": calibration_protocol(corpus, unseen, sensitivity, seed),
        **_looked(corpus, crossed, run, recipe, weights, seed),
        "training": _training([crossed, *unseen, *same]),
    }
    report["targets"] = targets_of(report)
    (run.folder / REPORT).write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", "utf-8")
    (run.folder / PAGE).write_text(html(report), "utf-8")
    return report


def _looked(corpus: Corpus, crossed: Judged, run: Run, recipe: Recipe, weights: Path, seed: int) -> dict[str, Any]:
    found = look(corpus, crossed, run, recipe, weights, seed)
    return {
        "protocol_7_localisation": {
            "energy_in_lungs": found["energy_in_lungs"],
            "pointing_game": found["pointing_game"],
            "gallery": found["gallery"],
        },
        "protocol_8_speed": found["speed"],
    }


def _counts(corpus: Corpus) -> dict[str, dict[str, int]]:
    """Archive -> label -> radiographs, and `patients`."""
    return {
        str(archive): {
            **{
                str(label): int(((corpus.archives == archive) & (corpus.labels == label)).sum())
                for label in np.unique(corpus.labels)
            },
            "patients": len(set(corpus.patients[corpus.archives == archive].tolist())),
        }
        for archive in np.unique(corpus.archives)
    }


def _training(networks: Sequence[Judged]) -> dict[str, Any]:
    return {
        "seconds": {judged.name: round(judged.seconds, 1) for judged in networks},
        "curves": {name: curve for judged in networks for name, curve in judged.curves.items()},
    }


def targets_of(report: dict[str, Any]) -> list[dict[str, Any]]:
    """What was aimed at, and what was reached; `met` is None where the corpus does not allow to say."""
    paper, unseen = report["protocol_1_paper"]["mean"], report["protocol_2_unseen_archives"]["mean_auc"]
    actualmed = report["protocol_3_same_source"].get("actualmed", {}).get("without-actualmed", {}).get("auc")
    negatives = report["protocol_4_negatives"]
    pneumonia = [
        network["groups"]["nih pneumonia"]
        for network in negatives["networks"].values()
        if "nih pneumonia" in network["groups"]
    ]
    called = max((group["called"]["share"] for group in pneumonia), default=None)
    against = min((group["against_covid"]["auc"] for group in pneumonia), default=None)
    blanked = [row["lungs_blanked"] for row in report["protocol_5_shortcuts"]["networks"].values()]
    calibration = report["protocol_6_calibration"].values()
    commissioned = [split["commissioned"]["ece"] for split in calibration if split["commissioned"]]
    rows: list[tuple[str, str, float, float | None]] = [
        ("Protocol 1, AUC", ">=", 0.97, paper["auc"]),
        ("Protocol 1, balanced accuracy", ">=", 0.92, paper["balanced_accuracy"]),
        ("Protocol 2, mean AUC", ">=", 0.90, unseen),
        ("Protocol 3, AUC on Actualmed", ">=", 0.85, actualmed),
        ("Protocol 4, NIH pneumonia called COVID-19, worst network", "<=", 0.40, called),
        ("Protocol 4, AUC against NIH pneumonia, worst network", ">=", TELLS_APART, against),
        (
            "Protocol 5, AUC with the lungs blanked or its mirror image, worst network", "<=", BLANKED_LIMIT,
            max(max(auc, 1 - auc) for auc in blanked),
        ),
        ("Protocol 6, ECE on unseen archives after commissioning, worst", "<=", 0.05, max(commissioned, default=None)),
    ]  # fmt: skip
    return [
        {
            "name": name,
            "wanted": f"{sign} {aim:.2f}",
            "found": found,
            "met": None if found is None else found >= aim if sign == ">=" else found <= aim,
        }
        for name, sign, aim, found in rows
    ]
