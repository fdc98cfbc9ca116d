"""The manifest of the weights: what does not fit is refused with a sentence that says what."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.registry import EVALUATION, MANIFEST, SHIPPED, Entry, OperatingPoint, Registry, WeightsMismatch, sha256
from pipeline.flow import load_networks
from pipeline.preprocess import DEFAULT, PAPER

NEEDED = ("lung_unet", "rib_suppression", "covid_xnet")
NETWORKS = (*NEEDED, "view_judge")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A copy of the shipped weights that a test may damage."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "weights"))


def change(folder: Path, edit: Callable[[list[dict[str, Any]]], object]) -> None:
    """Edit the parsed manifest in place."""
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    edit(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")


def entry_of(manifest: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in manifest if entry["name"] == name)


def point_of(manifest: list[dict[str, Any]]) -> dict[str, Any]:
    point: dict[str, Any] = entry_of(manifest, "covid_xnet")["operating_point"]
    return point


def flip_a_bit(file: Path, place: int = -1) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


def refusal(folder: Path) -> str:
    """What load_networks says of a folder; one line, without more than the message."""
    with pytest.raises(WeightsMismatch) as caught:
        load_networks(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_shipped_weights_are_those_of_their_manifest() -> None:
    registry = Registry.load()
    assert set(registry.entries) == set(NETWORKS)
    for name, entry in registry.entries.items():
        assert set(entry.files) == {f"{name}.keras", f"{name}.xml", f"{name}.bin"}
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in entry.files.values())
        registry.verify(name)
    # Nothing lies beside that the manifest does not name.
    assert {file for entry in registry.entries.values() for file in entry.files} | {MANIFEST, EVALUATION} == {
        path.name for path in SHIPPED.iterdir()
    }


def test_the_shipped_operating_point_is_one() -> None:
    point = load_networks().operating_point
    low, high = point.band
    assert 0 <= low <= point.threshold <= high <= 1
    assert point.activation_scale > 0
    assert point.classes == ("other", "covid-19")
    assert point.recipe_digest == {r.name: r for r in (PAPER, DEFAULT)}[point.recipe].digest()


def test_the_identity_of_the_model_changes_with_any_file_of_any_network(weights: Path) -> None:
    before = load_networks(weights).model
    assert before == load_networks(weights).model
    entry = Registry.load(weights).entries["covid_xnet"]
    assert (before.name, before.version, before.trained) == (entry.title, entry.version, entry.trained)
    assert str(before) == f"{entry.title} {entry.version}"
    # An XML comment changes the file, and with its new digest in the manifest the network still loads.
    file = weights / "lung_unet.xml"
    file.write_text(file.read_text("utf-8") + "<!-- another -->\n", "utf-8")
    change(weights, lambda m: entry_of(m, "lung_unet")["files"].update({"lung_unet.xml": sha256(file)}))
    assert load_networks(weights).model.digest != before.digest


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("suffix", [".xml", ".bin", ".keras"])
def test_one_altered_bit_is_refused_with_the_name_of_the_file(weights: Path, name: str, suffix: str) -> None:
    file = weights / f"{name}{suffix}"
    flip_a_bit(file)
    message = refusal(weights)
    assert f"{file} is not the file of the manifest" in message
    assert sha256(file) in message


@pytest.mark.parametrize("suffix", [".xml", ".bin", ".keras"])
def test_a_missing_file_is_refused_with_its_name(weights: Path, suffix: str) -> None:
    (weights / f"rib_suppression{suffix}").unlink()
    assert refusal(weights) == f"{weights / f'rib_suppression{suffix}'} cannot be read: No such file or directory"


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_a_file_that_the_manifest_has_no_digest_of_is_never_loaded(weights: Path, suffix: str) -> None:
    change(weights, lambda m: entry_of(m, "lung_unet")["files"].pop(f"lung_unet{suffix}"))
    flip_a_bit(weights / f"lung_unet{suffix}")
    assert refusal(weights) == f"{weights / MANIFEST} has no digest of lung_unet{suffix}"


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    assert f"{tmp_path / MANIFEST} cannot be read: " in refusal(tmp_path)
    assert "cannot be read" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "text",
    ["", "no JSON", "[{]", "5", "null", '"text"', '["text"]', "{}x", '{"name": "covid_xnet"}', "[5]", "[{}]", "[[]]"],
)
def test_a_manifest_that_is_none_is_refused(weights: Path, text: str) -> None:
    (weights / MANIFEST).write_text(text)
    assert f"{weights / MANIFEST} cannot be read: " in refusal(weights)


def test_a_manifest_of_other_bytes_is_refused(weights: Path) -> None:
    (weights / MANIFEST).write_bytes(b"\xff\xfe[]")
    assert f"{weights / MANIFEST} cannot be read: " in refusal(weights)


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m[0].pop("files"),
        lambda m: m[0].update(surprise=1),
        lambda m: m[0].update(files=["lung_unet.xml"]),
        lambda m: m[0].update(files=None),
        lambda m: point_of(m).pop("threshold"),
        lambda m: point_of(m).update(band=[0.1]),
        lambda m: point_of(m).update(band=0.1),
        lambda m: point_of(m).update(surprise=1),
        lambda m: entry_of(m, "covid_xnet").update(operating_point="0.5"),
    ],
    ids=["no files", "unknown key", "list of files", "files null", "no threshold", "half a band", "a number for a band",
         "unknown key of the point", "a text for the point"],
)  # fmt: skip
def test_an_entry_that_is_none_is_refused(weights: Path, edit: Callable[[list[dict[str, Any]]], object]) -> None:
    change(weights, edit)
    assert f"{weights / MANIFEST} cannot be read: " in refusal(weights)


def test_a_folder_without_a_view_judge_gets_the_shipped_one(weights: Path) -> None:
    own, model = load_networks(weights).view, load_networks(weights).model
    change(weights, lambda m: m.remove(entry_of(m, "view_judge")))
    networks = load_networks(weights)
    image = np.random.default_rng(0).random((1, 64, 64, 1), dtype=np.float32)
    assert np.array_equal(networks.view(image)[0], own(image)[0])
    # It has no part in a score: the identity of what made one does not change.
    assert networks.model == model


@pytest.mark.parametrize("name", NEEDED)
def test_a_manifest_without_one_of_the_networks_is_refused(weights: Path, name: str) -> None:
    change(weights, lambda m: m.remove(entry_of(m, name)))
    assert refusal(weights) == f"{weights / MANIFEST} has no network {name}"


def test_a_classifier_without_an_operating_point_is_refused(weights: Path) -> None:
    change(weights, lambda m: entry_of(m, "covid_xnet").update(operating_point=None))
    assert "no operating point" in refusal(weights)


@pytest.mark.parametrize("other", [{"recipe_digest": "0" * 64}, {"recipe_digest": ""}, {"recipe": "unknown"}])
def test_a_classifier_of_an_unknown_recipe_is_refused(weights: Path, other: dict[str, str]) -> None:
    change(weights, lambda m: point_of(m).update(other))
    assert "was trained with another recipe" in refusal(weights)


def test_a_classifier_with_the_name_of_a_recipe_and_the_digest_of_another_is_refused(weights: Path) -> None:
    recipe = load_networks(weights).recipe
    (other,) = {r.name for r in (PAPER, DEFAULT)} - {recipe.name}
    change(weights, lambda m: point_of(m).update(recipe=other))
    assert f"was trained with another recipe {other!r}" in refusal(weights)


def test_what_is_written_to_a_manifest_is_read_from_it(tmp_path: Path) -> None:
    point = OperatingPoint(
        classes=("other", "covid-19"), threshold=0.4, band=(0.3, 0.5), activation_scale=2.5, recipe="paper",
        recipe_digest="ab" * 32, sensitivity=0.85, temperature=1.5, tells_apart=False,
        reference={"other": (0.1, 0.2), "covid-19": (0.3, 0.9)},
    )  # fmt: skip
    entry = Entry(
        name="a", title="A – ä", version="1", trained="2026-01-01", side=8, files={}, data="d", metrics={"m": 0.5},
        operating_point=point,
    )  # fmt: skip
    other = Entry(name="b", title="B", version="1", trained="2026-01-01", side=8, files={}, data="d", metrics={})
    Registry(folder=tmp_path).with_entry(entry).with_entry(other)
    registry = Registry.load(tmp_path)
    assert registry.entries == {"a": entry, "b": other}
    again = Entry(**{**{f: getattr(other, f) for f in asdict(other)}, "version": "2"})
    registry.with_entry(again)
    assert Registry.load(tmp_path).entries == {"a": entry, "b": again}


def test_a_manifest_from_before_scores_were_calibrated_is_still_read(weights: Path) -> None:
    later = ("sensitivity", "temperature", "reference", "tells_apart")
    change(weights, lambda m: [point_of(m).pop(name, None) for name in later])
    point = load_networks(weights).operating_point
    assert [getattr(point, name) for name in later] == [None, None, {}, None]


def test_the_digest_is_that_of_sha256(tmp_path: Path) -> None:
    file = tmp_path / "abc"
    file.write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dicom_node", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_command_line_says_in_one_line_which_file_is_not_the_one_of_the_manifest(weights: Path) -> None:
    flip_a_bit(weights / "covid_xnet.bin")
    done = command("models", "verify", "--folder", weights)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"covid-xnet: {weights / 'covid_xnet.bin'} is not the file of the manifest")
