"""`covid-xnet status | retry`, on a real ledger and queue."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from dicom_node.cli import app
from dicom_node.errors import ConfigurationError, OutOfResources
from dicom_node.journey.database import open_engine, prepare
from dicom_node.journey.ledger import CircuitRow, CircuitState, ReadingRow, ReturnRow, ReturnState, now
from dicom_node.journey.queue import JourneyQueue, Received, journey_of
from dicom_node.settings import Settings

CHEST = Received(
    sop_instance_uid="1.2.3.1",
    sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
    transfer_syntax_uid="1.2.840.10008.1.2.1",
    study_instance_uid="1.2.3",
    series_instance_uid="1.2.3.9",
    accession_number="SYN-ACCESSION",
    patient_id="SYN-PATIENT",
    study_date="20200812",
    digest="d1",
    size=100,
    calling_ae="CR1",
    peer_address="127.0.0.1",
    accepted=True,
    view="PA",
    evidence="ViewPosition=PA",
    flags=("a flag",),
)
OBJECT_KEYS = [
    "sop_instance_uid", "study_instance_uid", "calling_ae", "received_at", "times_received", "accepted", "reason",
    "detail", "view", "evidence", "flags", "urgency", "urgency_evidence", "journey", "reading", "returns",
]  # fmt: skip
READING_KEYS = [
    "read_at", "failure", "score", "verdict", "shadow", "model", "milliseconds", "stages", "repairs", "probability",
    "commissioning", "statistics",
]  # fmt: skip
RETURN_KEYS = [
    "destination", "kind", "sop_instance_uid", "state", "status", "transfer_syntax_uid", "proof", "reason",
    "failure_reason", "attempts", "changed_at",
]  # fmt: skip
COUNTS = [
    "received", "not read", "rejected", "waiting to be read", "read", "failed", "in shadow", "waiting to be returned",
    "stored", "returned", "set aside",
]  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an empty database, made once, for the migrations take longer than the tests."""
    folder = tmp_path_factory.mktemp("prepared") / "data"
    prepare(Settings(data_dir=folder))
    return folder


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, prepared: Path) -> Settings:
    for name in list(os.environ):
        if name.startswith("COVIDXNET_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(prepared, tmp_path / "data")
    monkeypatch.setenv("COVIDXNET_DATA_DIR", str(folder))
    return Settings(data_dir=folder)


def fill(settings: Settings) -> None:
    """One of each: waiting, read and returned in part, failed, lateral, and one that was refused."""
    queue = JourneyQueue(settings)
    for number in (1, 2, 3):
        queue.record(replace(CHEST, sop_instance_uid=f"1.2.3.{number}", digest=f"d{number}"))
    queue.record(replace(CHEST, sop_instance_uid="1.2.3.1", digest="d1"))  # sent twice
    queue.record(
        replace(
            CHEST, sop_instance_uid="1.2.3.4", digest="d4", accepted=False, reason="lateral view", view="", evidence=""
        )
    )
    queue.record_rejected(
        sop_instance_uid="1.2.3.5", sop_class_uid="1.2", calling_ae="CR2", peer_address="127.0.0.1", status=0xA900,
        reason="It has no pixels.",
    )  # fmt: skip
    with Session(queue.engine) as session, session.begin():
        session.add(
            ReadingRow(
                journey=journey_of("1.2.3.2"), read_at=now(), score=0.75, verdict="positive", threshold=0.5,
                lungs_found=True, model_name="COVID-XNet", model_version="9", milliseconds=33.0, stages={"resize": 1.0},
            )
        )  # fmt: skip
        session.add(ReadingRow(journey=journey_of("1.2.3.3"), read_at=now(), failure="The pixel data is damaged."))
        session.flush()
        for destination, kind, state in (
            ("PACS@h:104", "overlay", ReturnState.DELIVERED),
            ("PACS@h:104", "report", ReturnState.SET_ASIDE),
            ("OTHER@h:104", "overlay", ReturnState.SET_ASIDE),
            ("OTHER@h:104", "report", ReturnState.WAITING),
        ):
            session.add(
                ReturnRow(
                    journey=journey_of("1.2.3.2"), destination=destination, kind=kind, sop_class_uid="1.2",
                    sop_instance_uid=f"1.2.4.{kind}", state=state, attempts=10, refusals=10, changed_at=now(),
                    reason="status 0xA700" if state == ReturnState.SET_ASIDE else "",
                )
            )  # fmt: skip
    queue.close()


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    if result.exit_code == 0:
        assert result.exception is None
    return result


def status(*arguments: str) -> dict[str, Any]:
    result = run("status", "--json", *arguments)
    assert result.exit_code == 0, result.exception
    said: dict[str, Any] = json.loads(result.stdout)
    return said


def queued(settings: Settings) -> set[str]:
    engine = open_engine(settings)
    with engine.connect() as connection:
        ids = {row[0] for row in connection.execute(sa.text("SELECT workflow_uuid FROM workflow_status"))}
    engine.dispose()
    return ids


def test_an_empty_node_says_so(settings: Settings) -> None:
    said = status()
    assert list(said) == ["counts", "destinations", "senders", "objects", "rejected"]
    assert said["counts"] == dict.fromkeys(COUNTS, 0)
    assert said["destinations"] == said["objects"] == said["rejected"] == []
    assert "received 0" in run("status").stdout


def test_status_makes_the_database_where_there_is_none(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COVIDXNET_DATA_DIR", str(tmp_path / "new"))
    assert status()["counts"]["received"] == 0


def test_status_counts_where_the_objects_stand(settings: Settings) -> None:
    fill(settings)
    assert status()["counts"] == {
        "received": 4, "not read": 1, "rejected": 1, "waiting to be read": 1, "read": 1, "failed": 1, "in shadow": 0,
        "waiting to be returned": 1, "stored": 0, "returned": 1, "set aside": 2,
    }  # fmt: skip


def test_status_tells_each_object_newest_first(settings: Settings) -> None:
    fill(settings)
    lateral, failed, read, waiting = objects = status()["objects"]
    assert all(list(o) == OBJECT_KEYS for o in objects)
    assert [o["sop_instance_uid"] for o in objects] == ["1.2.3.4", "1.2.3.3", "1.2.3.2", "1.2.3.1"]
    assert (lateral["accepted"], lateral["reason"], lateral["journey"]) == (False, "lateral view", None)
    assert (waiting["accepted"], waiting["times_received"], waiting["reading"]) == (True, 2, None)
    assert (waiting["view"], waiting["evidence"], waiting["flags"]) == ("PA", "ViewPosition=PA", ["a flag"])
    assert failed["reading"]["failure"] == "The pixel data is damaged."
    assert failed["reading"]["score"] is None
    assert list(read["reading"]) == READING_KEYS
    assert (read["reading"]["score"], read["reading"]["verdict"]) == (0.75, "positive")
    assert read["reading"]["model"] == "COVID-XNet 9"
    assert all(list(r) == RETURN_KEYS for r in read["returns"])
    assert [r["state"] for r in read["returns"]] == ["delivered", "set aside", "set aside", "waiting"]
    (rejected,) = status()["rejected"]
    assert (rejected["status"], rejected["reason"], rejected["calling_ae"]) == (0xA900, "It has no pixels.", "CR2")


def test_the_limit_limits_the_lists_and_not_the_counts(settings: Settings) -> None:
    fill(settings)
    assert [o["sop_instance_uid"] for o in status("--limit", "2")["objects"]] == ["1.2.3.4", "1.2.3.3"]
    assert status("--limit", "2")["counts"]["received"] == 4
    assert len(status("--limit", "0")["objects"]) == 4
    assert run("status", "--limit", "-1").exit_code == 2


def test_status_names_no_patient(settings: Settings) -> None:
    fill(settings)
    for output in (run("status").output, run("status", "--json").output):
        assert "SYN-PATIENT" not in output
        assert "SYN-ACCESSION" not in output


def test_the_table_shows_gate_reading_and_returns(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    fill(settings)
    output = run("status").stdout
    for words in (
        "received 4", "set aside 2", "lateral view", "waiting", "0.750 positive", "The pixel data is damaged.",
        "PA (ViewPosition=PA)", "report set aside: status 0xA700", "0xA900 It has no pixels.",
    ):  # fmt: skip
        assert words in output


def test_what_a_peer_sends_is_shown_as_it_is(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """An AE title or a comment may look like markup of the terminal library."""
    monkeypatch.setenv("COLUMNS", "240")
    queue = JourneyQueue(settings)
    queue.record(replace(CHEST, calling_ae="[/red]", view="[bold]", evidence="[/]"))
    queue.record(replace(CHEST, sop_instance_uid="1.9", digest="d9", calling_ae="[b]", accepted=False, reason="[/x]"))
    queue.record_rejected(
        sop_instance_uid="[/]", sop_class_uid="1.2", calling_ae="[/blue]", peer_address="127.0.0.1", status=0xA900,
        reason="[/] is no UID.",
    )  # fmt: skip
    with Session(queue.engine) as session, session.begin():
        session.add(ReadingRow(journey=journey_of("1.2.3.1"), read_at=now(), failure="[/yellow] failed"))
    queue.close()
    result = run("status")
    assert result.exit_code == 0, result.exception
    for words in ("[/red]", "[bold] ([/])", "[b]", "[/x]", "from [/blue]", "[/] is no UID.", "[/yellow] failed"):
        assert words in result.stdout


def test_what_was_set_aside_is_queued_again_for_one_destination_or_for_all(settings: Settings) -> None:
    fill(settings)
    before, journey = queued(settings), journey_of("1.2.3.2")

    def returned() -> set[str]:
        new = queued(settings) - before
        assert all(name.startswith(f"{journey}/again/") for name in new)
        return {name.split("/", 3)[3] for name in new}

    assert run("retry", "--destination", "NOBODY@h:104").output == "0 results will be returned again.\n"
    assert queued(settings) == before
    assert run("retry", "--destination", "PACS@h:104").output == "1 results will be returned again.\n"
    assert returned() == {"PACS@h:104/1"}
    assert run("retry").output == "1 results will be returned again.\n"
    assert returned() == {"PACS@h:104/1", "OTHER@h:104/1"}
    assert run("retry").output == "0 results will be returned again.\n"
    assert status()["counts"]["set aside"] == 0
    assert status()["counts"]["waiting to be returned"] == 3


def test_a_destination_is_found_however_it_is_written(settings: Settings) -> None:
    fill(settings)
    assert run("retry", "--destination", " PACS@h:0104 ").output == "1 results will be returned again.\n"


def test_failed_readings_are_read_again_only_when_asked_for(settings: Settings) -> None:
    fill(settings)
    before = queued(settings)
    run("retry")
    assert status()["counts"]["failed"] == 1
    output = run("retry", "--failed").output
    assert output == "0 results will be returned again, 1 radiographs read again.\n"
    (again,) = (name for name in queued(settings) - before if "/after/" in name)
    assert again.startswith(journey_of("1.2.3.3"))
    assert status()["counts"]["failed"] == 0
    assert status()["counts"]["waiting to be read"] == 2


@pytest.mark.parametrize("destination", ["PACS", "PACS@h", "PACS@h:99999"])
def test_a_destination_that_is_no_peer_is_wrong_usage(settings: Settings, destination: str) -> None:
    result = run("retry", "--destination", destination)
    assert result.exit_code == 2
    assert "--destination" in result.output


@pytest.mark.parametrize("command", ["status", "retry"])
def test_a_data_folder_that_cannot_be_made_is_a_wrong_setting(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COVIDXNET_DATA_DIR", str(tmp_path / "file" / "data"))
    result = run(command)
    assert isinstance(result.exception, ConfigurationError)
    assert str(tmp_path / "file" / "data") in str(result.exception)


@pytest.mark.parametrize("command", ["status", "retry"])
def test_a_database_that_is_none_is_told_with_what_to_check(settings: Settings, command: str) -> None:
    (settings.data_dir / "covid-xnet.sqlite").write_bytes(b"no database" * 1000)
    for stale in settings.data_dir.glob("covid-xnet.sqlite-*"):
        stale.unlink()
    result = run(command)
    assert isinstance(result.exception, OutOfResources)
    assert "database" in str(result.exception)
    assert "data_dir" in str(result.exception)


def test_the_objects_of_one_study_are_shown_together_and_no_other(settings: Settings) -> None:
    fill(settings)
    queue = JourneyQueue(settings)
    queue.record(replace(CHEST, sop_instance_uid="1.2.9.1", digest="d9", study_instance_uid="1.2.9"))
    queue.close()
    shown = status("--study", "1.2.3", "--limit", "1")
    assert list(shown) == ["study_instance_uid", "objects"]
    assert [o["sop_instance_uid"] for o in shown["objects"]] == ["1.2.3.4", "1.2.3.3", "1.2.3.2", "1.2.3.1"]
    table = run("status", "--study", "1.2.9").stdout
    assert "1.2.9.1" in table
    assert "1.2.3.1" not in table


def test_a_study_of_which_nothing_came_is_an_error(settings: Settings) -> None:
    result = run("status", "--study", "1.2.8")
    assert result.exit_code == 1
    assert "No object of study 1.2.8 was received." in str(result.exception)


def test_status_tells_of_each_destination_whether_it_is_there(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.setenv("COVIDXNET_DESTINATIONS", "PACS@h:104,NEW@h:104")
    fill(settings)
    at = now()
    engine = open_engine(settings)
    with Session(engine) as session, session.begin():
        session.add(
            CircuitRow(
                destination="PACS@h:104", state=CircuitState.OPEN, since=at, failures=4, openings=1,
                last_contact_at=at, last_error="PACS@h:104 does not answer.", last_error_at=at,
            )
        )  # fmt: skip
    engine.dispose()
    pacs, new, other = status()["destinations"]
    assert pacs == {
        "destination": "PACS@h:104", "circuit": "open", "since": at.isoformat(), "failures": 4,
        "last_contact_at": at.isoformat(), "last_error": "PACS@h:104 does not answer.",
        "last_error_at": at.isoformat(),
        "results": {"waiting": 0, "stored": 0, "delivered": 1, "set aside": 1},
    }  # fmt: skip
    assert (new["destination"], new["circuit"], new["last_contact_at"]) == ("NEW@h:104", "closed", None)
    assert other["results"] == {"waiting": 1, "stored": 0, "delivered": 0, "set aside": 1}
    output = run("status").stdout
    assert "set aside 1, last answer" in output
    assert "open since" in output
    assert "PACS@h:104 does not answer." in output


def test_one_study_object_or_journey_is_brought_back_alone(settings: Settings) -> None:
    fill(settings)
    nothing = "0 results will be returned again.\n"
    assert run("retry", "--study", "1.2.99").output == nothing
    assert run("retry", "--object", "1.2.3.1").output == nothing
    assert run("retry", "--journey", journey_of("1.2.3.1")).output == nothing
    assert run("retry", "--object", "1.2.3.2", "--destination", "PACS@h:104").output.startswith("1 results")
    assert run("retry", "--study", "1.2.3", "--journey", journey_of("1.2.3.2")).output.startswith("1 results")
    assert run("retry", "--failed", "--object", "1.2.3.2").output.endswith("0 radiographs read again.\n")
    assert run("retry", "--failed", "--object", "1.2.3.3").output.endswith("1 radiographs read again.\n")
