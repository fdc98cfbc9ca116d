"""What a clock that was set back would do to the queue, and does not."""

import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from pynetdicom.timer import Timer

from dicom_node import steady
from dicom_node.journey.clock import become_the_newest, hasten
from dicom_node.journey.database import prepare
from dicom_node.journey.queue_tables import queue_tables
from dicom_node.journey.runs import JOURNEY_VERSION, RETURN_QUEUE
from dicom_node.peers import Peer
from dicom_node.settings import Settings
from tests.returning import Ward

HOUR = 3600


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    ward = Ward(tmp_path, Peer("PACS", "127.0.0.1", 104))
    for _ in range(3):
        ward.add_reading()
        ward.enqueue(ward.journeys[-1], ward.settings.destinations[0].peer)
    return ward.queue.engine


def due_in(engine: sa.Engine) -> list[float | None]:
    """Seconds until each run is due; None if it is not delayed."""
    runs = queue_tables(engine).runs.c
    with engine.connect() as connection:
        moments = connection.scalars(sa.select(runs.delay_until_epoch_ms).order_by(runs.workflow_uuid)).all()
    return [None if moment is None else round(moment / 1000 - time.time()) for moment in moments]


def test_only_what_is_due_later_than_any_run_may_be_goes_at_once(engine: sa.Engine) -> None:
    runs = queue_tables(engine).runs
    with engine.begin() as connection:
        names = connection.scalars(sa.select(runs.c.workflow_uuid).order_by(runs.c.workflow_uuid)).all()
        for name, seconds in zip(names[1:], (50, HOUR + 50), strict=True):
            connection.execute(
                sa.update(runs)
                .where(runs.c.workflow_uuid == name)
                .values(status="DELAYED", delay_until_epoch_ms=int((time.time() + seconds) * 1000))
            )
    assert hasten(engine, "another", 60) == 0
    assert hasten(engine, RETURN_QUEUE, 60) == 1
    assert due_in(engine) == [None, pytest.approx(50, abs=5), pytest.approx(0, abs=5)]
    assert hasten(engine, RETURN_QUEUE, 60) == 0


@pytest.mark.parametrize("others", [{"1": HOUR}, {"1": -HOUR}, {"0": HOUR, "1": HOUR}], ids=str)
def test_a_new_version_takes_over_whatever_the_clock_said_when_the_old_one_began(
    tmp_path: Path, others: dict[str, int]
) -> None:
    engine = engine_with_versions(tmp_path, {**others, JOURNEY_VERSION: 0})
    become_the_newest(engine)
    assert newest(engine) == JOURNEY_VERSION


def test_an_old_version_that_starts_again_beside_a_new_one_does_not_take_over(tmp_path: Path) -> None:
    engine = engine_with_versions(tmp_path, {JOURNEY_VERSION: 0, "99": HOUR})
    become_the_newest(engine)
    assert newest(engine) == "99"


def engine_with_versions(folder: Path, versions: dict[str, int]) -> sa.Engine:
    """versions: name -> seconds from now at which each began."""
    settings = Settings(data_dir=folder / "data")
    prepare(settings)
    engine = sa.create_engine(settings.effective_database_url)
    with engine.begin() as connection:
        for name, seconds in versions.items():
            connection.execute(
                sa.text("INSERT INTO application_versions (version_id, version_name, version_timestamp, created_at) "
                        "VALUES (:name, :name, :at, :at)"),
                {"name": name, "at": int((time.time() + seconds) * 1000)},
            )  # fmt: skip
    return engine


def newest(engine: sa.Engine) -> str:
    versions = queue_tables(engine).versions.c
    with engine.connect() as connection:
        found = sa.select(versions.version_name).order_by(versions.version_timestamp.desc()).limit(1)
        return str(connection.scalar(found))


def test_timers_of_the_network_do_not_follow_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    assert steady
    timer = Timer(30)
    timer.start()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert timer.remaining == pytest.approx(30, abs=5)
    assert not timer.expired
