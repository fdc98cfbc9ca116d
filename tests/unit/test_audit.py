"""The audit trail: nothing in it can be changed, put in or removed without a trace."""

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from dicom_node import audit
from dicom_node.audit import AuditTrail, Head, Kind, Outcome, append, entries, first_fault
from dicom_node.cli import app
from dicom_node.journey.audit_head import known_head, open_trail
from dicom_node.journey.database import open_engine, prepare
from dicom_node.settings import Settings


def written(folder: Path, number: int = 5) -> Head:
    head = Head()
    for n in range(number):
        head = append(folder, [{"event": f"event {n}"}])
    return head


def rewrite(folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    file = folder / "audit.jsonl"
    file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))


def test_a_trail_that_nobody_touched_is_whole(tmp_path: Path) -> None:
    head = written(tmp_path)
    assert head.number == 5
    assert first_fault(tmp_path, head) == ""
    assert [entry["event"] for entry in entries(tmp_path)] == [f"event {n}" for n in range(5)]
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: [lines[0], lines[1].replace(b"event 1", b"9"), *lines[2:]], "line 2, number 2, was changed"),
        (lambda lines: [*lines[:2], *lines[3:]], "line 3 does not follow number 2"),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], "line 3 does not follow"),
        (lambda lines: lines[1:], "line 1 does not follow number 0"),
        (lambda lines: [*lines[:3], b"no JSON\n", *lines[3:]], "line 4 is no line of the trail"),
        (lambda lines: [*lines[:3], b"[]\n", *lines[3:]], "line 4 is no line of the trail"),
        (lambda lines: lines[:3], "The end is missing: the ledger knows number 5, the files end with 3"),
        (lambda lines: [], "The end is missing"),
    ],
    ids=["changed", "removed", "doubled", "beginning cut", "put in", "put in as JSON", "end cut", "emptied"],
)  # fmt: skip
def test_every_change_is_found_and_the_first_broken_line_is_named(
    tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], words: str
) -> None:
    head = written(tmp_path)
    rewrite(tmp_path, change)
    assert words in first_fault(tmp_path, head)


def test_a_trail_that_was_written_anew_as_a_whole_is_not_the_one_that_the_ledger_knows(tmp_path: Path) -> None:
    head = written(tmp_path)
    (tmp_path / "audit.jsonl").unlink()
    for n in range(6):
        append(tmp_path, [{"event": f"invented {n}"}])
    assert "number 5, is not the one that the ledger knows" in first_fault(tmp_path, head)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_no_byte_can_be_changed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("trail")
    head = written(folder, 3)
    file = folder / "audit.jsonl"
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[at]))
    content[at] = other
    file.write_bytes(content)
    assert first_fault(folder, head) != ""


def test_a_line_that_a_crash_cut_off_is_removed_by_the_next(tmp_path: Path) -> None:
    head = written(tmp_path, 2)
    with (tmp_path / "audit.jsonl").open("ab") as file:
        file.write(b'{"number":3,"event":"half')
    assert first_fault(tmp_path, head) == ""
    head = append(tmp_path, [{"event": "after"}])
    assert head.number == 3
    assert first_fault(tmp_path, head) == ""


def test_after_damage_the_trail_goes_on_and_the_damage_stays_visible(tmp_path: Path) -> None:
    head = written(tmp_path)
    rewrite(tmp_path, lambda lines: [*lines[:4], b"damage\n"])
    append(tmp_path, [{"event": "after"}])
    assert "line 5 is no line" in first_fault(tmp_path, head)
    assert [entry["event"] for entry in entries(tmp_path)][-1] == "after"


def test_the_chain_goes_on_over_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "LARGEST_FILE", 1000)
    head = written(tmp_path, 30)
    assert len(list(tmp_path.glob("audit-*.jsonl"))) > 2
    assert first_fault(tmp_path, head) == ""
    assert len(list(entries(tmp_path))) == 30
    sorted(tmp_path.glob("audit-*.jsonl"))[1].unlink()
    assert "does not follow" in first_fault(tmp_path, head)


def _write(folder: Path, name: str) -> None:
    for n in range(20):
        append(folder, [{"event": f"{name} {n}"}])


def test_many_processes_write_one_chain(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(tmp_path, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    head = append(tmp_path, [{"event": "last"}])
    assert head.number == 61
    assert first_fault(tmp_path, head) == ""


def test_equal_alerts_of_a_flood_are_one_line_that_counts_them(tmp_path: Path) -> None:
    heads: list[Head] = []
    trail = AuditTrail(tmp_path, by="listener", anchor=heads.append)
    for _ in range(500):
        trail.record(Kind.SECURITY_ALERT, outcome=Outcome.MINOR_FAILURE, address="10.0.0.1")
    trail.close()
    lines = list(entries(tmp_path))
    assert sum(line.get("times", 1) for line in lines) == 500
    assert len(lines) < 20
    assert (lines[0]["code"], lines[0]["event"], lines[0]["outcome"]) == ("110113", "Security Alert", 4)
    assert heads[-1].number == len(lines)


def test_a_disk_or_database_that_fails_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    trail = AuditTrail(tmp_path / "file", by="listener", anchor=lambda head: None)
    trail.record(Kind.APPLICATION_ACTIVITY)
    trail.close()

    def fail(head: Head) -> None:
        raise OSError

    trail = AuditTrail(tmp_path / "trail", by="listener", anchor=fail)
    trail.record(Kind.APPLICATION_ACTIVITY)
    trail.close()
    assert len(list(entries(tmp_path / "trail"))) == 1


def test_codes_are_those_of_the_standard() -> None:
    from pydicom.sr import codes

    for kind in Kind:
        code, meaning = kind.value
        assert getattr(codes.DCM, meaning.replace(" ", "")).value == code


def test_the_commands_verify_and_show_the_trail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("COVIDXNET_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COVIDXNET_DATA_DIR", str(tmp_path / "data"))
    configuration = Settings(data_dir=tmp_path / "data")
    prepare(configuration)
    engine = open_engine(configuration)
    run = CliRunner()
    assert run.invoke(app, ["audit", "verify"]).exit_code == 0
    trail = open_trail(configuration, engine, by="listener")
    trail.record(Kind.INSTANCES_TRANSFERRED, calling_ae="CR1")
    trail.close()
    assert known_head(engine).number == 1
    assert 'DICOM Instances Transferred calling_ae="CR1"' in run.invoke(app, ["audit", "show"]).output
    lines = [json.loads(line) for line in run.invoke(app, ["audit", "show", "--json"]).output.splitlines()]
    assert [line["event"] for line in lines] == ["DICOM Instances Transferred", "Audit Log Used"]
    assert known_head(engine).number == 3
    assert run.invoke(app, ["audit", "verify"]).exit_code == 0
    rewrite(configuration.audit_dir, lambda lines: lines[:-1])
    broken = run.invoke(app, ["audit", "verify"])
    assert "The end is missing" in str(broken.exception)
    engine.dispose()
