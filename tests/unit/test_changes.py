"""Settings that change under a process: what is taken up, and what is left alone."""

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dicom_node.changes import TAKEN_UP, Changes
from dicom_node.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in list(os.environ):
        if name.startswith("COVIDXNET_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "covid-xnet.toml"
    path.write_text('calling_aes = ["CT1"]\n')
    return path


def looked(changes: Changes, times: int = 2) -> None:
    for _ in range(times):
        changes.look()


def test_what_changed_is_taken_up_when_the_file_is_the_same_for_two_looks(file: Path) -> None:
    taken: list[Settings] = []
    changes = Changes(load_settings(), taken.append)
    looked(changes)
    assert taken == []
    file.write_text("")  # as an editor does that empties a file before it writes
    looked(changes, 1)
    file.write_text('calling_aes = ["CT1", "CT2"]\nminimum_side = 64\n')
    looked(changes, 1)
    assert taken == []
    looked(changes)
    assert [(s.calling_aes, s.minimum_side) for s in taken] == [(("CT1", "CT2"), 64)]


def test_what_changed_between_the_start_and_the_first_look_is_taken_up(file: Path) -> None:
    settings, taken = load_settings(), list[Settings]()
    file.write_text('calling_aes = ["CT2"]\n')
    looked(Changes(settings, taken.append))
    assert [s.calling_aes for s in taken] == [("CT2",)]


def test_a_wrong_file_and_one_that_is_gone_change_nothing(file: Path) -> None:
    taken: list[Settings] = []
    changes = Changes(load_settings(), taken.append)
    looked(changes)
    with capture_logs() as told:
        file.write_text("calling_ae = []\n")
        looked(changes)
        file.unlink()
        looked(changes, 4)
    assert taken == []
    assert [line["event"] for line in told] == ["settings not taken up"] * 2
    assert "Did you mean calling_aes?" in told[0]["reason"]
    file.write_text('calling_aes = ["CT3"]\n')
    looked(changes)
    assert [s.calling_aes for s in taken] == [("CT3",)]


def test_what_needs_a_restart_stays_as_it_was(file: Path) -> None:
    taken: list[Settings] = []
    before = load_settings()
    changes = Changes(before, taken.append)
    file.write_text("port = 4242\nworkers = 7\nreport_failures = true\n")
    with capture_logs() as told:
        looked(changes)
    (after,) = taken
    assert ("settings need a restart", "port,workers") in [(line["event"], line.get("names")) for line in told]
    assert (after.port, after.workers) == (before.port, before.workers)
    assert (after.report_failures, after.calling_aes) == (True, ())


def test_a_file_beside_the_settings_brings_the_same_settings_again(tmp_path: Path) -> None:
    taken: list[Settings] = []
    signed = tmp_path / "commissioning.json"
    settings = load_settings()
    changes = Changes(settings, taken.append, others=[signed])
    looked(changes)
    signed.write_text("{}")
    looked(changes, 3)
    assert taken == [settings]


def test_only_settings_that_exist_can_be_taken_up() -> None:
    assert set(Settings.model_fields) >= TAKEN_UP
