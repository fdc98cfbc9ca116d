"""What the node does with a C-STORE: read the header, judge, make durable, hand over, and only then say success."""

from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.filereader import read_file_meta_info
from pynetdicom.events import Event

from dicom_node.errors import AlreadyRead, DoesNotMatch, NodeError, NotUnderstood, OutOfResources
from dicom_node.faultpoints import Point, reach
from dicom_node.journey.queue import JourneyQueue, Received, Recorded
from dicom_node.logs import log
from dicom_node.reception.attributes import text
from dicom_node.reception.header import Header, read_header
from dicom_node.reception.intake import Accepted, Refused, judge
from dicom_node.reception.provider import Arrival, arrival_of
from dicom_node.reception.urgency import Haste, haste
from dicom_node.settings import Settings
from dicom_node.spool import Kept, Spool
from dicom_node.wire import StoreStatus

_STATUS_OF = {
    NotUnderstood: StoreStatus.CANNOT_UNDERSTAND,
    DoesNotMatch: StoreStatus.DOES_NOT_MATCH_SOP_CLASS,
    OutOfResources: StoreStatus.OUT_OF_RESOURCES,
    AlreadyRead: StoreStatus.DUPLICATE_SOP_INSTANCE,
}

_LONGEST_COMMENT = 64  # ErrorComment is LO


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sent an object. priority: of the C-STORE request, None if nobody remembers it."""

    ae_title: str
    address: str
    priority: int | None


class Receiver:
    """Answers C-STORE. One instance serves all associations at the same time."""

    def __init__(self, settings: Settings, queue: JourneyQueue, spool: Spool) -> None:
        self._settings = settings
        self._queue = queue
        self._spool = spool

    def take_up(self, settings: Settings) -> None:
        """Judge by other settings from the next object on."""
        self._settings = settings

    def store(self, event: Event) -> Dataset:
        """Take an object in and answer with a status. Source: PS3.4 table B.2-1.

        0x0000 means that the object is on disk, written into the ledger and, if it is to be read, queued. 0xA700: the
        node cannot take it now. 0x0111, 0xA900 and 0xC000: it never will; recorded with the reason. 0x0110: a fault of
        ours.
        """
        arrival, study, status = arrival_of(event.request), "", StoreStatus.PROCESSING_FAILURE
        try:
            if arrival is None:
                raise NotUnderstood("The C-STORE command came without a data set.")
            study = self._take_in(arrival, event)
            status = StoreStatus.SUCCESS
        except tuple(_STATUS_OF) as e:
            status = _STATUS_OF[type(e)]
            self._record_rejected(event, status, e)
            return _answer(status, e.args[0])
        # The edge: whatever went wrong with this object, the next one is served.
        except Exception:
            log.exception("store failed", sop_instance_uid=str(event.request.AffectedSOPInstanceUID))
            return _answer(StoreStatus.PROCESSING_FAILURE, "The node failed; see its log.")
        finally:
            event.assoc.dimse.traffic.note(status, study)
            if arrival:
                arrival.close()
        return _answer(StoreStatus.SUCCESS, "")

    def _take_in(self, arrival: Arrival, event: Event) -> str:
        """Returns the Study Instance UID."""
        if arrival.problem or arrival.temporary is None:
            raise arrival.problem or NotUnderstood("The data set is empty.")
        arrival.temporary.flush()
        header = self._header(arrival.temporary.path)
        verdict = judge(header.dataset, self._settings)
        reach(Point.OBJECT_JUDGED)
        kept = self._spool.keep(arrival.temporary)
        reach(Point.SPOOL_KEPT)
        requestor = event.assoc.requestor
        sender = Sender(ae_title=requestor.ae_title, address=requestor.address, priority=event.request.Priority)
        self._record(header, verdict, kept, sender)
        return text(header.dataset, "StudyInstanceUID")

    def adopt(self, kept: Kept) -> None:
        """Hand over an object that lies in the spool and that no row knows: its listener died before it wrote one.

        Raises NotUnderstood, DoesNotMatch, OutOfResources or AlreadyRead, like a C-STORE of it; OSError.
        """
        header = self._header(kept.path)
        title = str(read_file_meta_info(kept.path).get("SendingApplicationEntityTitle", ""))
        sender = Sender(ae_title=title, address="", priority=None)
        self._record(header, judge(header.dataset, self._settings), kept, sender)

    def _header(self, path: Path) -> Header:
        return read_header(
            path,
            maximum_bytes=int(self._settings.maximum_object_megabytes * 1e6),
            maximum_pixels=int(self._settings.maximum_megapixels * 1e6),
            scratch=self._spool.incoming,
        )

    def _record(self, header: Header, verdict: Accepted | Refused, kept: Kept, sender: Sender) -> None:
        hurry = haste(header.dataset, calling_ae=sender.ae_title, priority=sender.priority, settings=self._settings)
        received = _received(header, kept, sender, verdict, hurry)
        try:
            recorded = self._queue.record(received)
        except AlreadyRead:
            self._spool.remove(kept)
            raise
        reach(Point.OBJECT_RECORDED)
        log.info(
            "received",
            sop_instance_uid=received.sop_instance_uid,
            accepted=received.accepted and recorded not in (Recorded.DIFFERENT, Recorded.OWN),
            reason=received.reason,
            view=received.view,
            recorded=recorded.value,
            bytes=kept.size,
            calling_ae=received.calling_ae,
            urgency=received.urgency.value,
        )

    def _record_rejected(self, event: Event, status: StoreStatus, problem: NodeError) -> None:
        uid, reason = str(event.request.AffectedSOPInstanceUID), problem.args[0]
        requestor = event.assoc.requestor
        log.warning("refused", sop_instance_uid=uid, status=f"0x{status:04X}", reason=reason)
        try:
            self._queue.record_rejected(
                sop_instance_uid=uid,
                sop_class_uid=str(event.request.AffectedSOPClassUID),
                calling_ae=requestor.ae_title,
                peer_address=requestor.address,
                status=status,
                reason=reason,
            )
        except OutOfResources as e:
            log.warning("refusal not recorded", sop_instance_uid=uid, error=str(e))


def _received(header: Header, kept: Kept, sender: Sender, verdict: Accepted | Refused, hurry: Haste) -> Received:
    dataset = header.dataset
    accepted = isinstance(verdict, Accepted)
    return Received(
        sop_instance_uid=text(dataset, "SOPInstanceUID"),
        sop_class_uid=text(dataset, "SOPClassUID"),
        transfer_syntax_uid=header.transfer_syntax_uid,
        study_instance_uid=text(dataset, "StudyInstanceUID"),
        series_instance_uid=text(dataset, "SeriesInstanceUID"),
        accession_number=text(dataset, "AccessionNumber"),
        patient_id=text(dataset, "PatientID"),
        study_date=text(dataset, "StudyDate"),
        digest=kept.digest,
        size=kept.size,
        calling_ae=sender.ae_title,
        peer_address=sender.address,
        accepted=accepted,
        reason="" if isinstance(verdict, Accepted) else verdict.reason.value,
        detail="" if isinstance(verdict, Accepted) else verdict.detail,
        view=verdict.view.value if isinstance(verdict, Accepted) else "",
        evidence=verdict.evidence if isinstance(verdict, Accepted) else "",
        flags=tuple(str(flag) for flag in verdict.flags) if isinstance(verdict, Accepted) else (),
        urgency=hurry.urgency,
        urgency_evidence=hurry.evidence,
    )


def _answer(status: StoreStatus, comment: str) -> Dataset:
    answer = Dataset()
    answer.Status = int(status)
    if comment:
        answer.ErrorComment = comment[:_LONGEST_COMMENT]
    return answer
