"""Second networks read in shadow beside the first, and what became of both is compared."""

import json
import shutil
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.errors import NodeError
from dicom_node.journey.bounds import Bounds
from dicom_node.journey.comparisons import ComparisonRow
from dicom_node.journey.database import open_engine, prepare
from dicom_node.journey.ledger import ReadingRow, ReceivedObject, ReturnRow, Study
from dicom_node.journey.outcome import Outcome
from dicom_node.journey.side_by_side import BEGUN, SecondReader, second_networks
from dicom_node.settings import Settings
from dicom_node.watch.comparison import area
from dicom_node.watch.feedback import FeedbackRow
from models.registry import SHIPPED
from tests.phantom import make_cr
from tests.unit.test_not_read_by_pixels import Worker, worker

__all__ = ["worker"]
AT = datetime(2026, 11, 1, tzinfo=UTC)


def other_weights(folder: Path) -> Path:
    """The shipped networks under another version: what another training would be."""
    shutil.copytree(SHIPPED, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for entry in manifest:
        if entry["name"] == "covid_xnet":
            entry["version"] = "9.9.9"
            entry["operating_point"]["threshold"] = 0.01
            entry["operating_point"]["band"] = [0.0, 0.01]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def beside(worker: Worker, weights: Path) -> SecondReader:
    settings = worker.settings.model_copy(update={"shadow_weights_dir": str(weights)})
    networks = second_networks(settings)
    assert networks is not None
    bounds = Bounds(settings.data_dir / "second.reading", megabytes=100_000, seconds=3600)
    bounds.set_up()
    return SecondReader(settings, worker.queue.engine, networks, bounds)


def rows(worker: Worker) -> list[ComparisonRow]:
    with Session(worker.queue.engine) as session:
        return list(session.scalars(sa.select(ComparisonRow)))


def test_the_second_networks_read_what_the_first_has_read_and_send_nothing(worker: Worker, tmp_path: Path) -> None:
    second = beside(worker, other_weights(tmp_path / "weights"))
    journey = worker.take_in(make_cr())
    assert second.read(journey) is False  # the first has not read it yet
    assert rows(worker) == []
    assert worker.reader.read(journey) is Outcome.READ
    with Session(worker.queue.engine) as session:
        sent = len(session.scalars(sa.select(ReturnRow)).all())
    assert second.read(journey) is True
    assert second.read(journey) is False  # once
    (row,) = rows(worker)
    with Session(worker.queue.engine) as session:
        first = session.get_one(ReadingRow, journey)
        assert len(session.scalars(sa.select(ReturnRow)).all()) == sent
    assert row.score == pytest.approx(first.score)
    assert (row.model_version, row.failure, row.threshold) == ("9.9.9", "", 0.01)
    assert (row.verdict, first.model_version) != (first.verdict, "9.9.9")


def test_what_goes_wrong_with_the_second_stays_with_it(worker: Worker, tmp_path: Path) -> None:
    second = beside(worker, other_weights(tmp_path / "weights"))
    journeys = [worker.take_in(make_cr(seed=seed)) for seed in (1, 2)]
    for journey in journeys:
        assert worker.reader.read(journey) is Outcome.READ
    spooled = [worker.settings.spool_dir / row.digest[:2] / f"{row.digest}.dcm" for row in map(worker.row, journeys)]
    spooled[0].unlink()
    assert second.read(journeys[0]) is False
    (row,) = rows(worker)
    assert row.failure.startswith("FileNotFoundError")
    # As if the worker had died in the middle of it: it is not begun again.
    with Session(worker.queue.engine) as session, session.begin():
        session.add(
            ComparisonRow(
                journey=journeys[1], model_digest=row.model_digest, model_name="x", model_version="x", read_at=AT,
                failure=BEGUN,
            )
        )  # fmt: skip
    assert second.read(journeys[1]) is False
    assert worker.reader.read(journeys[0]) is Outcome.READ


def test_networks_that_cannot_be_used_leave_the_worker_without_second_ones(tmp_path: Path) -> None:
    assert second_networks(Settings(data_dir=tmp_path)) is None
    assert second_networks(Settings(data_dir=tmp_path, shadow_weights_dir=str(tmp_path / "nowhere"))) is None
    damaged = other_weights(tmp_path / "weights")
    next(damaged.glob("covid_xnet*.bin")).write_bytes(b"")
    assert second_networks(Settings(data_dir=tmp_path, shadow_weights_dir=str(damaged))) is None


def test_the_area_is_the_share_of_pairs_in_the_right_order() -> None:
    scores, ill = np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])
    assert area(scores, ill) == 0.75
    assert area(np.array([0.5, 0.5]), np.array([True, False])) == 0.5


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Forty radiographs: the first networks guess, the second know; half are ill, thirty are verified, one failed."""
    monkeypatch.setenv("COVIDXNET_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    settings = Settings(data_dir=tmp_path / "data")
    prepare(settings)
    engine = open_engine(settings)
    random = np.random.default_rng(1)
    with Session(engine) as session, session.begin():
        session.add(Study(study_instance_uid="1.2", first_received_at=AT))
        session.flush()
        for n in range(41):
            guess = float(random.uniform())
            knows = float(np.clip(0.3 + 0.4 * (n % 2) + random.normal(0, 0.1), 0, 1))
            session.add(
                ReceivedObject(
                    sop_instance_uid=f"1.2.{n}", digest=str(n), sop_class_uid="1", transfer_syntax_uid="1", size=1,
                    study_instance_uid="1.2", series_instance_uid="1.2.3", peer_address="", calling_ae="PACS",
                    accepted=True, journey=str(n), received_at=AT,
                )
            )  # fmt: skip
            session.add(
                ReadingRow(
                    journey=str(n), read_at=AT, score=guess, verdict="positive" if guess > 0.5 else "negative",
                    threshold=0.5, model_name="COVID-XNet", model_version="1", model_digest="d1", milliseconds=40.0,
                )
            )  # fmt: skip
            session.flush()
            session.add(
                ComparisonRow(
                    journey=str(n), model_digest="d2", model_name="COVID-XNet", model_version="2", read_at=AT,
                    failure="x" if n == 40 else "", score=None if n == 40 else knows,
                    verdict="positive" if knows > 0.6 else "indeterminate" if knows > 0.5 else "negative",
                    threshold=0.5, milliseconds=20.0,
                )
            )  # fmt: skip
            if n < 30:
                session.add(
                    FeedbackRow(
                        sop_instance_uid=f"1.2.{n}", label="covid" if n % 2 else "other", source="PCR",
                        verified_on=AT.date(), entered_by="Ada", entered_at=AT,
                    )
                )  # fmt: skip
    engine.dispose()
    return settings


def test_both_are_compared_by_verdict_score_and_what_was_verified(filled: Settings, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["compare", "--json", "--out", "compare.html"])
    assert done.exit_code == 0, done.output
    said: dict[str, Any] = json.loads(done.stdout)
    assert (said["first"], said["second"], said["both"], said["failed"]) == ("COVID-XNet 1", "COVID-XNet 2", 40, 1)
    assert sum(sum(row.values()) for row in said["confusion"].values()) == 40
    assert said["agreement"] == sum(said["confusion"][v][v] for v in said["confusion"]) / 40
    assert -0.5 < said["spearman"] < 0.5
    areas = said["areas"]
    assert (areas["positives"], areas["negatives"]) == (15, 15)
    assert areas["second"] > 0.95 > areas["first"]
    assert 0 < areas["low"] < areas["difference"] < areas["high"]
    assert said["milliseconds"] == [40.0, 20.0]
    page = (tmp_path / "compare.html").read_text()
    drawing = ET.fromstring(f"<svg{page.split('<svg')[1].split('</svg>')[0]}</svg>")
    assert len(drawing.findall("circle")) == 40
    assert len([c for c in drawing.findall("circle") if c.get("class") == "open"]) == 10
    shown = CliRunner().invoke(app, ["compare"]).stdout
    assert "Area under the ROC curve on 15 with and 15 without COVID-19" in shown


@pytest.mark.parametrize("verified", [0, 8])
def test_with_too_few_verified_no_area_is_told(filled: Settings, verified: int) -> None:
    engine = open_engine(filled)
    with Session(engine) as session, session.begin():
        session.execute(sa.delete(FeedbackRow).where(FeedbackRow.id > verified))
    engine.dispose()
    assert json.loads(CliRunner().invoke(app, ["compare", "--json"]).stdout)["areas"] is None
    assert "fewer than 5 with or without COVID-19" in CliRunner().invoke(app, ["compare"]).stdout


def test_a_node_without_second_networks_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["compare"])
    assert isinstance(done.exception, NodeError)
    assert "Set shadow_weights_dir" in str(done.exception)
