"""The door of the queue: one commit for ledger and journey, and no second reading."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.errors import AlreadyRead, OutOfResources
from dicom_node.journey.database import prepare
from dicom_node.journey.ledger import ReadingRow, ReceivedObject, ReturnRow, ReturnState, now
from dicom_node.journey.queue import KNOWN_UID, OWN_RESULT, JourneyQueue, Received, Recorded, journey_of
from dicom_node.journey.tallies import counts
from dicom_node.reception.intake import Reason
from dicom_node.settings import DuplicatePolicy, Settings

CHEST = Received(
    sop_instance_uid="1.2.3.4",
    sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
    transfer_syntax_uid="1.2.840.10008.1.2.1",
    study_instance_uid="1.2.3",
    series_instance_uid="1.2.3.1",
    accession_number="A1",
    patient_id="P1",
    study_date="20200812",
    digest="d1",
    size=100,
    calling_ae="CR1",
    peer_address="127.0.0.1",
    accepted=True,
    view="PA",
    evidence="ViewPosition=PA",
)
LATERAL = replace(CHEST, sop_instance_uid="1.2.3.5", digest="d2", accepted=False, reason="lateral view", view="")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database, made once, for the migrations take longer than the tests."""
    folder = tmp_path_factory.mktemp("prepared") / "data"
    prepare(Settings(data_dir=folder))
    return folder


@pytest.fixture
def settings(tmp_path: Path, prepared: Path) -> Settings:
    shutil.copytree(prepared, tmp_path / "data")
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def queue(settings: Settings) -> Iterator[JourneyQueue]:
    queue = JourneyQueue(settings)
    yield queue
    queue.close()


def journeys(queue: JourneyQueue) -> list[tuple[str, str]]:
    with queue.engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT workflow_uuid, queue_name FROM workflow_status ORDER BY 1"))
        return [(row[0], row[1]) for row in rows]


def test_an_accepted_object_is_in_ledger_and_queue(queue: JourneyQueue) -> None:
    assert queue.record(CHEST) is Recorded.NEW
    assert journeys(queue) == [(journey_of("1.2.3.4"), "reading")]
    with Session(queue.engine) as session:
        row = session.scalars(sa.select(ReceivedObject)).one()
        assert (row.accepted, row.view, row.journey) == (True, "PA", journey_of("1.2.3.4"))
        assert row.study.accession_number == "A1"


def test_a_refused_object_is_recorded_with_its_reason_but_never_queued(queue: JourneyQueue) -> None:
    assert queue.record(LATERAL) is Recorded.NEW
    assert journeys(queue) == []
    with Session(queue.engine) as session:
        row = session.scalars(sa.select(ReceivedObject)).one()
        assert (row.accepted, row.reason, row.journey) == (False, "lateral view", None)


def test_a_resend_is_success_without_a_second_reading(queue: JourneyQueue) -> None:
    assert [queue.record(CHEST), queue.record(CHEST)] == [Recorded.NEW, Recorded.IDENTICAL]
    assert len(journeys(queue)) == 1
    with Session(queue.engine) as session:
        assert session.scalars(sa.select(ReceivedObject.times_received)).all() == [2]


def test_other_content_under_a_known_uid_is_kept_apart_and_never_read(queue: JourneyQueue) -> None:
    queue.record(CHEST)
    assert queue.record(replace(CHEST, digest="other")) is Recorded.DIFFERENT
    assert len(journeys(queue)) == 1
    with Session(queue.engine) as session:
        rows = session.scalars(sa.select(ReceivedObject).order_by(ReceivedObject.id)).all()
        assert [(row.accepted, row.reason) for row in rows] == [(True, ""), (False, KNOWN_UID)]


def with_policy(settings: Settings, policy: DuplicatePolicy) -> JourneyQueue:
    return JourneyQueue(settings.model_copy(update={"duplicate_policy": policy}))


def test_other_content_under_a_known_uid_is_refused_where_the_settings_say_so(settings: Settings) -> None:
    queue = with_policy(settings, DuplicatePolicy.REFUSE)
    queue.record(CHEST)
    with pytest.raises(AlreadyRead):
        queue.record(replace(CHEST, digest="other"))
    assert queue.record(CHEST) is Recorded.IDENTICAL
    with Session(queue.engine) as session:
        assert session.scalars(sa.select(ReceivedObject.digest)).all() == ["d1"]
    queue.close()


def test_other_content_under_a_known_uid_gets_a_reading_of_its_own_where_the_settings_say_so(
    settings: Settings,
) -> None:
    queue = with_policy(settings, DuplicatePolicy.READ_AGAIN)
    said = [queue.record(replace(CHEST, digest=digest)) for digest in ("d1", "d2", "d3", "d2")]
    assert said == [Recorded.NEW, Recorded.REVISED, Recorded.REVISED, Recorded.IDENTICAL]
    first = journey_of("1.2.3.4")
    assert [name for name, _ in journeys(queue)] == [first, f"{first}.2", f"{first}.3"]
    with Session(queue.engine) as session:
        rows = session.scalars(sa.select(ReceivedObject).order_by(ReceivedObject.id)).all()
        assert [row.flags for row in rows] == [[], [KNOWN_UID], [KNOWN_UID]]
        assert [row.accepted for row in rows] == [True] * 3
    queue.close()


def test_many_contents_under_one_uid_at_once_get_a_reading_each(settings: Settings) -> None:
    queue = with_policy(settings, DuplicatePolicy.READ_AGAIN)
    with ThreadPoolExecutor(4) as threads:
        said = list(threads.map(lambda digest: queue.record(replace(CHEST, digest=digest)), "abcd"))
    assert sorted(said) == [Recorded.NEW] + [Recorded.REVISED] * 3
    assert len(journeys(queue)) == 4
    queue.close()


@pytest.mark.parametrize(
    "changes",
    [{"sop_instance_uid": "1.9.1"}, {"series_instance_uid": "1.9"}],
    ids=["the object itself", "another object in its series"],
)
def test_what_the_ledger_knows_as_sent_is_recorded_and_never_read(queue: JourneyQueue, changes: Any) -> None:
    queue.record(CHEST)
    journey = journey_of("1.2.3.4")
    with Session(queue.engine) as session, session.begin():
        session.add(ReadingRow(journey=journey, read_at=now(), score=0.5, verdict="negative"))
        session.flush()
        session.add(
            ReturnRow(
                journey=journey,
                destination="PACS@h:104",
                kind="overlay",
                sop_class_uid="1",
                sop_instance_uid="1.9.1",
                series_instance_uid="1.9",
                changed_at=now(),
            )
        )
    own = replace(CHEST, digest="own", **{"sop_instance_uid": "1.9.2", **changes})
    assert [queue.record(own), queue.record(own)] == [Recorded.OWN, Recorded.IDENTICAL]
    with Session(queue.engine) as session:
        row = session.scalars(sa.select(ReceivedObject).where(ReceivedObject.digest == "own")).one()
        assert (row.accepted, row.reason, row.journey) == (False, OWN_RESULT, None)
    assert Reason.OWN_RESULT.value == OWN_RESULT


def test_a_corrected_resend_of_a_refused_object_is_read(queue: JourneyQueue) -> None:
    queue.record(LATERAL)
    corrected = replace(LATERAL, digest="d3", accepted=True, reason="", view="PA")
    assert queue.record(corrected) is Recorded.NEW
    assert journeys(queue) == [(journey_of("1.2.3.5"), "reading")]


def test_the_same_object_on_many_associations_at_once_is_one_journey(queue: JourneyQueue) -> None:
    with ThreadPoolExecutor(8) as threads:
        said = list(threads.map(lambda _: queue.record(CHEST), range(16)))
    assert sorted(said) == [Recorded.IDENTICAL] * 15 + [Recorded.NEW]
    assert len(journeys(queue)) == 1
    with Session(queue.engine) as session:
        assert session.scalars(sa.select(ReceivedObject.times_received)).all() == [16]


def test_a_database_that_is_gone_is_out_of_resources_and_leaves_nothing_half_done(
    queue: JourneyQueue, settings: Settings
) -> None:
    with queue.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE workflow_status RENAME TO hidden"))
    with pytest.raises(OutOfResources):
        queue.record(CHEST)
    with queue.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE hidden RENAME TO workflow_status"))
    with Session(queue.engine) as session:
        assert counts(session)["received"] == 0
    assert queue.record(CHEST) is Recorded.NEW


def test_a_prepared_database_survives_power_loss_and_is_private(settings: Settings, queue: JourneyQueue) -> None:
    with queue.engine.connect() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar() == 2  # FULL
    assert (settings.data_dir / "covid-xnet.sqlite").stat().st_mode & 0o777 == 0o600
    assert settings.data_dir.stat().st_mode & 0o777 == 0o700
    prepare(settings)  # a second time changes nothing
    with Session(queue.engine) as session:
        assert counts(session)["received"] == 0


def test_what_was_set_aside_is_offered_again_once(queue: JourneyQueue) -> None:
    queue.record(CHEST)
    journey = journey_of("1.2.3.4")
    with Session(queue.engine) as session, session.begin():
        session.add(ReadingRow(journey=journey, read_at=now(), score=0.5, verdict="negative"))
        session.flush()
        for kind, state in (("overlay", ReturnState.DELIVERED), ("report", ReturnState.SET_ASIDE)):
            session.add(
                ReturnRow(
                    journey=journey,
                    destination="PACS@h:104",
                    kind=kind,
                    sop_class_uid="1",
                    sop_instance_uid=f"1.2.{kind}",
                    state=state,
                    attempts=10,
                    refusals=10,
                    changed_at=now(),
                )
            )
    assert queue.retry_returns("OTHER@h:104") == 0
    assert queue.retry_returns() == 1
    assert queue.retry_returns() == 0
    again = [name for name, where in journeys(queue) if where == "return"]
    assert len(again) == 1
    assert again[0].startswith(f"{journey}/again/")
    assert again[0].endswith("/PACS@h:104/1")


def test_a_failed_reading_is_read_again_each_time_it_is_asked_for(queue: JourneyQueue) -> None:
    queue.record(CHEST)
    journey = journey_of("1.2.3.4")
    for again in (1, 2):
        with Session(queue.engine) as session, session.begin():
            session.add(ReadingRow(journey=journey, read_at=now(), failure="damaged"))
        assert queue.retry_readings() == 1
        assert len(journeys(queue)) == 1 + again
    assert queue.retry_readings() == 0


def test_the_models_of_the_ledger_are_what_the_migrations_make(queue: JourneyQueue) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from dicom_node.journey.ledger import Row

    with queue.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"include_name": lambda name, kind, _: kind != "table" or name in Row.metadata.tables},
        )
        assert compare_metadata(context, Row.metadata) == []
