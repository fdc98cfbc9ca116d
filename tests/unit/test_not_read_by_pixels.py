"""An object that the gate let pass and whose pixels speak against a reading: what the ledger says of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian
from sqlalchemy.orm import Session

from dicom_node.demo.radiographs import real_radiographs
from dicom_node.destination import Destination
from dicom_node.journey.bounds import Bounds
from dicom_node.journey.database import prepare
from dicom_node.journey.ledger import ReceivedObject, ReturnRow, now
from dicom_node.journey.mending import awaited
from dicom_node.journey.outcome import Outcome
from dicom_node.journey.queue import JourneyQueue, Received, journey_of
from dicom_node.journey.reader import Reader
from dicom_node.journey.retention import Retention
from dicom_node.journey.tallies import counts
from dicom_node.peers import Peer
from dicom_node.reception.intake import Accepted, Flag, judge
from dicom_node.settings import Settings
from dicom_node.spool import Spool
from pipeline.flow import load_networks
from tests.phantom import as_bytes, make_cr

BODY_PART_TAGS = (
    "BodyPartExamined", "AnatomicRegionSequence", "SeriesDescription", "StudyDescription", "ProtocolName",
    "PerformedProcedureStepDescription", "RequestedProcedureDescription", "RequestAttributesSequence",
    "AcquisitionDeviceProcessingDescription",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A reader with the shipped networks, its ledger, and one destination."""

    settings: Settings
    queue: JourneyQueue
    reader: Reader

    def take_in(self, source: Dataset) -> str:
        """Put an object where the listener would; returns its journey."""
        verdict = judge(source, self.settings)
        assert isinstance(verdict, Accepted)
        data = as_bytes(source)
        spool = Spool(self.settings.spool_dir, minimum_free_bytes=0)
        temporary = spool.receive(transfer_syntax_uid=ExplicitVRLittleEndian, prefix=data[:0])
        temporary.write(data)
        self.queue.record(
            Received(
                sop_instance_uid=source.SOPInstanceUID, sop_class_uid=source.SOPClassUID,
                transfer_syntax_uid=source.file_meta.TransferSyntaxUID, study_instance_uid=source.StudyInstanceUID,
                series_instance_uid=source.SeriesInstanceUID, accession_number="", patient_id="", study_date="",
                digest=spool.keep(temporary).digest, size=len(data), calling_ae="CR1", peer_address="127.0.0.1",
                accepted=True, view=verdict.view, evidence=verdict.evidence, flags=verdict.flags,
            )
        )  # fmt: skip
        return journey_of(source.SOPInstanceUID)

    def row(self, journey: str) -> ReceivedObject:
        with Session(self.queue.engine) as session:
            return session.scalars(sa.select(ReceivedObject).where(ReceivedObject.journey == journey)).one()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    settings = Settings(
        data_dir=tmp_path / "data",
        destinations=(Destination(peer=Peer("PACS", "127.0.0.1", 104)),),
        minimum_free_megabytes=0,
        report_failures=True,
    )
    prepare(settings)
    queue = JourneyQueue(settings)
    bounds = Bounds(tmp_path / "worker.reading", megabytes=100_000, seconds=3600)
    reader = Reader(settings, queue.engine, load_networks(), bounds)
    reader.heed_last_words()
    yield Worker(settings=settings, queue=queue, reader=reader)
    queue.close()


def noise() -> Dataset:
    pixels = np.random.default_rng(3).integers(0, 4096, (300, 300), dtype=np.uint16)
    return make_cr(pixels=pixels, bits=12, view=None, body_part="")


def shin() -> Dataset:
    """A shin as a modality made it, without what says that it is one."""
    _, _, file = real_radiographs()
    source = dcmread(file)
    for keyword in BODY_PART_TAGS:
        if keyword in source:
            delattr(source, keyword)
    return source


@pytest.mark.parametrize("make", [noise, shin])
def test_what_is_no_chest_and_whose_header_does_not_say_so_is_not_read(
    worker: Worker, make: Callable[[], Dataset]
) -> None:
    journey = worker.take_in(make())
    assert worker.reader.read(journey) is Outcome.NOT_READ
    row = worker.row(journey)
    assert (row.accepted, row.reason) == (False, "not a chest")
    assert row.detail.startswith("From the pixels: frontal 0.")
    with Session(worker.queue.engine) as session:
        numbers = counts(session)
        assert session.scalars(sa.select(ReturnRow)).all() == []
        assert awaited(session) == ([], [])
    assert {name: number for name, number in numbers.items() if number} == {"received": 1, "not read": 1}
    # Another run of the journey finds that nothing is left to do, nor does an operator's second try.
    assert worker.reader.read(journey) is Outcome.NOT_READ
    assert worker.queue.retry_readings() == 0


def test_what_was_not_read_is_closed_and_may_be_purged(worker: Worker) -> None:
    journey = worker.take_in(noise())
    retention = Retention(worker.settings, worker.queue.engine)
    assert retention.purge(before=now()).objects == 0
    assert worker.reader.read(journey) is Outcome.NOT_READ
    assert retention.purge(before=now()).objects == 1


def test_a_frontal_chest_of_unknown_view_is_read_and_the_pixels_are_named_as_evidence(worker: Worker) -> None:
    journey = worker.take_in(make_cr(view=None))
    assert Flag.VIEW_UNKNOWN in worker.row(journey).flags
    assert worker.reader.read(journey) is Outcome.READ
    row = worker.row(journey)
    assert (row.accepted, row.view, row.evidence, row.flags) == (True, "frontal", "the pixels", [])


def test_a_lateral_that_the_network_is_not_sure_of_is_read_with_a_flag(worker: Worker) -> None:
    journey = worker.take_in(make_cr(view=None, lateral=True))
    assert worker.reader.read(journey) is Outcome.READ
    assert Flag.UNLIKE_A_FRONTAL in worker.row(journey).flags


def test_pixels_never_speak_against_a_header_that_names_chest_and_view(worker: Worker) -> None:
    journey = worker.take_in(make_cr(pixels=noise().pixel_array, bits=12))
    assert worker.reader.read(journey) is Outcome.READ
    assert (worker.row(journey).view, worker.row(journey).evidence) == ("PA", "ViewPosition=PA")
