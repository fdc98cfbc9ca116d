"""A radiograph that could not be read: the report that says so and why, once, to who gets reports."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import sqlalchemy as sa
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless
from sqlalchemy.orm import Session

from dicom_node.destination import Destination, ReportClass, ResultChoice, ResultKind
from dicom_node.errors import CannotCompose
from dicom_node.journey.bounds import Bounds
from dicom_node.journey.database import prepare
from dicom_node.journey.ledger import ReadingRow, ReceivedObject, ReturnRow, ReturnState
from dicom_node.journey.outcome import Outcome
from dicom_node.journey.queue import JourneyQueue, Received, journey_of
from dicom_node.journey.reader import Reader
from dicom_node.peers import Peer
from dicom_node.reception.intake import Reason, Refused, judge
from dicom_node.results.compose import compose_failure
from dicom_node.results.shelf import ResultShelf
from dicom_node.settings import Settings
from dicom_node.spool import Spool
from dicom_node.wire import COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR
from pipeline.flow import Networks
from tests.phantom import as_bytes, encapsulated, make_cr
from tests.readings import MODEL, READ_AT

REASON = "All pixels have one grey level."
DESTINATIONS = (
    Destination(peer=Peer("PACS", "127.0.0.1", 104)),
    Destination(peer=Peer("OLD", "127.0.0.1", 105), report_class=ReportClass.COMPREHENSIVE),
    Destination(peer=Peer("VIEWER", "127.0.0.1", 106), objects=(ResultKind.OVERLAY, ResultKind.KEY_OBJECT)),
)


def report_on(source: Dataset, reason: str = REASON, **changes: Any) -> Dataset:
    options: dict[str, Any] = {"model": MODEL, "journey": "j", "view": "PA", "flags": ("view contradicted",), **changes}
    return compose_failure(source, reason, failed_at=READ_AT, **options).structured_report


def texts_of(report: Dataset) -> list[str]:
    return [str(element.value) for element in report.iterall() if element.keyword == "TextValue"]


def test_the_report_says_why_and_holds_no_score() -> None:
    source = make_cr()
    report = report_on(source)
    assert report.SOPClassUID == COMPREHENSIVE_3D_SR
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert (report.StudyInstanceUID, report.PatientName) == (source.StudyInstanceUID, source.PatientName)
    texts = texts_of(report)
    assert any("could not be read" in text and REASON in text for text in texts)
    assert "Remark: view contradicted." in texts
    assert "Investigational. Not for diagnosis." in texts
    values = {element.value for element in report.iterall() if element.keyword == "ValueType"}
    assert "SCOORD" not in values
    assert not [e for e in report.iterall() if e.keyword == "CodeValue" and e.value in ("111012", "363713009")]
    named = {str(e.value) for e in report.iterall() if e.keyword == "ReferencedSOPInstanceUID"}
    assert named == {str(source.SOPInstanceUID)}


def test_one_reason_makes_one_report_and_the_gate_knows_it() -> None:
    source = make_cr()
    assert as_bytes(report_on(source)) == as_bytes(report_on(source))
    others = [
        report_on(source, "Another reason."),
        report_on(source, journey="other"),
        report_on(source, choice=ResultChoice(report_class=ReportClass.COMPREHENSIVE)),
    ]
    assert len({report.SOPInstanceUID for report in (report_on(source), *others)}) == 4
    verdict = judge(report_on(source), Settings())
    assert isinstance(verdict, Refused)
    assert verdict.reason is Reason.OWN_RESULT


def test_a_source_that_nothing_can_refer_to_has_no_report() -> None:
    with pytest.raises(CannotCompose):
        report_on(make_cr(extra={"StudyInstanceUID": None}))


class Ward:
    """A reader, and one radiograph of which only the header is intact."""

    def __init__(self, folder: Path, *, report_failures: bool, **extra: Any) -> None:
        self.settings = Settings(
            data_dir=folder / "data",
            destinations=DESTINATIONS,
            report_failures=report_failures,
            minimum_free_megabytes=0,
        )
        prepare(self.settings)
        self.queue = JourneyQueue(self.settings)
        source = encapsulated(make_cr(extra=extra), b"\xff\x4f\xff\x51 no codestream", JPEG2000Lossless)
        data = as_bytes(source)
        spool = Spool(self.settings.spool_dir, minimum_free_bytes=0)
        temporary = spool.receive(transfer_syntax_uid=ExplicitVRLittleEndian, prefix=data[:0])
        temporary.write(data)
        kept = spool.keep(temporary)
        self.journey = journey_of(source.SOPInstanceUID)
        self.queue.record(
            Received(
                sop_instance_uid=source.SOPInstanceUID, sop_class_uid=source.SOPClassUID,
                transfer_syntax_uid=JPEG2000Lossless, study_instance_uid="1.2.3",
                series_instance_uid=source.SeriesInstanceUID, accession_number="", patient_id="", study_date="",
                digest=kept.digest, size=len(data), calling_ae="CR1", peer_address="127.0.0.1", accepted=True,
                view="PA",
            )
        )  # fmt: skip
        # No radiograph of this test gets as far as the networks: of them only the name matters.
        bounds = Bounds(folder / "worker.reading", megabytes=100_000, seconds=3600)
        self.reader = Reader(self.settings, self.queue.engine, cast(Networks, SimpleNamespace(model=MODEL)), bounds)
        self.reader.heed_last_words()

    def returns(self) -> list[tuple[str, str, str]]:
        with Session(self.queue.engine) as session:
            rows = session.scalars(sa.select(ReturnRow).order_by(ReturnRow.id))
            return [(row.destination.split("@")[0], row.kind, row.sop_instance_uid) for row in rows]

    def failure(self) -> str:
        with Session(self.queue.engine) as session:
            return session.scalars(sa.select(ReadingRow)).one().failure


def test_who_gets_reports_gets_one_on_a_failure_in_its_class_and_only_once(tmp_path: Path) -> None:
    ward = Ward(tmp_path, report_failures=True)
    assert ward.reader.read(ward.journey) is Outcome.FAILED
    first = ward.returns()
    assert [(where, kind) for where, kind, _ in first] == [("PACS", "report"), ("OLD", "report")]
    assert sorted(ward.reader.destinations_of(ward.journey)) == ["OLD@127.0.0.1:105", "PACS@127.0.0.1:104"]
    shelf = ResultShelf(ward.settings.results_dir)
    saved = [dcmread(shelf.path(ward.journey, kind, uid)) for _, kind, uid in first]
    assert [ds.SOPClassUID for ds in saved] == [COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR]
    assert all(any(ward.failure() in text for text in texts_of(ds)) for ds in saved)
    assert ward.reader.read(ward.journey) is Outcome.FAILED
    assert ward.returns() == first


def test_by_default_a_failure_is_only_in_the_ledger(tmp_path: Path) -> None:
    ward = Ward(tmp_path, report_failures=False)
    assert ward.reader.read(ward.journey) is Outcome.FAILED
    assert ward.failure()
    assert ward.returns() == []


def test_an_attempt_is_counted_so_that_what_never_comes_to_an_end_is_set_aside(tmp_path: Path) -> None:
    ward = Ward(tmp_path, report_failures=False)
    ward.reader.read(ward.journey)
    with Session(ward.queue.engine) as session:
        assert session.scalars(sa.select(ReceivedObject.attempts)).one() == 1


def test_a_failure_that_no_report_can_refer_to_is_in_the_ledger_all_the_same(tmp_path: Path) -> None:
    ward = Ward(tmp_path, report_failures=True, StudyInstanceUID=None)
    assert ward.reader.read(ward.journey) is Outcome.FAILED
    assert ward.failure()
    assert ward.returns() == []


def test_a_second_reading_of_what_failed_begins_without_the_report_of_the_first(tmp_path: Path) -> None:
    ward = Ward(tmp_path, report_failures=True)
    ward.reader.read(ward.journey)
    first = ward.returns()
    with Session(ward.queue.engine) as session, session.begin():
        session.execute(sa.update(ReturnRow).values(state=ReturnState.DELIVERED))
    assert ward.queue.retry_readings() == 1
    assert ward.returns() == []
    ward.reader.read(ward.journey)
    assert ward.returns() == first
