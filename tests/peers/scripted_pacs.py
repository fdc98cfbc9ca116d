"""A storage SCP that answers as a test tells it, for what a healthy PACS never does."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from dicom_node.peers import Peer
from dicom_node.wire import RADIOGRAPHS, RESULTS


@dataclass
class ScriptedPacs:
    """What the SCP got, and what it says next.

    answer: status of a C-STORE. abort: whether it aborts instead. action: status of an N-ACTION, or None for an abort.
    failure: Failure Reason of an object that it does not commit, None if it does. report_to: the node to which it
    reports on an association of its own; None: on that of the request, if `reports`. found: whether a C-FIND finds an
    object, or None for an abort.
    """

    peer: Peer
    answer: Callable[[Dataset], int] = lambda _: 0x0000
    stored: list[Dataset] = field(default_factory=list)
    offered: list[str] = field(default_factory=list)
    abort: bool = False
    action: int | None = 0x0000
    failure: Callable[[str], int | None] = lambda _: None
    reports: bool = True
    report_to: Peer | None = None
    found: Callable[[str], bool | None] = lambda _: True
    associations: int = 0
    requests: list[Dataset] = field(default_factory=list)
    queries: list[Dataset] = field(default_factory=list)
    reported: list[int] = field(default_factory=list)
    """What the node answered to each report."""

    def uids(self) -> list[str]:
        return [str(ds.SOPInstanceUID) for ds in self.stored]

    def report_on(self, request: Dataset) -> Dataset:
        """What it has to say to an N-ACTION."""
        report = Dataset()
        report.TransactionUID = request.TransactionUID
        report.ReferencedSOPSequence, report.FailedSOPSequence = [], []
        for asked in request.ReferencedSOPSequence:
            item = Dataset()
            item.ReferencedSOPClassUID = asked.ReferencedSOPClassUID
            item.ReferencedSOPInstanceUID = asked.ReferencedSOPInstanceUID
            reason = self.failure(str(asked.ReferencedSOPInstanceUID))
            if reason is None:
                report.ReferencedSOPSequence.append(item)
            else:
                item.FailureReason = reason
                report.FailedSOPSequence.append(item)
        return report

    def report(self, request: Dataset) -> int:
        """Report on an association of its own; returns what the node answers."""
        assert self.report_to is not None
        return send_report(self.report_to, self.report_on(request), calling_ae=self.peer.ae_title)


def send_report(
    node: Peer, report: Dataset, *, calling_ae: str, event_type: int | None = None, roles: bool = True
) -> int:
    """Report storage commitment on a new association; returns what the node answers, or fails if it takes none.

    roles: whether to say by role selection that the caller is the SCP, as PS3.4 J.3.3 asks.
    """
    ae = AE(ae_title=calling_ae)
    ae.add_requested_context(StorageCommitmentPushModel)
    role = [build_role(StorageCommitmentPushModel, scp_role=True)] if roles else []
    association = ae.associate(node.host, node.port, ae_title=node.ae_title, ext_neg=role)
    assert association.is_established, "the node takes no report"
    try:
        return _send_report(association, report, event_type)
    finally:
        association.release()


def _send_report(association: Association, report: Dataset, event_type: int | None = None) -> int:
    if event_type is None:
        event_type = 2 if report.get("FailedSOPSequence") else 1
    # pynetdicom lets only an SCP send it; who has not selected a role is one all the same.
    for context in association.accepted_contexts:
        context._as_scp = True
    status, _ = association.send_n_event_report(
        report, event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    answered: int = status.Status
    return answered


@contextmanager
def scripted_pacs(
    *,
    ae_title: str = "SCRIPTED",
    require_called: bool = True,
    port: int = 0,
    compression: Sequence[UID] = (),
    commitment: bool = False,
    query: bool = False,
    storage: bool = True,
) -> Iterator[ScriptedPacs]:
    """Run the SCP on a free port of the loopback address.

    compression: transfer syntaxes that it also takes. commitment, query, storage: whether it accepts presentation
    contexts of these.
    """
    ae = AE(ae_title=ae_title)
    ae.require_called_aet = require_called
    ae.add_supported_context(Verification)
    for sop_class in (*RADIOGRAPHS, *RESULTS) if storage else ():
        ae.add_supported_context(sop_class, [ExplicitVRLittleEndian, ImplicitVRLittleEndian, *compression])
    if commitment:
        ae.add_supported_context(StorageCommitmentPushModel)
    if query:
        ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)

    def accepted(_: evt.Event) -> None:
        pacs.associations += 1

    def store(event: evt.Event) -> int:
        ds = event.dataset
        pacs.offered.append(str(ds.SOPInstanceUID))
        if pacs.abort:
            event.assoc.abort()
            return 0x0110
        status = pacs.answer(ds)
        if status in (0x0000, 0xB000):
            ds.file_meta = event.file_meta
            pacs.stored.append(ds)
        return status

    def act(event: evt.Event) -> tuple[int, None]:
        request = event.action_information
        pacs.requests.append(request)
        if pacs.action is None:
            event.assoc.abort()
            return 0x0110, None
        if pacs.action == 0x0000 and (pacs.reports or pacs.report_to):
            answered = threading.Event()
            event.assoc.bind(evt.EVT_PDU_SENT, lambda _: answered.set())
            threading.Thread(target=follow_up, args=(event.assoc, request, answered), daemon=True).start()
        return pacs.action, None

    def follow_up(association: Association, request: Dataset, answered: threading.Event) -> None:
        answered.wait(10)  # a report before the answer to the request would be out of order
        if pacs.report_to is not None:
            pacs.reported.append(pacs.report(request))
        else:
            pacs.reported.append(_send_report(association, pacs.report_on(request)))

    def find(event: evt.Event) -> Iterator[tuple[int, Any]]:
        pacs.queries.append(event.identifier)
        found = pacs.found(str(event.identifier.SOPInstanceUID))
        if found is None:
            event.assoc.abort()
            return
        if found:
            yield 0xFF00, event.identifier

    handlers = [
        (evt.EVT_ACCEPTED, accepted),
        (evt.EVT_C_STORE, store),
        (evt.EVT_N_ACTION, act),
        (evt.EVT_C_FIND, find),
    ]
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    assert server is not None
    pacs = ScriptedPacs(Peer(ae_title, "127.0.0.1", server.socket.getsockname()[1]))
    try:
        yield pacs
    finally:
        server.shutdown()
