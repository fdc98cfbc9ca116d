"""`covid-xnet echo | send`, against a real SCP."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import UID, JPEG2000Lossless
from typer.testing import CliRunner, Result

from dicom_node.cli import app
from dicom_node.errors import NodeError, PeerUnreachable
from dicom_node.peers import Peer
from dicom_node.wire import COMPUTED_RADIOGRAPHY
from tests.peers.scripted_pacs import ScriptedPacs, scripted_pacs
from tests.phantom import PATIENT_ID, PATIENT_NAME, as_bytes, chest_phantom, make_cr, make_dx


@pytest.fixture(autouse=True)
def _short_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("COVIDXNET_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COVIDXNET_NETWORK_TIMEOUT", "3")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pacs() -> Iterator[ScriptedPacs]:
    with scripted_pacs() as pacs:
        yield pacs


@pytest.fixture
def gone() -> Peer:
    """A peer that was there a moment ago."""
    with scripted_pacs() as pacs:
        return pacs.peer


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def process(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dicom_node", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def error_of(result: Result) -> str:
    assert result.exit_code == 1
    assert isinstance(result.exception, NodeError), result.output
    return str(result.exception)


def save(folder: Path, name: str, data: bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def test_a_peer_that_answers_is_told_with_the_time_it_took(pacs: ScriptedPacs) -> None:
    result = run("echo", pacs.peer)
    assert result.exit_code == 0, result.exception
    assert result.output.startswith(f"{pacs.peer} answers as COVIDXNET calls: ")
    assert result.output.endswith(" ms.\n")


def test_a_configured_destination_is_called_by_its_ae_title(
    monkeypatch: pytest.MonkeyPatch, pacs: ScriptedPacs
) -> None:
    monkeypatch.setenv("COVIDXNET_DESTINATIONS", f"OTHER@127.0.0.1:1,{pacs.peer}")
    assert run("echo", "SCRIPTED").exit_code == 0
    result = run("echo", "UNKNOWN")
    assert result.exit_code == 2
    assert "is not a peer" in result.output


def test_a_peer_that_is_gone_is_told_in_one_line_with_the_remedy(gone: Peer) -> None:
    done = process("echo", gone)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"covid-xnet: {gone} does not answer.")
    assert line.endswith(PeerUnreachable.hint)


def test_a_wrong_ae_title_is_told_apart_from_a_peer_that_is_gone(pacs: ScriptedPacs) -> None:
    message = error_of(run("echo", f"WRONG@{pacs.peer.host}:{pacs.peer.port}"))
    assert "Called AE title not recognised" in message


@pytest.mark.parametrize("text", ["PACS", "PACS@host", "PACS@host:0", "@host:104", "PACS@host:x"])
@pytest.mark.parametrize("command", ["echo", "send"])
def test_what_is_no_peer_is_wrong_usage(command: str, text: str, tmp_path: Path) -> None:
    result = run(command, text, *([tmp_path] if command == "send" else []))
    assert result.exit_code == 2
    assert "PEER" in result.output


def test_files_of_folders_are_sent_as_they_are_in_order(pacs: ScriptedPacs, tmp_path: Path) -> None:
    sources = [make_cr(), make_dx(), make_dx(for_processing=True), make_cr(lateral=True, view="LL")]
    for number, source in enumerate(sources):
        save(tmp_path, f"in/{number}/object", as_bytes(source))
    result = run("send", pacs.peer, tmp_path / "in")
    assert result.exit_code == 0, result.exception
    assert result.output == f"{pacs.peer} took 4 files.\n"
    assert pacs.uids() == [source.SOPInstanceUID for source in sources]
    for stored, source in zip(pacs.stored, sources, strict=True):
        assert stored.PixelData == source.PixelData
        assert stored.PatientName == source.PatientName


def test_plain_images_are_wrapped_as_computed_radiography(pacs: ScriptedPacs, tmp_path: Path) -> None:
    grey = np.rint(chest_phantom() * 255).astype(np.uint8)
    for name in ("a.png", "b.JPG"):
        Image.fromarray(grey).save(tmp_path / name)
    result = run("send", pacs.peer, tmp_path / "a.png", tmp_path / "b.JPG")
    assert result.exit_code == 0, result.exception
    assert [stored.SOPClassUID for stored in pacs.stored] == [COMPUTED_RADIOGRAPHY] * 2
    assert np.array_equal(pacs.stored[0].pixel_array, grey)
    assert len(set(pacs.uids())) == 2


def test_what_is_refused_is_told_for_each_file_and_the_others_arrive(pacs: ScriptedPacs, tmp_path: Path) -> None:
    good, bad = make_cr(), make_cr()
    save(tmp_path, "1.dcm", as_bytes(bad))
    save(tmp_path, "2.dcm", as_bytes(good))
    save(tmp_path, "3.txt", b"no DICOM")
    save(tmp_path, "4.png", b"no image")
    save(tmp_path, "5.dcm", as_bytes(make_cr(syntax=JPEG2000Lossless)))  # this SCP takes no compressed objects
    mammogram = make_cr(extra={"SOPClassUID": UID("1.2.840.10008.5.1.4.1.1.1.2")})
    save(tmp_path, "6.dcm", as_bytes(mammogram))
    pacs.answer = lambda ds: 0xA700 if ds.SOPInstanceUID == bad.SOPInstanceUID else 0x0000
    done = process("send", pacs.peer, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    *problems, last = done.stderr.splitlines()
    assert last.startswith(f"covid-xnet: {pacs.peer} did not take 5 of 6 files.")
    told = {Path(line.split(" ")[0]).name: line for line in problems}
    assert sorted(told) == ["1.dcm", "3.txt", "4.png", "5.dcm", "6.dcm"]
    assert "was refused: status 0xA700" in told["1.dcm"]
    assert "is not a DICOM file" in told["3.txt"]
    assert "was not sent: " in told["4.png"]
    for name in ("5.dcm", "6.dcm"):
        assert "accepts no presentation context" in told[name]
    assert pacs.uids() == [good.SOPInstanceUID]
    assert PATIENT_ID not in done.stderr
    assert PATIENT_NAME not in done.stderr


def test_a_warning_of_the_peer_is_a_delivery(pacs: ScriptedPacs, tmp_path: Path) -> None:
    pacs.answer = lambda _: 0xB000
    result = run("send", pacs.peer, save(tmp_path, "1.dcm", as_bytes(make_cr())))
    assert (result.exit_code, result.output) == (0, f"{pacs.peer} took 1 files.\n")


def test_a_peer_that_aborts_in_the_middle_is_told(pacs: ScriptedPacs, tmp_path: Path) -> None:
    pacs.abort = True
    message = error_of(run("send", pacs.peer, save(tmp_path, "1.dcm", as_bytes(make_cr()))))
    assert "went away before it answered" in message


def test_nobody_is_called_for_files_that_do_not_exist(gone: Peer, tmp_path: Path) -> None:
    assert run("send", gone, tmp_path / "nowhere.dcm").exit_code == 2
    assert "did not take 1 of 1 files" in error_of(run("send", gone, save(tmp_path, "1.txt", b"text")))
    assert "does not answer" in error_of(run("send", gone, save(tmp_path, "1.dcm", as_bytes(make_cr()))))


def test_the_node_calls_by_its_own_ae_title(monkeypatch: pytest.MonkeyPatch, pacs: ScriptedPacs) -> None:
    monkeypatch.setenv("COVIDXNET_AE_TITLE", "RADIOLOGY AI")
    assert "answers as RADIOLOGY AI calls" in run("echo", pacs.peer).output
