"""`covid-xnet models list | show | verify`, with the shipped networks."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dicom_node.cli import app
from dicom_node.errors import NodeError
from models.registry import MANIFEST, SHIPPED, Registry, sha256

NETWORKS = ("lung_unet", "rib_suppression", "covid_xnet")


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "weights"))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


def error_of(result: Result) -> str:
    assert result.exit_code == 1
    assert isinstance(result.exception, NodeError), result.output
    message = str(result.exception)
    assert "\n" not in message
    return message


def test_the_list_names_every_network_with_version_and_metrics() -> None:
    output = run("list").stdout
    for entry in Registry.load().entries.values():
        assert f"{entry.title} ({entry.name})" in output
        assert entry.version in output
        assert f"{entry.side} x {entry.side}" in output
        for metric in entry.metrics:
            assert metric in output


def test_the_list_as_json_is_the_manifest() -> None:
    result = run("list", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json.loads((SHIPPED / MANIFEST).read_text("utf-8"))


@pytest.mark.parametrize("name", NETWORKS)
def test_all_that_the_manifest_says_of_one_network_is_shown(name: str) -> None:
    result = run("show", name)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json.loads(json.dumps(asdict(Registry.load().entries[name])))


def test_a_network_that_is_none_is_wrong_usage_with_those_that_are() -> None:
    result = run("show", "resnet")
    assert result.exit_code == 2
    assert all(name in result.output for name in NETWORKS)
    assert run("show").exit_code == 2


def test_verify_counts_the_files_and_names_the_model_and_its_recipe(weights: Path) -> None:
    point = Registry.load(weights).entries["covid_xnet"].operating_point
    assert point is not None
    for arguments in ((), ("--folder", weights)):
        result = run("verify", *arguments)
        assert result.exit_code == 0, result.exception
        assert result.stdout.startswith("12 files are those of the manifest; COVID-XNet ")
        assert repr(point.recipe) in result.stdout


@pytest.mark.parametrize("file", sorted(f"{name}{end}" for name in NETWORKS for end in (".keras", ".xml", ".bin")))
def test_verify_names_the_file_that_was_altered_or_is_missing(weights: Path, file: str) -> None:
    os.truncate(weights / file, 10)
    message = error_of(run("verify", "--folder", weights))
    assert message.startswith(f"{weights / file} is not the file of the manifest")
    assert message.endswith("Install the weights again.")
    (weights / file).unlink()
    assert f"{weights / file} cannot be read" in error_of(run("verify", "--folder", weights))


def test_verify_looks_at_networks_that_a_reading_does_not_need(weights: Path) -> None:
    manifest = json.loads((weights / MANIFEST).read_text("utf-8"))
    other = {**manifest[0], "name": "other", "files": {"other.xml": "0" * 64, "other.bin": "0" * 64}}
    (weights / MANIFEST).write_text(json.dumps([*manifest, other]))
    assert "other.xml cannot be read" in error_of(run("verify", "--folder", weights))


@pytest.mark.parametrize("command", [("list",), ("show", "covid_xnet"), ("verify",)])
@pytest.mark.parametrize("text", [None, "no JSON", '{"a": 1}', "[{}]"])
def test_a_folder_whose_manifest_is_none_is_an_error_in_one_line(
    tmp_path: Path, command: tuple[str, ...], text: str | None
) -> None:
    if text is not None:
        (tmp_path / MANIFEST).write_text(text)
    assert f"{tmp_path / MANIFEST} cannot be read" in error_of(run(*command, "--folder", tmp_path))


def test_a_classifier_of_another_recipe_is_told_by_verify(weights: Path) -> None:
    manifest = json.loads((weights / MANIFEST).read_text("utf-8"))
    for entry in manifest:
        if entry["operating_point"]:
            entry["operating_point"]["recipe_digest"] = "0" * 64
    (weights / MANIFEST).write_text(json.dumps(manifest))
    assert "was trained with another recipe" in error_of(run("verify", "--folder", weights))


@pytest.mark.parametrize(
    "form",
    ["openvino", pytest.param("saved-model", marks=pytest.mark.slow), pytest.param("litert", marks=pytest.mark.slow)],
)
def test_an_exported_network_lies_there_with_manifest_and_card(form: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("export", "rib_suppression", "--form", form, "--out", out)
    assert done.exit_code == 0, done.output
    assert "differs from Keras by" in done.output
    entry, shipped = Registry.load(out).entries["rib_suppression"], Registry.load().entries["rib_suppression"]
    assert (entry.version, entry.data, entry.metrics) == (shipped.version, shipped.data, shipped.metrics)
    written = {str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()}
    assert written == {*entry.files, MANIFEST, "card.md"}
    assert {file: sha256(out / file) for file in entry.files} == entry.files
    assert "Not for diagnosis" in (out / "card.md").read_text("utf-8")
    assert "is not empty" in error_of(run("export", "rib_suppression", "--form", form, "--out", out))


def test_an_export_of_an_unknown_network_or_form_is_wrong_usage(tmp_path: Path) -> None:
    assert run("export", "nothing", "--out", tmp_path / "out").exit_code == 2
    assert run("export", "lung_unet", "--form", "crayon", "--out", tmp_path / "out").exit_code == 2
    assert not (tmp_path / "out").exists()
