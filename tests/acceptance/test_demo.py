"""The demonstration, as a new user runs it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.demo import orthanc
from tests.phantom import chest_phantom


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Radiographs of the user: a plain image, and a file that is none."""
    folder = tmp_path / "radiographs"
    folder.mkdir()
    Image.fromarray(np.rint(chest_phantom() * 255).astype(np.uint8)).save(folder / "chest.png")
    (folder / "notes.txt").write_text("not a radiograph")
    return folder


def check_previews(out: Path, names: list[str]) -> None:
    previews = sorted(out.glob("*.png"))
    assert [preview.name for preview in previews] == names
    for preview in previews:
        with Image.open(preview) as image:
            assert image.mode == "RGB"
            assert min(image.size) >= 280


def test_the_demonstration_shows_what_came_back_to_orthanc(tmp_path: Path, folder: Path) -> None:
    out = tmp_path / "demo-output"
    command = [sys.executable, "-m", "dicom_node", "demo", "--out", str(out), str(folder)]
    for _ in range(2):  # a second one replaces what the first left
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "PACS: Orthanc" in done.stdout
        assert done.stdout.count("1 SC, 1 SR") == 3
        assert "not a chest" in done.stdout
        assert "notes.txt is not a DICOM file" in done.stdout
        assert "Not for diagnosis" in done.stdout
        check_previews(out, ["01-RG1_UNCR-overlay.png", "02-RG1_J2KR-overlay.png", "04-chest-overlay.png"])


def test_without_orthanc_the_pacs_is_our_own_and_the_output_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orthanc, "program", lambda: None)
    done = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "demo-output")])
    assert done.exit_code == 0, done.output
    assert "PACS: an embedded storage SCP" in done.output
    assert done.output.count("1 SC, 1 SR") == 2
    check_previews(tmp_path / "demo-output", ["01-RG1_UNCR-overlay.png", "02-RG1_J2KR-overlay.png"])


def test_a_folder_of_the_user_is_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("years of work")
    done = CliRunner().invoke(app, ["demo", "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert "not empty" in done.output
    assert (tmp_path / "thesis.doc").exists()
