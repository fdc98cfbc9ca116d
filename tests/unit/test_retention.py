"""What is purged: files of what is closed, and nothing else, on a real ledger and real files."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.errors import OutOfResources
from dicom_node.journey.database import prepare
from dicom_node.journey.ledger import ReadingRow, ReceivedObject, ReturnRow, ReturnState, now
from dicom_node.journey.queue import JourneyQueue, Recorded, journey_of
from dicom_node.journey.retention import PURGE_LOCK, Retention, age
from dicom_node.journey.tallies import counts
from dicom_node.results.shelf import ResultShelf
from dicom_node.settings import Settings
from dicom_node.spool import Spool
from tests.unit.test_database import CHEST

SYNTAX = "1.2.840.10008.1.2.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    settings: Settings
    queue: JourneyQueue
    spool: Spool

    def receive(self, name: str, *, days: int = 100, patient: str = "P1", size: int = 1000, **changes: object) -> str:
        """Keep an object of `size` bytes that came so long ago; returns its journey."""
        temporary = self.spool.receive(transfer_syntax_uid=SYNTAX, prefix=b"")
        temporary.write(name.encode().ljust(size, b"."))
        kept = self.spool.keep(temporary)
        received = replace(
            CHEST, sop_instance_uid=name, study_instance_uid=f"{name}.1", patient_id=patient, digest=kept.digest
        )
        self.queue.record(replace(received, **changes))  # type: ignore[arg-type]
        with Session(self.queue.engine) as session, session.begin():
            session.execute(
                sa.update(ReceivedObject)
                .where(ReceivedObject.sop_instance_uid == name)
                .values(received_at=now() - timedelta(days=days))
            )
        return journey_of(name)

    def read(self, journey: str, *states: ReturnState, failure: str = "") -> None:
        shelf = ResultShelf(self.settings.results_dir)
        with Session(self.queue.engine) as session, session.begin():
            session.add(ReadingRow(journey=journey, read_at=now(), failure=failure))
            session.flush()
            for number, state in enumerate(states):
                row = ReturnRow(
                    journey=journey, destination="PACS@h:104", kind="overlay", sop_class_uid="1.2",
                    sop_instance_uid=f"2.25.{number}", state=state, changed_at=now(),
                )  # fmt: skip
                session.add(row)
                path = shelf.path(journey, row.kind, row.sop_instance_uid)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(bytes(1000))

    @property
    def files(self) -> int:
        roots = (self.settings.spool_dir, self.settings.results_dir)
        return sum(path.is_file() for root in roots for path in root.rglob("*"))

    @property
    def purged(self) -> set[str]:
        with Session(self.queue.engine) as session:
            rows = session.scalars(sa.select(ReceivedObject).where(ReceivedObject.purged_at.is_not(None)))
            return {row.sop_instance_uid for row in rows}

    def retention(self, **changes: object) -> Retention:
        return Retention(self.settings.model_copy(update=changes), self.queue.engine)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    settings = Settings(data_dir=tmp_path / "data")
    monkeypatch.setenv("COVIDXNET_DATA_DIR", str(settings.data_dir))
    prepare(settings)
    queue = JourneyQueue(settings)
    yield Store(settings=settings, queue=queue, spool=Spool(settings.spool_dir, minimum_free_bytes=0))
    queue.close()


DELIVERED, WAITING, ASIDE = ReturnState.DELIVERED, ReturnState.WAITING, ReturnState.SET_ASIDE


def test_by_default_nothing_is_ever_purged(store: Store) -> None:
    store.read(store.receive("1.1", days=10_000), DELIVERED)
    assert store.retention().keep().objects == 0
    assert store.files == 2


def test_what_is_old_and_closed_goes_with_its_results_and_its_reading_stays(store: Store) -> None:
    store.read(store.receive("1.1"), DELIVERED, DELIVERED)
    store.receive("1.2", accepted=False, reason="lateral view")
    store.read(store.receive("1.3", days=1), DELIVERED)

    done = store.retention(retention_days=90).keep()

    assert (done.objects, done.bytes) == (2, 4000)
    assert store.purged == {"1.1", "1.2"}
    assert store.files == 2
    assert not ResultShelf(store.settings.results_dir).folder(journey_of("1.1")).exists()
    with Session(store.queue.engine) as session:
        assert (counts(session)["read"], counts(session)["received"]) == (2, 3)
    assert store.retention(retention_days=90).keep().objects == 0


def test_what_is_not_closed_stays_however_old_it_is(store: Store) -> None:
    store.receive("1.1")  # waits to be read
    store.read(store.receive("1.2"), DELIVERED, WAITING)
    store.read(store.receive("1.3"), DELIVERED, ASIDE)
    store.read(store.receive("1.4"), failure="damaged")
    before = store.files

    assert store.retention(retention_days=1, retention_gigabytes=1e-9).keep().objects == 0
    done = store.retention().purge(before=now())

    assert (done.objects, done.open, store.files) == (0, 4, before)
    assert store.retention().purge(include_failed=True).objects == 1
    assert store.purged == {"1.4"}


def test_beyond_the_size_the_oldest_go_and_no_more_than_needed(store: Store) -> None:
    for number in range(1, 6):
        store.read(store.receive(f"1.{number}", days=10, size=10_000))

    assert store.retention(retention_gigabytes=35e-6).keep().objects == 2

    assert store.purged == {"1.1", "1.2"}


def test_a_purge_that_was_cut_off_is_brought_to_its_end_by_the_next(store: Store) -> None:
    store.read(store.receive("1.1"), DELIVERED)
    with Session(store.queue.engine) as session:
        digest = session.scalars(sa.select(ReceivedObject.digest)).one()
    store.spool.path(digest).unlink()  # removed, and died before the commit

    assert store.retention(retention_days=1).keep().objects == 1
    assert store.files == 0


def test_what_is_sent_again_after_a_purge_is_known_and_on_disk_again(store: Store) -> None:
    store.read(store.receive("1.1"), DELIVERED)
    store.retention().purge(before=now())
    with Session(store.queue.engine) as session:
        digest = session.scalars(sa.select(ReceivedObject.digest)).one()

    again = replace(CHEST, sop_instance_uid="1.1", study_instance_uid="1.1.1", digest=digest)
    assert store.queue.record(again) is Recorded.IDENTICAL

    assert store.purged == set()


def test_no_purge_comes_between_a_backup_and_its_files(store: Store) -> None:
    with (
        FileLock(store.settings.data_dir / PURGE_LOCK),
        pytest.raises(OutOfResources, match="purges or takes a backup"),
    ):
        store.retention().purge(before=now(), wait=0)


def run(*arguments: str, answer: str = "") -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), input=answer)
    return result.exit_code, result.output


def test_an_operator_purges_one_patient_after_being_asked(store: Store) -> None:
    store.read(store.receive("1.1", days=0, patient="P1"), DELIVERED)
    store.receive("1.2", days=0, patient="P1")
    store.read(store.receive("1.3", days=0, patient="P2"), DELIVERED)

    assert run("purge", "--patient", "P1", answer="n\n")[0] == 1
    assert store.purged == set()
    code, output = run("purge", "--patient", "P1", "--yes")

    assert code == 0
    assert "1 objects were purged with their results" in output
    assert "1 stay: they are not yet closed" in output
    assert "P1" not in output
    assert store.purged == {"1.1"}


def test_a_purge_names_whose_or_how_old(store: Store) -> None:
    assert run("purge", "--yes")[0] == 2
    assert run("purge", "--older-than", "soon", "--yes")[0] == 2
    store.receive("1.1", accepted=False, reason="lateral view")
    assert run("purge", "--older-than", "200d", "--yes")[0] == 0
    assert store.purged == set()
    assert run("purge", "--older-than", "90d", "--yes")[0] == 0
    assert store.purged == {"1.1"}


def test_what_could_not_be_read_and_was_purged_cannot_be_tried_again_and_that_is_said(store: Store) -> None:
    store.read(store.receive("1.1"), failure="damaged")
    store.retention().purge(before=now(), include_failed=True)

    code, output = run("retry", "--failed")

    assert code == 0
    assert "0 radiographs read again" in output
    assert "1 cannot be read again: their files were purged" in output


@pytest.mark.parametrize(("text", "hours"), [("36h", 36), ("90d", 90 * 24), ("8w", 8 * 7 * 24)])
def test_an_age_is_a_number_and_a_unit(text: str, hours: int) -> None:
    assert age(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "d", "90", "-1d", "1.5d", "90 days"])
def test_anything_else_is_no_age(text: str) -> None:
    with pytest.raises(ValueError, match="is no age"):
        age(text)
