"""The model card, and the comparison with Keras."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import pytest
from typer.testing import CliRunner, Result

from dicom_node.cli import app
from dicom_node.errors import NodeError
from models.registry import SHIPPED, Registry, sha256
from pipeline.evaluation.card import card

ROOT = Path(__file__).parents[2]
INTERVAL = [0.7, 0.9]


def report(digest: str) -> dict[str, Any]:
    """A report with one split, one archive with both classes and one group of pneumonia, where all went wrong."""
    rates = {"sensitivity": 0.81, "specificity": 0.62}
    auc = {"auc": 0.8123, "interval": INTERVAL, "positives": 20, "negatives": 30}
    return {
        "recipe": {"name": "default", "digest": digest},
        "asked": {"epochs": 8, "folds": 5, "seed": 0},
        "protocol_1_paper": {
            "mean": {"auc": 0.9111, "balanced_accuracy": 0.85},
            "intervals": {"auc": INTERVAL, "balanced_accuracy": None},
        },
        "protocol_2_unseen_archives": {
            "splits": {"unseen-a": {**auc, "archives": ["bimcv", "rsna"], "away": rates}}, "mean_auc": 0.8123,
        },
        "protocol_3_same_source": {"actualmed": {"without-actualmed": auc}},
        "protocol_4_negatives": {
            "networks": {
                "unseen-a": {
                    "groups": {
                        "nih pneumonia": {
                            "called": {"share": 0.66, "interval": INTERVAL, "radiographs": 497}, "against_covid": auc,
                        }
                    }
                }
            },
            "worst_auc_against_pneumonia": 0.6,
            "tells_apart": False,
        },
        "protocol_5_shortcuts": {"networks": {"unseen-a": {"lungs_blanked": 0.703}}, "fails": True},
        "protocol_6_calibration": {"unseen-a": {"ece": 0.19, "commissioned": None}},
        "protocol_7_localisation": {
            "energy_in_lungs": {"mean": None},
            "pointing_game": {"hits": 0.75, "by_chance": 0.4, "radiographs": 8},
        },
        "protocol_8_speed": {"milliseconds": {"lungs": 20.0, "ribs": 22.0}},
        "targets": [{"name": "Protocol 1, AUC", "wanted": ">= 0.97", "found": 0.9111, "met": False}],
    }  # fmt: skip


def digest() -> str:
    point = Registry.load().entries["covid_xnet"].operating_point
    assert point is not None
    return point.recipe_digest


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


@pytest.mark.parametrize("name", ["covid_xnet", "lung_unet", "rib_suppression"])
def test_a_card_holds_all_that_the_manifest_knows(name: str) -> None:
    entry = Registry.load().entries[name]
    text = run("card", name).stdout
    assert text.startswith(f"# {entry.title} {entry.version}\n\n**Investigational. Not for diagnosis.**\n")
    assert entry.data in text
    for metric, value in entry.metrics.items():
        assert f"| {metric.replace('_', ' ')} | {value:.4g} |" in text
    for file, found in entry.files.items():
        assert f"| `{file}` | `{found}` |" in text
    for heading in ("Intended use", "Data and licences", "Known failures", "Files"):
        assert f"\n## {heading}\n" in text


def test_the_classifier_is_the_network_of_the_card_that_names_none() -> None:
    assert run("card").stdout == run("card", "covid_xnet").stdout


def test_a_report_puts_its_protocols_and_what_it_found_against_the_model_into_the_card(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(report(digest())))
    result = run("card", "--report", tmp_path / "report.json")
    assert result.exit_code == 0, result.exception
    for row in (
        "| 1. Paper: folds by patient | AUC | 0.911 | 0.700 to 0.900 |",
        "|  | balanced accuracy | 0.850 |  |",
        "| 2. unseen-a: bimcv, rsna (20 / 30) | AUC | 0.812 | 0.700 to 0.900 |",
        "|  | specificity at the threshold of home | 0.620 |  |",
        "| 3. Same source: actualmed (20 / 30) | AUC | 0.812 | 0.700 to 0.900 |",
        "| 4. unseen-a: nih pneumonia (497) | called COVID-19 | 0.660 | 0.700 to 0.900 |",
        "| 5. unseen-a: lungs blanked | AUC | 0.703 |  |",
        "| 8. Speed | ms for a radiograph, one thread | 42 |  |",
        "- **It fails its own report: with the lungs blanked, it still tells the classes apart.**",
        "- **It cannot tell COVID-19 from other pneumonia.**",
        "- Missed: Protocol 1, AUC 0.911, aim >= 0.97.",
    ):
        assert row in result.stdout.splitlines()


def test_the_card_of_the_handbook_is_the_one_of_the_shipped_classifier() -> None:
    kept = Registry.load().evaluation()
    assert kept is not None
    assert run("card").stdout == (ROOT / "deploy" / "handbook" / "model-card.md").read_text("utf-8")
    assert f"| 2. mean | AUC | {kept['protocol_2_unseen_archives']['mean_auc']:.3f} |  |" in run("card").stdout


def test_a_report_is_kept_beside_the_weights_that_it_judges_without_the_radiographs_that_it_shows(
    tmp_path: Path,
) -> None:
    folder = Path(shutil.copytree(SHIPPED, tmp_path / "weights"))
    full = report(digest())
    full["protocol_7_localisation"]["gallery"] = {"pictures": {"true positives": ["radiograph"]}}
    (tmp_path / "report.json").write_text(json.dumps(full))
    assert run("keep-report", tmp_path / "report.json", "--folder", folder).exit_code == 0
    kept = (folder / "evaluation.json").read_text("utf-8")
    assert json.loads(kept)["protocol_7_localisation"] == report(digest())["protocol_7_localisation"]
    assert run("card", "--folder", folder).stdout == run("card", "--report", tmp_path / "report.json").stdout
    (tmp_path / "report.json").write_text(json.dumps(report("0" * 64)))
    assert "was not trained" in error_of(run("keep-report", tmp_path / "report.json", "--folder", folder))
    assert (folder / "evaluation.json").read_text("utf-8") == kept
    (folder / "evaluation.json").write_text("no JSON")
    assert "evaluation.json cannot be read" in error_of(run("card", "--folder", folder))
    (folder / "evaluation.json").unlink()
    assert "## Protocols" not in run("card", "--folder", folder).stdout


def test_a_model_against_which_nothing_was_found_is_not_accused() -> None:
    good = report(digest())
    good["protocol_4_negatives"]["tells_apart"] = good["targets"][0]["met"] = True
    good["protocol_5_shortcuts"]["fails"] = False
    text = card(Registry.load(), "covid_xnet", good)
    assert not any(word in text for word in ("It fails", "It cannot", "Missed"))


def error_of(result: Result) -> str:
    assert result.exit_code == 1
    assert isinstance(result.exception, NodeError), result.output
    return str(result.exception)


def test_a_report_of_another_recipe_or_none_at_all_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text(json.dumps(report("0" * 64)))
    assert "judges recipe 'default', with which covid_xnet was not trained" in error_of(run("card", "--report", file))
    for text in ("[]", "{}", "no JSON"):
        file.write_text(text)
        assert "is no report of this version. Evaluate again." in error_of(run("card", "--report", file))
    assert run("card", "resnet").exit_code == 2


@pytest.mark.slow
def test_parity_finds_a_network_that_was_exported_from_other_weights(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SHIPPED, tmp_path / "weights"))
    result = run("verify", "--parity", "--folder", folder)
    assert result.exit_code == 0, result.exception
    assert result.stdout.count("OpenVINO differs from Keras by") == 4
    network = keras.saving.load_model(folder / "rib_suppression.keras")
    network.set_weights([1.01 * weights for weights in network.get_weights()])
    network.save(folder / "rib_suppression.keras")
    registry = Registry.load(folder)
    entry = registry.entries["rib_suppression"]
    files = {**entry.files, "rib_suppression.keras": sha256(folder / "rib_suppression.keras")}
    registry.with_entry(replace(entry, files=files))
    assert "rib_suppression: OpenVINO differs from Keras by" in error_of(run("verify", "--parity", "--folder", folder))
