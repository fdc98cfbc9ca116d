"""Each difference between spool, ledger, queue and results is named, and what can be mended is."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from filelock import FileLock
from pydicom.uid import ExplicitVRLittleEndian
from sqlalchemy.orm import Session

from dicom_node.journey import verify as verification
from dicom_node.journey.database import prepare
from dicom_node.journey.ledger import CircuitRow, CircuitState, ReadingRow, ReceivedObject, ReturnRow, ReturnState, now
from dicom_node.journey.mending import mend
from dicom_node.journey.queue import JourneyQueue, Received, journey_of
from dicom_node.journey.runs import JOURNEY_VERSION
from dicom_node.journey.verify import Kind, differences
from dicom_node.results.shelf import ResultShelf
from dicom_node.settings import Settings
from dicom_node.spool import Spool
from tests.phantom import as_bytes, make_cr

PACS = "PACS@127.0.0.1:104"


@dataclass
class House:
    settings: Settings
    queue: JourneyQueue
    spool: Spool

    def receive(self) -> tuple[str, Path]:
        """A radiograph as the listener takes it in; returns its journey and its file."""
        source = make_cr()
        content = as_bytes(source)
        # What the listener writes itself is not part of the digest.
        begin = 132 + 12 + int.from_bytes(content[140:144], "little")
        temporary = self.spool.receive(transfer_syntax_uid=ExplicitVRLittleEndian, prefix=content[:begin])
        temporary.write(content[begin:])
        kept = self.spool.keep(temporary)
        temporary.discard()
        self.queue.record(replace(CHEST, sop_instance_uid=str(source.SOPInstanceUID), digest=kept.digest))
        return journey_of(str(source.SOPInstanceUID)), kept.path

    def read(self, journey: str, state: ReturnState = ReturnState.DELIVERED) -> Path:
        """Its reading with one result, and the run that read it at its end; returns the file."""
        with Session(self.queue.engine) as session, session.begin():
            session.add(ReadingRow(journey=journey, read_at=now(), score=0.5, verdict="negative"))
            session.flush()
            session.add(
                ReturnRow(
                    journey=journey,
                    destination=PACS,
                    kind="report",
                    sop_class_uid="1",
                    sop_instance_uid="1.2.3",
                    state=state,
                    changed_at=now(),
                )
            )
        self.runs("status = 'SUCCESS'", journey)
        file = ResultShelf(self.settings.results_dir).path(journey, "report", "1.2.3")
        file.parent.mkdir(parents=True)
        file.write_bytes(b"")
        return file

    def runs(self, change: str, run: str) -> None:
        with self.queue.engine.begin() as connection:
            connection.execute(sa.text(f"UPDATE workflow_status SET {change} WHERE workflow_uuid = '{run}'"))

    def differences(self, *, digests: bool = False) -> list[tuple[Kind, str]]:
        with Session(self.queue.engine) as session:
            return [(d.kind, d.subject) for d in differences(self.settings, session, digests=digests)]

    def live(self) -> list[tuple[str, str]]:
        with self.queue.engine.connect() as connection:
            rows = connection.execute(
                sa.text("SELECT name, workflow_uuid FROM workflow_status WHERE status = 'ENQUEUED' ORDER BY 1, 2")
            )
            return [(row[0], row[1]) for row in rows]


CHEST = Received(
    sop_instance_uid="",
    sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
    transfer_syntax_uid="1.2.840.10008.1.2.1",
    study_instance_uid="1.2.3",
    series_instance_uid="1.2.3.1",
    accession_number="",
    patient_id="",
    study_date="",
    digest="",
    size=100,
    calling_ae="CR1",
    peer_address="127.0.0.1",
    accepted=True,
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = Settings(data_dir=tmp_path_factory.mktemp("prepared") / "data")
    prepare(settings)
    return settings.data_dir


@pytest.fixture
def house(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(verification, "_SETTLE_SECONDS", 0)
    settings = Settings(data_dir=tmp_path / "data", workers=1)
    shutil.copytree(prepared, settings.data_dir)
    queue = JourneyQueue(settings)
    yield House(settings=settings, queue=queue, spool=Spool(settings.spool_dir, minimum_free_bytes=0))
    queue.close()


def test_what_agrees_has_no_difference(house: House) -> None:
    house.receive()
    journey, _ = house.receive()
    house.read(journey)
    assert house.differences(digests=True) == []


def test_an_object_that_is_gone_is_named_unless_it_was_purged(house: House) -> None:
    _, file = house.receive()
    file.unlink()
    assert house.differences() == [(Kind.OBJECT_MISSING, file.stem)]
    with Session(house.queue.engine) as session, session.begin():
        session.execute(sa.update(ReceivedObject).values(purged_at=now()))
    assert house.differences() == []


def test_a_rotten_bit_is_found_when_digests_are_compared(house: House) -> None:
    _, file = house.receive()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert house.differences() == []
    assert house.differences(digests=True) == [(Kind.OBJECT_DAMAGED, file.stem)]


def test_files_of_no_row_are_named_but_not_those_that_are_being_received(house: House) -> None:
    stranger = house.spool.path("ab" * 32)
    stranger.write_bytes(b"")
    (house.spool.incoming / "old.part").write_bytes(b"")
    temporary = house.spool.receive(transfer_syntax_uid="1", prefix=b"")
    assert house.differences() == [(Kind.OBJECT_UNKNOWN, stranger.stem), (Kind.TRANSFER_LEFT, "old.part")]
    temporary.discard()


@pytest.mark.parametrize("ended", ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"])
def test_a_journey_that_no_run_will_read_is_named_and_mended_once(house: House, ended: str) -> None:
    journey, _ = house.receive()
    house.runs(f"status = '{ended}'", journey)
    assert house.differences() == [(Kind.JOURNEY_FORGOTTEN, journey)]
    assert [mend(house.settings, house.queue), mend(house.settings, house.queue)] == [1, 0]
    assert [name for name, run in house.live() if run.startswith(f"{journey}/mended/")] == ["read_radiograph"]
    assert house.differences() == []


def test_results_that_no_run_will_return_are_named_and_mended_once(house: House) -> None:
    journey, _ = house.receive()
    house.read(journey, ReturnState.WAITING)
    assert house.differences() == [(Kind.RETURN_FORGOTTEN, journey)]
    assert [mend(house.settings, house.queue), mend(house.settings, house.queue)] == [1, 0]
    assert [name for name, run in house.live() if run.startswith(f"{journey}/mended/")] == ["return_results"]
    assert house.differences() == []


def test_what_is_parked_for_a_destination_that_nobody_tries_out_sets_out_again(house: House) -> None:
    journey, _ = house.receive()
    house.read(journey, ReturnState.WAITING)
    with Session(house.queue.engine) as session, session.begin():
        session.add(CircuitRow(destination=PACS, state=CircuitState.OPEN, since=now(), openings=3))
    assert mend(house.settings, house.queue) == 1
    with Session(house.queue.engine) as session:
        assert session.scalars(sa.select(CircuitRow.state)).all() == [CircuitState.CLOSED]


def test_a_run_of_a_worker_that_never_came_back_is_taken_up_by_another(house: House) -> None:
    journey, _ = house.receive()
    house.runs(f"status = 'PENDING', executor_id = 'worker-7', application_version = '{JOURNEY_VERSION}'", journey)
    with FileLock(house.settings.data_dir / "worker-7.lock"):
        assert house.differences() == []
        assert mend(house.settings, house.queue) == 0
    assert house.differences() == [(Kind.RUN_STRANDED, journey), (Kind.JOURNEY_FORGOTTEN, journey)]
    assert mend(house.settings, house.queue) == 1
    assert house.differences() == []


def test_a_run_of_a_worker_that_will_be_started_is_left_to_it(house: House) -> None:
    journey, _ = house.receive()
    house.runs(f"status = 'PENDING', executor_id = 'worker-1', application_version = '{JOURNEY_VERSION}'", journey)
    assert house.differences() == []


def test_a_journey_that_another_version_began_is_taken_up_by_this_one(house: House) -> None:
    journey, _ = house.receive()
    house.runs("status = 'PENDING', executor_id = 'worker-1', application_version = '0'", journey)
    assert house.differences() == [(Kind.RUN_STRANDED, journey), (Kind.JOURNEY_FORGOTTEN, journey)]
    assert mend(house.settings, house.queue) == 1
    assert house.differences() == []


def test_results_that_are_missing_or_of_no_row_are_named(house: House) -> None:
    journey, _ = house.receive()
    file = house.read(journey, ReturnState.SET_ASIDE)
    file.rename(file.with_name("overlay-9.dcm"))
    unknown = str(file.with_name("overlay-9.dcm").relative_to(house.settings.results_dir))
    assert house.differences() == [(Kind.RESULT_MISSING, "1.2.3"), (Kind.RESULT_UNKNOWN, unknown)]
