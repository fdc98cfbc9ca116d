"""Storage commitment: ask a peer to keep objects for good, and understand its report. Source: PS3.4 annex J."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import evt

from dicom_node.errors import OutOfResources
from dicom_node.logs import log
from dicom_node.wire import CommitmentFailure, ReportStatus

REQUEST: Final = 1
"""Action Type ID. PS3.4 table J.3-1."""
ALL_COMMITTED: Final = 1
FAILURES_EXIST: Final = 2
"""Event Type IDs. PS3.4 table J.3-2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the peer said to one request. Of an object that stands in neither, it said nothing.

    committed: SOP Instance UIDs. failed: SOP Instance UID -> Failure Reason (0008,1197).
    """

    transaction_uid: str
    committed: tuple[str, ...]
    failed: Mapping[str, int]


def request(transaction_uid: str, objects: Iterable[tuple[str, str]]) -> Dataset:
    """Action Information that asks for `objects`, pairs of SOP class and SOP instance. PS3.4 table J.3-1."""
    information = Dataset()
    information.TransactionUID = UID(transaction_uid)
    information.ReferencedSOPSequence = [_reference(*uids) for uids in objects]
    return information


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = UID(sop_class_uid)
    reference.ReferencedSOPInstanceUID = UID(sop_instance_uid)
    return reference


def read_report(information: Dataset) -> Report:
    """Understand Event Information. PS3.4 table J.3-2.

    An object that the peer calls both committed and failed has failed.
    Raises ValueError if it names no transaction, or an object without saying which or why.
    """
    try:
        transaction = str(information.TransactionUID)
        failed = {
            str(item.ReferencedSOPInstanceUID): int(item.FailureReason)
            for item in information.get("FailedSOPSequence") or []
        }
        committed = [str(item.ReferencedSOPInstanceUID) for item in information.get("ReferencedSOPSequence") or []]
    except (AttributeError, TypeError) as e:
        raise ValueError(f"the report is not complete: {e}") from None
    if not transaction:
        raise ValueError("the report names no transaction")
    return Report(
        transaction_uid=transaction, committed=tuple(uid for uid in committed if uid not in failed), failed=failed
    )


def answer_report(event: evt.Event, record: Callable[[Report], bool], *, reporter: str) -> tuple[int, None]:
    """Hand a report over, and answer it.

    record: says whether `reporter`, an AE title, was asked this by us; raises OutOfResources if it cannot tell now.
    Returns a `ReportStatus`, for pynetdicom: a report that came before is success, one to a request that `reporter`
    never got from us is an invalid argument, and no reason to do anything else.
    """
    if event.event_type not in (ALL_COMMITTED, FAILURES_EXIST):
        return ReportStatus.NO_SUCH_EVENT_TYPE, None
    try:
        report = read_report(event.event_information)
    # The edge: a data set of a peer may be anything, and pydicom converts it when it is looked at.
    except Exception as e:
        log.warning("storage commitment report not understood", peer=reporter, error=type(e).__name__)
        return ReportStatus.INVALID_ARGUMENT_VALUE, None
    try:
        known = record(report)
    except OutOfResources as e:
        log.warning("storage commitment report not recorded", peer=reporter, error=str(e))
        return ReportStatus.RESOURCE_LIMITATION, None
    log.info(
        "storage commitment reported",
        peer=reporter,
        known=known,
        committed=len(report.committed),
        failed=len(report.failed),
    )
    return (ReportStatus.SUCCESS if known else ReportStatus.INVALID_ARGUMENT_VALUE), None


def failure_in_words(reason: int) -> str:
    """For the ledger and for people."""
    try:
        name = CommitmentFailure(reason).name.replace("_", " ").lower()
    except ValueError:
        name = "a reason of its own"
    return f"0x{reason:04X}, {name}"
