"""What health says of each trouble, without a node, and what the metrics tell of a ledger."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from dicom_node.demo.orthanc import free_port
from dicom_node.inspection.health import Check, examine
from dicom_node.journey.audit_head import open_trail
from dicom_node.journey.database import open_engine, prepare
from dicom_node.journey.ledger import CircuitRow, CircuitState, ReadingRow, ReturnRow, ReturnState, now
from dicom_node.journey.queue import JourneyQueue, journey_of
from dicom_node.settings import Settings
from dicom_node.web.metrics import NodeMetrics
from dicom_node.web.server import application
from tests.unit.test_database import CHEST, locked


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(data_dir=tmp_path / "data", port=free_port(), minimum_free_megabytes=1)
    prepare(settings)
    return settings


@pytest.fixture
def engine(settings: Settings) -> Iterator[sa.Engine]:
    engine = open_engine(settings)
    yield engine
    engine.dispose()


def check(name: str, settings: Settings, engine: sa.Engine) -> Check:
    return next(check for check in examine(settings, engine) if check.name == name)


def test_where_nothing_runs_disk_and_database_are_well_and_the_rest_is_told(
    settings: Settings, engine: sa.Engine
) -> None:
    well = {check.name: check.well for check in examine(settings, engine)}
    assert well == {
        "database": True, "disk": True, "listener": False, "workers": False, "returners": False, "queues": True,
        "destinations": True,
    }  # fmt: skip
    assert "does not answer" in check("listener", settings, engine).detail


def test_a_disk_below_the_mark_is_not_well(settings: Settings, engine: sa.Engine) -> None:
    low = settings.model_copy(update={"minimum_free_megabytes": 1e12})
    found = check("disk", low, engine)
    assert (found.well, found.gates) == (False, True)
    assert found.detail.endswith("1000000000000 MB wanted")
    assert b"covid_xnet_disk_low 1.0" in NodeMetrics(low, engine).text()


def test_a_database_that_is_locked_or_read_only_is_not_well(settings: Settings, engine: sa.Engine) -> None:
    with locked(settings):
        assert check("database", settings, engine).detail == "cannot be written: database is locked"
    assert check("database", settings, engine).well
    file = settings.data_dir / "covid-xnet.sqlite"
    read_only = open_engine(settings.model_copy(update={"database_url": f"sqlite:///file:{file}?mode=ro&uri=true"}))
    assert "readonly" in check("database", settings, read_only).detail
    read_only.dispose()


def test_who_holds_the_lock_of_a_name_is_alive(settings: Settings, engine: sa.Engine) -> None:
    with FileLock(settings.data_dir / "worker-1.lock"), FileLock(settings.data_dir / "returner.lock"):
        (settings.data_dir / "worker-2.lock").touch()
        assert check("workers", settings, engine).detail == "worker-1"
        assert check("returners", settings, engine).well
    assert not check("workers", settings, engine).well


def test_a_destination_that_is_away_is_told_and_closes_no_door(settings: Settings, engine: sa.Engine) -> None:
    with Session(engine) as session, session.begin():
        session.add(CircuitRow(destination="PACS@h:104", state=CircuitState.OPEN, since=now(), failures=3, openings=1))
    found = check("destinations", settings, engine)
    assert (found.well, found.gates, found.detail) == (False, False, "PACS@h:104 does not answer")
    assert b'covid_xnet_circuit_open{destination="PACS@h:104"} 1.0' in NodeMetrics(settings, engine).text()


def test_the_metrics_tell_counts_refusals_waits_and_times(settings: Settings, engine: sa.Engine) -> None:
    queue = JourneyQueue(settings)
    queue.record(CHEST)
    for status in (0xA700, 0xA700, 0xC000):
        queue.record_rejected(
            sop_instance_uid="1", sop_class_uid="1", calling_ae="CR", peer_address="", status=status, reason="x"
        )
    before = NodeMetrics(settings, engine).text().decode()
    with Session(engine) as session, session.begin():
        session.add(
            ReadingRow(journey=journey_of(CHEST.sop_instance_uid), read_at=now(), score=0.1, stages={"ribs": 50.0})
        )
        session.flush()
        session.add(
            ReturnRow(
                journey=journey_of(CHEST.sop_instance_uid), destination="PACS@h:104", kind="report", sop_class_uid="1",
                sop_instance_uid="1", state=ReturnState.DELIVERED, changed_at=now(),
            )
        )  # fmt: skip
    queue.close()
    after = NodeMetrics(settings, engine).text().decode()

    assert 'covid_xnet_objects{state="waiting to be read"} 1.0' in before
    assert 'covid_xnet_refused_total{status="0xA700"} 2.0' in before
    assert 'covid_xnet_refused_total{status="0xC000"} 1.0' in before
    assert 'covid_xnet_oldest_waiting_seconds{queue="reading"} 0.0\n' not in before
    assert 'covid_xnet_oldest_waiting_seconds{queue="reading"} 0.0\n' in after
    assert 'covid_xnet_stage_seconds{quantile="0.95",stage="ribs"} 0.05' in after
    assert 'covid_xnet_results{destination="PACS@h:104",state="delivered"} 1.0' in after
    assert CHEST.patient_id not in after


def test_health_and_metrics_ask_for_no_name_and_take_no_orders(settings: Settings, engine: sa.Engine) -> None:
    trail = open_trail(settings, engine, by="web")
    browser = TestClient(application(settings, engine, trail))
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert browser.get(path).status_code in (200, 503)
        assert browser.post(path).status_code == 405
