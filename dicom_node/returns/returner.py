"""Give objects to a peer by C-STORE."""

import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.status import code_to_category

from dicom_node import steady  # noqa: F401
from dicom_node.errors import ConfigurationError, NoContextAccepted, PeerUnreachable
from dicom_node.peers import Peer, Tls
from dicom_node.returns.commitment import REQUEST, request
from dicom_node.returns.compression import compress
from dicom_node.returns.query import finds
from dicom_node.returns.streaming import StreamingProvider
from dicom_node.tls import client_context
from dicom_node.wire import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    PLAIN,
    SECONDARY_CAPTURE,
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
    ReportStatus,
)

PDU_LENGTH: Final = 131_072
MAXIMUM_CONTEXTS: Final = 128
"""PS3.8 9.3.2.2: presentation context ids are the odd numbers up to 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the peer said to one object. `status` is None when it accepts no presentation context for the object.

    transfer_syntax: in which the object went.
    """

    status: int | None
    transfer_syntax: UID | None = None
    comment: str = ""

    @property
    def delivered(self) -> bool:
        """Success, or a warning such as coercion of data elements: stored all the same. PS3.4 table B.2-1."""
        return self.status is not None and code_to_category(self.status) in ("Success", "Warning")

    @property
    def in_words(self) -> str:
        """For the ledger and for people."""
        if self.status is None:
            return "it accepts no presentation context for this object"
        return f"status 0x{self.status:04X}{': ' if self.comment else ''}{self.comment}"


def associate(
    peer: Peer,
    contexts: Sequence[PresentationContext],
    *,
    calling_ae: str,
    timeout: float,
    tls: Tls | None = None,
    handlers: Sequence[tuple[Any, Callable[[evt.Event], Any]]] = (),
) -> Association:
    """Open an association.

    timeout: seconds to wait for connection and answers. tls: None: not encrypted. handlers: of pynetdicom's events,
    besides our own.
    Raises PeerUnreachable if there is none, with what the peer or the network said; it is a NoContextAccepted if the
    peer is there, but takes nothing of what was proposed.
    """
    ae = AE(ae_title=calling_ae)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = timeout
    try:
        tls_args = (client_context(tls), peer.host) if tls else None
    except ConfigurationError as e:
        raise PeerUnreachable(f"{peer} is not called: {e.args[0]}", hint=e.hint) from None
    association = ae.associate(
        peer.host,
        peer.port,
        contexts=list(contexts),
        ae_title=peer.ae_title,
        max_pdu=PDU_LENGTH,
        tls_args=tls_args,
        evt_handlers=[(evt.EVT_CONN_OPEN, _send_at_once), *handlers],
    )
    if association.is_established:
        return association
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        why = f"rejected the association: {answer.reason_str}"
    elif answer is not None:
        raise NoContextAccepted(f"{peer} accepts none of our presentation contexts.")
    else:
        why = "does not answer, or one side does not trust the other's certificate" if tls else "does not answer"
    raise PeerUnreachable(f"{peer} {why}.")


def _send_at_once(event: evt.Event) -> None:
    connection = event.assoc.dul.socket.socket
    # Nagle's algorithm would hold back each small message for 40 ms and more.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A peer that stops reading in the middle of an object must not hold a thread for ever.
    connection.settimeout(event.assoc.network_timeout)
    event.assoc.dimse = StreamingProvider(event.assoc)


class Sender:
    """One association on which objects go to a peer; a context manager."""

    def __init__(
        self,
        peer: Peer,
        kinds: Iterable[tuple[UID, UID]],
        *,
        calling_ae: str,
        timeout: float,
        tls: Tls | None = None,
        compression: Sequence[UID] = (),
        services: Iterable[UID] = (),
        on_report: Callable[[evt.Event], tuple[int, None]] | None = None,
    ) -> None:
        """Prepare to send objects of `kinds`, pairs of SOP class and transfer syntax, at most 128 of them.

        compression: lossless transfer syntaxes that a Secondary Capture is offered in, too, the best first.
        services: other SOP classes to propose. on_report: answers an N-EVENT-REPORT that comes meanwhile.
        `contexts` is then what will be proposed to the peer.
        """
        self._peer = peer
        self._calling_ae = calling_ae
        self._timeout = timeout
        self._tls = tls
        self._compression = compression
        self._on_report = on_report
        self._heard = False
        self._answered = threading.Event()
        # What is not compressed can be sent in either form; what is compressed needs a context of its own.
        offers = {(sop_class, (syntax,) if syntax.is_compressed else PLAIN) for sop_class, syntax in kinds}
        if any(sop_class == SECONDARY_CAPTURE for sop_class, _ in offers):
            offers |= {(SECONDARY_CAPTURE, (syntax,)) for syntax in compression}
        offers |= {(service, PLAIN) for service in services}
        self.contexts = [build_context(sop_class, list(syntaxes)) for sop_class, syntaxes in sorted(offers)]

    def __enter__(self) -> Self:
        """Raises PeerUnreachable."""
        self._association = associate(
            self._peer,
            self.contexts,
            calling_ae=self._calling_ae,
            timeout=self._timeout,
            tls=self._tls,
            handlers=[(evt.EVT_N_EVENT_REPORT, self._hear), (evt.EVT_PDU_SENT, self._look_whether_answered)],
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._association.is_established:
            return
        # Not in this thread: pynetdicom waits without a limit for its own, which a report may have kept busy.
        release = threading.Thread(target=self._association.release, daemon=True)
        release.start()
        release.join(2 * self._timeout)
        if release.is_alive():
            self._association.abort(block=False)

    def send(self, dataset: Dataset, *, file: Path | None = None) -> Answer:
        """Send one object; raises PeerUnreachable if the peer went away before it answered.

        A Secondary Capture is compressed first, in place, if the peer accepts that. file: where `dataset` lies; sent as
        it is, without a copy in memory, if the peer takes it so.
        """
        contexts = [c for c in self._association.accepted_contexts if c.abstract_syntax == dataset.SOPClassUID]
        accepted = [c.transfer_syntax[0] for c in contexts]
        chosen = next((syntax for syntax in self._compression if syntax in accepted), None)
        if (
            chosen
            and dataset.SOPClassUID == SECONDARY_CAPTURE
            and not dataset.file_meta.TransferSyntaxUID.is_compressed
        ):
            compress(dataset, chosen)
            file = None
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax not in accepted:  # pynetdicom puts what is not compressed into another form that is not
            syntax = next((other for other in accepted if not other.is_compressed), None)
        try:
            as_it_lies = file is not None and dataset.file_meta.TransferSyntaxUID in accepted
            response = self._association.send_c_store(file if as_it_lies else dataset)
        except ValueError as e:
            if "presentation context" not in str(e):
                raise
            return Answer(status=None)
        except RuntimeError:  # the association ended before this object
            response = Dataset()
        return self._answer(response, syntax)

    def accepts(self, service: UID) -> bool:
        """Whether the peer takes requests of this SOP class."""
        return any(context.abstract_syntax == service for context in self._association.accepted_contexts)

    def ask_for_commitment(self, transaction_uid: str, objects: Iterable[tuple[str, str]]) -> Answer:
        """Ask the peer to keep `objects`, pairs of SOP class and SOP instance UID; its report comes later.

        Raises PeerUnreachable if it went away before it answered.
        """
        try:
            response, _ = self._association.send_n_action(
                request(transaction_uid, objects), REQUEST, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
            )
        except RuntimeError:  # the association ended before
            response = Dataset()
        return self._answer(response)

    def wait_for_report(self, seconds: float) -> None:
        """Wait until a report has come on this association and was answered; `seconds` at most."""
        self._answered.wait(seconds)

    def _hear(self, event: evt.Event) -> tuple[int, None]:
        answer = self._on_report(event) if self._on_report else (ReportStatus.INVALID_ARGUMENT_VALUE, None)
        self._heard = True
        return answer

    def _look_whether_answered(self, event: evt.Event) -> None:
        # To release the association before the answer has left would be a fault of the protocol (PS3.8 table 9-10).
        if self._heard and isinstance(event.pdu, P_DATA_TF):
            self._answered.set()

    def finds(self, header: Dataset) -> bool | None:
        """Whether the peer finds an object of these UIDs; None if it answers with a failure.

        Raises PeerUnreachable if it went away before it answered.
        """
        try:
            return finds(self._association, header)
        except (RuntimeError, ConnectionError):  # the association ended before, or meanwhile
            raise PeerUnreachable(f"{self._peer} went away before it answered.") from None

    def _answer(self, response: Dataset, syntax: UID | None = None) -> Answer:
        if "Status" not in response:  # time-out or abort: the peer may or may not have it
            raise PeerUnreachable(f"{self._peer} went away before it answered.")
        return Answer(status=response.Status, transfer_syntax=syntax, comment=str(response.get("ErrorComment", "")))
