"""`covid-xnet train` on a corpus of phantoms: from a manifest to networks that the node loads."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.registry import MANIFEST, Registry, WeightsMismatch
from pipeline.flow import RECIPES, load_networks, read
from pipeline.radiograph import Radiograph
from tests.checkpoint import random_tensors, save_checkpoint
from tests.phantom import chest_phantom

PATIENTS = 12
ARCHIVES = ("cohen", "bimcv")

Row = dict[str, str]


def draw_corpus(folder: Path, patients: int = PATIENTS) -> Path:
    """Phantoms of two archives, every second one with opacities, and the masks of their lungs; returns the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    y, x = np.mgrid[-1:1:256j, -1:1:224j]
    lungs = (((x + 0.4) / 0.31) ** 2 + ((y + 0.02) / 0.68) ** 2 < 0.8) | (
        ((x - 0.42) / 0.3) ** 2 + ((y + 0.02) / 0.68) ** 2 < 0.8
    )
    for number in range(patients):
        image = chest_phantom((256, 224), seed=number)
        ill = number % 2 == 1
        if ill:
            clouds = cv2.resize(np.random.default_rng(number).random((8, 7), dtype=np.float32), (224, 256))
            image = np.clip(image + 0.4 * clouds * lungs, 0, 1)
        cv2.imwrite(str(folder / f"{number}.png"), np.rint(image * 255).astype(np.uint8))
        cv2.imwrite(str(folder / f"{number}-mask.png"), lungs.astype(np.uint8) * 255)
        rows.append(
            {
                "file": f"{number}.png",
                "label": "covid" if ill else "normal",
                "patient_id": f"p{number}",
                "source_key": ARCHIVES[number // 2 % 2],
                "lung_mask": f"{number}-mask.png",
                "lung_mask_with_heart": f"{number}-mask.png" if ill else "",
            }
        )
    return write(folder, rows)


def write(folder: Path, rows: list[Row]) -> Path:
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


def rows_of(manifest: Path) -> list[Row]:
    with manifest.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def train(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A process for each: TensorFlow is set up once in a process."""
    return subprocess.run(
        [sys.executable, "-m", "dicom_node", "train", *map(str, arguments)],
        capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of the node, after what the libraries of TensorFlow say when they start."""
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("covid-xnet: ")
    return last


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    manifest: Path
    weights: Path
    cache: Path
    said: dict[str, str]

    def options(self) -> tuple[str | Path, ...]:
        return "--manifest", self.manifest, "--out", self.weights, "--version", "7.0", "--data", "Phantoms"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The three networks, trained for one epoch in the order of the handbook."""
    folder = tmp_path_factory.mktemp("training")
    trained = Trained(
        manifest=draw_corpus(folder / "corpus"), weights=folder / "weights", cache=folder / "cache", said={}
    )
    teacher = save_checkpoint(random_tensors(), folder / "teacher").parent
    for name, more in (
        ("lungs", ()),
        ("ribs", ("--teacher", teacher, "--cache", trained.cache)),
        ("classifier", ("--cache", trained.cache, "--folds", "2", "--recipe", "paper")),
    ):
        done = train(name, *trained.options(), "--epochs", "1", *more)
        assert done.returncode == 0, done.stderr
        trained.said[name] = done.stdout
    return trained


@pytest.mark.slow
def test_three_commands_make_networks_that_the_node_loads_and_reads_with(trained: Trained) -> None:
    networks = load_networks(trained.weights)
    assert str(networks.model) == "COVID-XNet 7.0"
    assert networks.recipe == RECIPES["paper"]
    reading = read(Radiograph(pixels=chest_phantom()), networks)
    assert 0 <= reading.score <= 1
    assert np.isfinite(reading.heatmap).all()
    assert 0 <= reading.heatmap.min() <= reading.heatmap.max() <= 1


@pytest.mark.slow
def test_the_manifest_says_how_the_networks_were_trained_and_measured(trained: Trained) -> None:
    entries = Registry.load(trained.weights).entries
    assert list(entries) == ["lung_unet", "rib_suppression", "covid_xnet"]
    for entry in entries.values():
        assert (entry.version, entry.data) == ("7.0", "Phantoms")
        assert all(np.isfinite(value) for value in entry.metrics.values())
    assert set(entries["lung_unet"].metrics) == {
        "dice_mean", "dice_median", "dice_worst_of_20", "dice_worst", "held_out_radiographs",
        "with_heart_dice_mean", "with_heart_found_inside_mean", "with_heart_two_lungs_share", "with_heart_radiographs",
    }  # fmt: skip
    assert set(entries["rib_suppression"].metrics) == {"psnr_db_mean", "psnr_db_worst"}
    classifier = entries["covid_xnet"]
    assert {"cv_auc_mean", "cv_auc_sd", "cv_sensitivity", "cv_specificity", "unseen_archives_auc_mean"} <= set(
        classifier.metrics
    )
    point = classifier.operating_point
    assert point is not None
    assert 0 <= point.band[0] <= point.threshold <= point.band[1] <= 1
    assert point.recipe_digest == RECIPES["paper"].digest()
    assert point.sensitivity == 0.85
    assert classifier.metrics["cv_sensitivity"] >= 0.85
    assert point.temperature is not None
    assert point.temperature > 0
    assert {name: len(scores) for name, scores in point.reference.items()} == {"other": 20, "covid-19": 20}
    for entry, said in zip(entries.values(), trained.said.values(), strict=True):
        assert [metric for metric in entry.metrics if metric not in said] == []
    # Strict JSON: without NaN.
    json.loads((trained.weights / MANIFEST).read_text("utf-8"), parse_constant=pytest.fail)


@pytest.mark.slow
def test_a_second_training_takes_what_was_computed_once_from_the_cache(trained: Trained) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.cache.rglob("*") if path.is_file()}
    assert len([path for path in before if path.suffix == ".npz"]) == PATIENTS
    done = train(
        "classifier", *trained.options(), "--epochs", "1", "--cache", trained.cache, "--folds", "2", "--recipe", "paper"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == trained.said["classifier"]  # the seed makes it the same again
    assert {path: path.stat().st_mtime_ns for path in trained.cache.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_classifier_without_the_other_networks_is_told_so(trained: Trained, tmp_path: Path) -> None:
    done = train(
        "classifier", "--manifest", trained.manifest, "--out", tmp_path, "--version", "1", "--data", "x",
        "--cache", tmp_path / "cache",
    )  # fmt: skip
    assert MANIFEST in error_of(done)
    with pytest.raises(WeightsMismatch):
        load_networks(tmp_path)


def _no_column(rows: list[Row]) -> None:
    for row in rows:
        del row["patient_id"]


def _no_patient(rows: list[Row]) -> None:
    rows[3]["patient_id"] = ""


def _no_file(rows: list[Row]) -> None:
    rows[1]["file"] = "nowhere.png"


def _one_class(rows: list[Row]) -> None:
    for row in rows:
        row["label"] = "normal"


def _no_masks(rows: list[Row]) -> None:
    for row in rows:
        row["lung_mask"] = ""


def _one_patient(rows: list[Row]) -> None:
    for row in rows:
        row["patient_id"] = "p1"


BAD: list[tuple[str, Callable[[list[Row]], None], str]] = [
    ("classifier", _no_column, "row 2: patient_id missing"),
    ("classifier", _no_patient, "row 5: patient_id missing"),
    ("lungs", _no_file, "row 3: "),
    ("classifier", _one_class, "one class only: from row 2, "),
    ("lungs", _no_masks, "names no lung masks"),
    ("lungs", _one_patient, "1 patients are too few to hold out one in 6"),
]


@pytest.mark.parametrize(
    ("command", "spoil", "says"),
    [pytest.param(*bad, marks=[] if number == 1 else [pytest.mark.slow]) for number, bad in enumerate(BAD)],
    ids=[spoil.__name__.strip("_") for _, spoil, _ in BAD],
)
def test_a_manifest_that_cannot_be_used_is_told_in_one_line_and_nothing_is_written(
    tmp_path: Path, command: str, spoil: Callable[[list[Row]], None], says: str
) -> None:
    manifest = draw_corpus(tmp_path / "corpus", patients=4)
    rows = rows_of(manifest)
    spoil(rows)
    write(manifest.parent, rows)
    out = tmp_path / "weights"
    assert says in error_of(train(command, "--manifest", manifest, "--out", out, "--version", "1", "--data", "x"))
    assert not out.exists()


@pytest.mark.slow
def test_a_damaged_radiograph_of_the_corpus_is_named(trained: Trained, tmp_path: Path) -> None:
    manifest = draw_corpus(tmp_path / "corpus", patients=8)
    bad = manifest.parent / "3.png"
    bad.write_bytes(bad.read_bytes()[:300])
    done = train(
        "classifier", "--manifest", manifest, "--out", trained.weights, "--version", "1", "--data", "x",
        "--folds", "2", "--cache", tmp_path / "cache",
    )  # fmt: skip
    assert f"{bad}: " in error_of(done)
    assert str(load_networks(trained.weights).model) == "COVID-XNet 7.0"


def test_wrong_usage_is_exit_code_2(tmp_path: Path) -> None:
    for arguments in (
        ("lungs", "--manifest", tmp_path / "nowhere.csv", "--out", tmp_path, "--version", "1", "--data", "x"),
        ("lungs", "--out", tmp_path),
        ("ribs", "--help-me"),
    ):
        done = train(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert "Traceback" not in done.stderr
