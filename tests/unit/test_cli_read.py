"""`covid-xnet read`, with the shipped networks."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless
from typer.testing import CliRunner, Result

from dicom_node.cli.read import register
from dicom_node.errors import NodeError
from dicom_node.wire import COMPREHENSIVE_3D_SR, SECONDARY_CAPTURE
from models.registry import SHIPPED
from tests.phantom import PATIENT_ID, PATIENT_NAME, as_bytes, chest_phantom, make_cr, make_dx

KEYS = [
    "file",
    "accepted",
    "reason",
    "score",
    "label",
    "model",
    "milliseconds",
    "probability",
    "commissioning",
    "model_digest",
    "sop_instance_uid",
]
LABELS = {"positive", "negative", "indeterminate"}

app = typer.Typer()
app.callback()(lambda: None)
register(app)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["read", *map(str, arguments)])


def lines_of(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def save_png(path: Path, seed: int = 0) -> None:
    Image.fromarray(np.round(chest_phantom(seed=seed) * 255).astype(np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a folder of radiographs may hold, named so that the order is known."""
    folder = tmp_path / "radiographs"
    (folder / "deep" / "deeper").mkdir(parents=True)
    (folder / "a.dcm").write_bytes(as_bytes(make_cr()))
    (folder / "b.dcm").write_bytes(as_bytes(make_dx(photometric="MONOCHROME1", view="AP")))
    (folder / "c-lateral.dcm").write_bytes(as_bytes(make_cr(lateral=True, view="LL")))
    (folder / "d-hand.dcm").write_bytes(as_bytes(make_cr(body_part="HAND")))
    save_png(folder / "deep" / "deeper" / "chest.png")
    (folder / "notes.txt").write_text("no radiograph")
    return folder


def test_every_file_of_a_folder_gets_a_line_in_order(folder: Path) -> None:
    result = run("--json", folder)
    assert result.exit_code == 0, result.output
    lines = lines_of(result)
    assert [Path(line["file"]).relative_to(folder).as_posix() for line in lines] == [
        "a.dcm", "b.dcm", "c-lateral.dcm", "d-hand.dcm", "deep/deeper/chest.png", "notes.txt",
    ]  # fmt: skip
    assert [line["accepted"] for line in lines] == [True, True, False, False, True, False]
    for line in lines:
        assert list(line) == KEYS
        assert line["milliseconds"] >= 0
        if line["accepted"]:
            assert line["reason"] is None
            assert 0 <= line["score"] <= 1
            assert line["label"] in LABELS
            assert line["model"].startswith("COVID-XNet ")
        else:
            assert line["reason"]
            assert line["score"] is line["label"] is line["model"] is None
    assert "lateral view" in lines[2]["reason"]
    assert "not a chest" in lines[3]["reason"]
    assert "neither DICOM nor PNG nor JPEG" in lines[5]["reason"]


def test_an_image_file_that_is_no_chest_is_refused_from_the_pixels(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (300, 300), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    save_png(tmp_path / "chest.png")
    chest, refused = lines_of(run("--json", tmp_path / "chest.png", tmp_path / "noise.png"))
    assert chest["accepted"]
    assert not refused["accepted"]
    assert refused["reason"].startswith("not a chest: From the pixels: frontal 0.")
    assert refused["score"] is refused["label"] is None


def test_nothing_that_is_printed_names_the_patient(folder: Path) -> None:
    for output in (run(folder).output, run("--json", folder).output):
        assert PATIENT_NAME.split("^")[-1] not in output
        assert PATIENT_ID not in output


def test_the_table_says_what_it_is_not_for(folder: Path) -> None:
    result = run(folder)
    assert result.exit_code == 0
    assert "Not for diagnosis" in result.stdout
    assert "lateral view" in result.stdout


def test_a_damaged_file_is_told_and_does_not_stop_the_others(folder: Path) -> None:
    whole = as_bytes(make_cr())
    (folder / "a0-cut.dcm").write_bytes(whole[: len(whole) // 2])
    (folder / "a1-text.dcm").write_text("promises an image")
    (folder / "a2-cut.png").write_bytes((folder / "deep" / "deeper" / "chest.png").read_bytes()[:2000])
    codestream = as_bytes(make_cr(syntax=JPEG2000Lossless))
    (folder / "a3-noise.dcm").write_bytes(codestream.replace(b"\xff\x52\x00\x0c", b"\xff\x52\x00\x00"))
    result = run("--json", folder)
    assert result.exit_code == 1
    assert isinstance(result.exception, NodeError)
    assert "4 of 10 files could not be read" in str(result.exception)
    lines = {Path(line["file"]).name: line for line in lines_of(result)}
    for name, reason in {
        "a0-cut.dcm": "truncated",
        "a1-text.dcm": "neither DICOM nor PNG nor JPEG",
        "a2-cut.png": "image file cannot be decoded",
        "a3-noise.dcm": "pixel data cannot be decoded",
    }.items():
        assert not lines[name]["accepted"]
        assert reason in lines[name]["reason"]
    assert lines["b.dcm"]["accepted"]
    assert lines["chest.png"]["accepted"]


def test_lossless_encodings_get_one_score(tmp_path: Path) -> None:
    paths = [tmp_path / f"{syntax.keyword}.dcm" for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless)]
    for path, syntax in zip(paths, (RLELossless, JPEGLSLossless, JPEG2000Lossless), strict=True):
        path.write_bytes(as_bytes(make_cr(syntax=syntax)))
    lines = lines_of(run("--json", *paths))
    assert [line["file"] for line in lines] == [str(path) for path in paths]
    assert len({line["score"] for line in lines}) == 1


def test_the_limits_are_those_of_the_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVIDXNET_MINIMUM_SIDE", "300")
    result = run("--json", folder / "a.dcm", folder / "deep")
    assert result.exit_code == 0
    assert all("too small" in line["reason"] for line in lines_of(result))
    monkeypatch.setenv("COVIDXNET_MAXIMUM_MEGAPIXELS", "0.05")
    result = run("--json", folder / "a.dcm", folder / "deep")
    assert result.exit_code == 1
    assert all("limit" in line["reason"] for line in lines_of(result))


def test_results_are_written_and_never_read_again(folder: Path) -> None:
    out = folder / "results"
    assert run("--out", out, folder).exit_code == 0
    names = sorted(path.name for path in out.iterdir())
    assert names == [
        f"{stem}-{kind}"
        for stem in ("0001-a", "0002-b", "0005-chest")
        for kind in ("overlay.dcm", "overlay.png", "report.dcm")
    ]
    source = dcmread(folder / "a.dcm")
    overlay, report = dcmread(out / "0001-a-overlay.dcm"), dcmread(out / "0001-a-report.dcm")
    assert overlay.SOPClassUID == SECONDARY_CAPTURE
    assert report.SOPClassUID == COMPREHENSIVE_3D_SR
    assert overlay.StudyInstanceUID == report.StudyInstanceUID == source.StudyInstanceUID
    with Image.open(out / "0001-a-overlay.png") as picture:
        assert np.array_equal(np.asarray(picture), overlay.pixel_array)

    lines = lines_of(run("--json", "--out", out, folder))
    assert len(lines) == 6
    again = dcmread(out / "0001-a-overlay.dcm")
    assert again.SOPInstanceUID == overlay.SOPInstanceUID
    # Elsewhere they are known for what they are.
    line = lines_of(run("--json", out / "0001-a-overlay.dcm"))[0]
    assert "own result" in line["reason"]


def test_a_path_that_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    result = run(tmp_path / "nowhere.dcm")
    assert result.exit_code == 2
    # The box around the error breaks a long path wherever its line ends.
    assert "nowhere.dcm" in re.sub(r"[\s│]", "", result.output)


def test_a_folder_without_files_is_wrong_usage(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.exit_code == 2
    assert "no files" in result.output


def test_the_installed_command_streams_lines_without_tensorflow(folder: Path) -> None:
    program = (
        "import atexit, sys\n"
        "atexit.register(lambda: sys.stderr.write('loaded: ' + ' '.join(m for m in sys.modules if m in "
        "('tensorflow', 'keras', 'torch'))))\n"
        "from dicom_node.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "read", "--json", str(folder / "a.dcm"), str(folder / "notes.txt")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["accepted"] for line in done.stdout.splitlines()] == [True, False]
    assert "Not for diagnosis" in done.stderr
    assert done.stderr.endswith("loaded: ")


def test_networks_of_ones_own_are_used_and_wrong_ones_end_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    shutil.copytree(SHIPPED, own)
    manifest = own / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": "1.1.0"', '"version": "7.7"'))
    save_png(tmp_path / "chest.png")
    monkeypatch.setenv("COVIDXNET_WEIGHTS_DIR", str(own))
    assert [line["model"] for line in lines_of(run("--json", tmp_path / "chest.png"))] == ["COVID-XNet 7.7"]

    (own / "covid_xnet.bin").write_bytes(b"another network")
    done = run(tmp_path / "chest.png")
    assert isinstance(done.exception, NodeError)
    assert "covid_xnet.bin is not the file of the manifest" in str(done.exception)


def test_many_files_are_read_on_all_cores_and_told_of_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        make_cr(seed=number).save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    (tmp_path / "2.dcm").write_bytes(b"\0" * 128 + b"DICM, and no more")
    alone = lines_of(run("--json", tmp_path))
    monkeypatch.setattr("dicom_node.cli.read._WORTH_A_PROCESS", 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    together = run("--json", "--out", tmp_path / "out", tmp_path)
    assert together.exit_code == 1
    for one, other in zip(alone, lines_of(together), strict=True):
        one.pop("milliseconds"), other.pop("milliseconds")
        assert one == other
    assert sorted(path.name for path in (tmp_path / "out").glob("*-report.dcm")) == [
        "0001-0-report.dcm", "0002-1-report.dcm", "0004-3-report.dcm",
    ]  # fmt: skip
