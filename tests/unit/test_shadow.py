"""Senders that are switched off: what they send is read and recorded, and nothing is sent for it."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from dicom_node import audit
from dicom_node.cli import app
from dicom_node.journey.bounds import Bounds
from dicom_node.journey.ledger import ReturnRow, now
from dicom_node.journey.outcome import Outcome
from dicom_node.journey.reader import Reader
from dicom_node.journey.retention import Retention
from dicom_node.journey.senders import SenderRow, senders, switch
from dicom_node.journey.tallies import counts
from dicom_node.journey.verify import Kind, differences
from pipeline.flow import load_networks
from tests.phantom import make_cr
from tests.unit.test_not_read_by_pixels import Worker, worker

__all__ = ["worker"]

SENDER = "CR1"


@pytest.fixture
def new_site(worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """A worker that reads in shadow until its senders are switched on."""
    settings = worker.settings.model_copy(update={"shadow_until_commissioned": True})
    bounds = Bounds(tmp_path / "second.reading", megabytes=100_000, seconds=3600)
    reader = Reader(settings, worker.queue.engine, load_networks(), bounds)
    reader.heed_last_words()
    monkeypatch.setenv("COVIDXNET_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("COVIDXNET_SHADOW_UNTIL_COMMISSIONED", "true")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return Worker(settings=settings, queue=worker.queue, reader=reader)


def returns(worker: Worker) -> int:
    with Session(worker.queue.engine) as session:
        return len(session.scalars(sa.select(ReturnRow)).all())


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_what_a_sender_that_is_off_sends_is_read_and_recorded_and_never_sent(new_site: Worker) -> None:
    first = new_site.take_in(make_cr(seed=1))
    assert new_site.reader.read(first) is Outcome.READ
    assert new_site.reader.destinations_of(first) == []
    assert returns(new_site) == 0
    run("commission", "on", SENDER, "--by", " Ada  Example ")
    second = new_site.take_in(make_cr(seed=2))
    assert new_site.reader.read(second) is Outcome.READ
    assert new_site.reader.destinations_of(second) == ["PACS@127.0.0.1:104"]
    # The first one stays unsent, whatever runs once more.
    assert new_site.reader.read(first) is Outcome.READ
    assert new_site.reader.destinations_of(first) == []

    said = json.loads(run("status", "--json"))
    assert [o["reading"]["shadow"] for o in said["objects"]] == [False, True]
    assert said["objects"][1]["reading"]["score"] is not None
    (sender,) = said["senders"]
    assert sender == {**sender, "calling_ae": SENDER, "on": True, "by": "Ada Example", "read": 2, "in_shadow": 1}
    shown = run("status")
    assert "in shadow 1" in shown
    assert "CR1: on, switched by Ada Example" in shown
    with Session(new_site.queue.engine) as session:
        assert counts(session)["in shadow"] == 1
        found = differences(new_site.settings, session)
        assert [d for d in found if d.kind not in (Kind.RETURN_FORGOTTEN, Kind.RUN_STRANDED)] == []

    # Its results lie on disk to be looked at, and with it all about it is closed.
    assert len(list((new_site.settings.results_dir / first[:2] / first).iterdir())) == 2
    purged = Retention(new_site.settings, new_site.queue.engine).purge(before=now() + timedelta(days=1))
    assert (purged.objects, purged.open) == (1, 1)


def test_a_failure_in_shadow_brings_no_report_and_one_of_a_sender_that_is_on_does(new_site: Worker) -> None:
    def blank(seed: int) -> str:
        source = make_cr(seed=seed)
        source.PixelData = bytes(len(source.PixelData))
        return new_site.take_in(source)

    assert new_site.reader.read(blank(1)) is Outcome.FAILED
    assert returns(new_site) == 0
    switch(new_site.settings, new_site.queue.engine, [SENDER], on=True, by="Ada")
    assert new_site.reader.read(blank(2)) is Outcome.FAILED
    assert returns(new_site) == 1
    # Who asks for another reading of the first gets it as the sender stands now.
    assert new_site.queue.retry_readings() == 2


def test_without_the_setting_every_result_is_sent_whatever_stands_in_the_ledger(worker: Worker) -> None:
    switch(worker.settings, worker.queue.engine, [SENDER], on=False, by="Ada")
    assert worker.reader.read(worker.take_in(make_cr())) is Outcome.READ
    assert returns(worker) == 2


def test_a_sender_that_is_switched_off_again_is_read_in_shadow_and_the_trail_knows_who_did_it(new_site: Worker) -> None:
    run("commission", "on", SENDER, "--by", "Ada")
    assert "PACS is switched on" in run("commission", "on", "PACS", "--by", "Ada")
    run("commission", "off", SENDER, "--by", "Bob")
    assert new_site.reader.read(new_site.take_in(make_cr())) is Outcome.READ
    assert returns(new_site) == 0
    assert "CR1: OFF, read in shadow, switched by Bob" in run("commission", "show")
    signed = [(e["alert"], e["calling_ae"], e["signed"]) for e in audit.entries(new_site.settings.audit_dir)]
    assert signed == [
        ("sender switched on", SENDER, "Ada"),
        ("sender switched on", "PACS", "Ada"),
        ("sender switched off", SENDER, "Bob"),
    ]
    with Session(new_site.queue.engine) as session:
        assert [(s.calling_ae, s.on, s.read) for s in senders(session)] == [(SENDER, False, 1), ("PACS", True, 0)]


def test_a_result_of_a_reading_in_shadow_that_is_sent_all_the_same_is_a_difference(new_site: Worker) -> None:
    journey = new_site.take_in(make_cr())
    new_site.reader.read(journey)
    with Session(new_site.queue.engine) as session, session.begin():
        session.add(
            ReturnRow(
                journey=journey, destination="PACS@h:104", kind="report", sop_class_uid="1", sop_instance_uid="1.9",
                changed_at=now(),
            )
        )  # fmt: skip
    with Session(new_site.queue.engine) as session:
        assert Kind.SENT_FROM_SHADOW in {d.kind for d in differences(new_site.settings, session)}


@pytest.mark.parametrize("arguments", [("on", "A\\B", "--by", "Ada"), ("on", "PACS", "--by", " "), ("off", "PACS")])
def test_a_title_or_a_name_that_is_none_switches_nothing(new_site: Worker, arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(app, ["commission", *arguments]).exit_code == 2
    with Session(new_site.queue.engine) as session:
        assert session.scalars(sa.select(SenderRow)).all() == []
