"""`covid-xnet evaluate` on a corpus of phantoms: a real AUC, a run that survives a kill, and scikit-learn's numbers."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)
from sklearn.model_selection import StratifiedGroupKFold

from models.registry import SHIPPED
from tests.acceptance.test_training import Row, draw_corpus, error_of, rows_of, write

PATIENTS = 72
EPOCHS = 60
FOLDS = 2
# Normal and ill radiographs of each third: of the archives that split c learns from and is judged on, and of one
# archive with both.
ARCHIVES = (("nih", "cohen"), ("shenzhen", "hannover"), ("actualmed", "actualmed"))


def draw(folder: Path, patients: int = PATIENTS) -> Path:
    manifest = draw_corpus(folder, patients)
    rows = rows_of(manifest)
    for number, row in enumerate(rows):
        row["source_key"] = ARCHIVES[number // 2 % 3][row["label"] == "covid"]
    return write(folder, rows)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "dicom_node", "evaluate", *map(str, arguments)]


def evaluate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=250, check=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    manifest: Path
    cache: Path
    killed: Path
    whole: Path
    kept: bytes
    said: str

    def options(self, out: Path) -> tuple[str | Path, ...]:
        return (
            "--manifest", self.manifest, "--weights", SHIPPED, "--out", out, "--cache", self.cache,
            "--epochs", str(EPOCHS), "--folds", str(FOLDS),
        )  # fmt: skip


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """One run that was killed after its first network and went on, and one that was left alone."""
    folder = tmp_path_factory.mktemp("evaluation")
    found = Evaluated(
        manifest=draw(folder / "corpus"),
        cache=folder / "cache",
        killed=folder / "killed",
        whole=folder / "whole",
        kept=b"",
        said="",
    )
    first = found.killed / "parts" / "fold-0.json"
    process = subprocess.Popen(command(*found.options(found.killed)), stdout=subprocess.DEVNULL)
    begin = time.monotonic()
    while not first.exists():
        assert process.poll() is None
        assert time.monotonic() - begin < 200
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = first.read_bytes()
    assert not (found.killed / "report.json").exists()
    for out in (found.killed, found.whole):
        done = evaluate(*found.options(out))
        assert done.returncode == 0, done.stderr
    return Evaluated(
        manifest=found.manifest, cache=found.cache, killed=found.killed, whole=found.whole, kept=kept, said=done.stdout
    )


def report_of(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text("utf-8"), parse_constant=pytest.fail)
    return report


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_small_network_learns_what_the_phantoms_show(evaluated: Evaluated) -> None:
    report = report_of(evaluated.whole)
    assert report["protocol_1_paper"]["mean"]["auc"] > 0.9
    assert report["protocol_2_unseen_archives"]["splits"]["unseen-c"]["auc"] > 0.9
    assert report["protocol_3_same_source"]["actualmed"]["without-actualmed"]["auc"] > 0.9
    assert sum(report["training"]["seconds"].values()) < 120
    assert "Protocol 1, AUC: " in evaluated.said


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_numbers(evaluated: Evaluated) -> None:
    assert (evaluated.killed / "parts" / "fold-0.json").read_bytes() == evaluated.kept
    killed, whole = report_of(evaluated.killed), report_of(evaluated.whole)
    for report in (killed, whole):
        # How long it took, and on how many cores, is of the run and not of the networks.
        del report["protocol_8_speed"]["milliseconds"]
        del report["training"]["seconds"]
        del report["environments"]
    assert killed == whole


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_numbers_of_the_report_are_those_of_scikit_learn(evaluated: Evaluated) -> None:
    rows, report = rows_of(evaluated.manifest), report_of(evaluated.whole)
    ill = np.array([row["label"] == "covid" for row in rows]).astype(int)
    patients = [row["patient_id"] for row in rows]
    table = report["protocol_1_paper"]
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    folds = list(splitter.split(ill, ill, patients))
    assert len(table["folds"]) == len(folds)
    areas = []
    for number, (learn, judge) in enumerate(folds):
        assert not {patients[i] for i in learn} & {patients[i] for i in judge}
        part = json.loads((evaluated.whole / "parts" / f"fold-{number}.json").read_text("utf-8"))
        scores = np.array(part["scores"])[judge]
        truth, called = ill[judge], (scores >= 0.5).astype(int)
        areas.append(roc_auc_score(truth, scores))
        assert table["folds"][number] == {
            "confusion": confusion_matrix(truth, called).tolist(),
            "sensitivity": pytest.approx(recall_score(truth, called)),
            "specificity": pytest.approx(recall_score(1 - truth, 1 - called)),
            "precision": pytest.approx(precision_score(truth, called)),
            "f1": pytest.approx(f1_score(truth, called)),
            "auc": pytest.approx(areas[-1]),
            "balanced_accuracy": pytest.approx(balanced_accuracy_score(truth, called)),
        }
        assert len(part["curve"]["loss"]) == EPOCHS
    assert table["mean"]["auc"] == pytest.approx(np.mean(areas))
    low, high = table["intervals"]["auc"]
    assert 0 <= low <= table["mean"]["auc"] <= high <= 1

    archives = np.array([row["source_key"] for row in rows])
    judge = np.flatnonzero(np.isin(archives, ("hannover", "shenzhen")))
    unseen = report["protocol_2_unseen_archives"]["splits"]["unseen-c"]
    scores = np.array(json.loads((evaluated.whole / "parts" / "unseen-c.json").read_text("utf-8"))["scores"])
    assert unseen["auc"] == pytest.approx(roc_auc_score(ill[judge], scores[judge]))
    assert (unseen["positives"], unseen["negatives"]) == (ill[judge].sum(), (1 - ill[judge]).sum())
    called = scores[judge] >= unseen["threshold"]
    assert unseen["away"]["sensitivity"] == pytest.approx(recall_score(ill[judge], called))
    assert unseen["away"]["specificity"] == pytest.approx(recall_score(1 - ill[judge], ~called))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_page_needs_nothing_beside_it_and_says_what_the_numbers_are_not(evaluated: Evaluated) -> None:
    page = (evaluated.whole / "report.html").read_text("utf-8")
    assert "Not for diagnosis" in page
    assert len(re.findall(r'src="data:image/svg\+xml;base64,', page)) == 4
    assert page.count('src="data:image/png;base64,') > 0
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    report = report_of(evaluated.whole)
    assert ("fails its own report" in page) == report["protocol_5_shortcuts"]["fails"]
    assert report["environments"][0]["packages"]["tensorflow"] in page


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_folder_of_another_run_is_left_alone(evaluated: Evaluated) -> None:
    before = (evaluated.whole / "report.json").read_bytes()
    done = evaluate(*evaluated.options(evaluated.whole), "--seed", "5")
    assert "holds a run with another seed" in error_of(done)
    assert (evaluated.whole / "report.json").read_bytes() == before


def _two_folds(rows: list[Row]) -> None:
    for number, row in enumerate(rows):
        row["fold"] = "one" if number < 4 else "two"
    rows[6]["patient_id"] = rows[1]["patient_id"]


def _one_class(rows: list[Row]) -> None:
    for row in rows:
        row["label"] = "normal"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_two_folds, "row 8: patient 'p1' is in fold 'two', but in row 3 in fold 'one'"),
        (_one_class, "one class only: from row 2, "),
    ],
)
def test_a_corpus_that_cannot_be_split_is_told_with_its_row_and_nothing_is_written(
    tmp_path: Path, spoil: Any, says: str
) -> None:
    manifest = draw(tmp_path / "corpus", patients=8)
    rows = rows_of(manifest)
    spoil(rows)
    write(manifest.parent, rows)
    out = tmp_path / "run"
    done = evaluate("--manifest", manifest, "--weights", SHIPPED, "--out", out, "--cache", tmp_path / "cache")
    assert says in error_of(done)
    assert not out.exists()
