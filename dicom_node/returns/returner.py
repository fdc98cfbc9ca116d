"""Give objects to a peer by C-STORE."""

import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pydicom import Dataset, dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.status import code_to_category

from dicom_node.errors import PeerUnreachable
from dicom_node.faultpoints import Point, reach
from dicom_node.settings import Peer

PDU_LENGTH: Final = 131_072
MAXIMUM_CONTEXTS: Final = 128
"""PS3.8 9.3.2.2: presentation context ids are the odd numbers up to 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the peer said to one object. `status` is None when it accepts no presentation context for the object."""

    status: int | None
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


def associate(peer: Peer, contexts: Sequence[PresentationContext], *, calling_ae: str, timeout: float) -> Association:
    """Open an association.

    timeout: seconds to wait for connection and answers.
    Raises PeerUnreachable if there is none, with what the peer or the network said.
    """
    ae = AE(ae_title=calling_ae)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = timeout
    association = ae.associate(
        peer.host,
        peer.port,
        contexts=list(contexts),
        ae_title=peer.ae_title,
        max_pdu=PDU_LENGTH,
        evt_handlers=[(evt.EVT_CONN_OPEN, _send_at_once)],
    )
    if association.is_established:
        return association
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        why = f"rejected the association: {answer.reason_str}"
    elif answer is not None:
        why = "accepts none of our presentation contexts"
    else:
        why = "does not answer"
    raise PeerUnreachable(f"{peer} {why}.")


def _send_at_once(event: evt.Event) -> None:
    # Nagle's algorithm would hold back each small message for 40 ms and more.
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Sender:
    """One association on which objects go to a peer; a context manager."""

    def __init__(self, peer: Peer, kinds: Iterable[tuple[UID, UID]], *, calling_ae: str, timeout: float) -> None:
        """Prepare to send objects of `kinds`, pairs of SOP class and transfer syntax, at most 128 of them.

        `contexts` is then what will be proposed to the peer.
        """
        self._peer = peer
        self._calling_ae = calling_ae
        self._timeout = timeout
        # What is not compressed can be sent in either form; what is compressed needs a context of its own.
        offers = {
            (sop_class, (syntax,) if syntax.is_compressed else (ExplicitVRLittleEndian, ImplicitVRLittleEndian))
            for sop_class, syntax in kinds
        }
        self.contexts = [build_context(sop_class, list(syntaxes)) for sop_class, syntaxes in sorted(offers)]

    def __enter__(self) -> Self:
        """Raises PeerUnreachable."""
        self._association = associate(self._peer, self.contexts, calling_ae=self._calling_ae, timeout=self._timeout)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._association.is_established:
            self._association.release()

    def send(self, dataset: Dataset) -> Answer:
        """Send one object; raises PeerUnreachable if the peer went away before it answered."""
        try:
            response = self._association.send_c_store(dataset)
        except ValueError as e:
            if "presentation context" not in str(e):
                raise
            return Answer(status=None)
        except RuntimeError:  # the association ended before this object
            response = Dataset()
        if "Status" not in response:  # time-out or abort: the peer may or may not have it
            raise PeerUnreachable(f"{self._peer} went away before it answered.")
        return Answer(status=response.Status, comment=str(response.get("ErrorComment", "")))


def return_to(peer: Peer, objects: Sequence[Path], *, calling_ae: str, timeout: float) -> list[Answer]:
    """Store `objects` (DICOM files) at `peer` in their order, on one association.

    Returns an answer for each object that the peer answered; fewer than `objects` if it went away in between.
    Raises PeerUnreachable if there was no association at all.
    """
    datasets = [dcmread(path) for path in objects]
    answers: list[Answer] = []
    kinds = {(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID) for ds in datasets}
    with Sender(peer, kinds, calling_ae=calling_ae, timeout=timeout) as sender:
        reach(Point.ASSOCIATED)
        for ds in datasets:
            try:
                answers.append(sender.send(ds))
                reach(Point.RESULT_SENT)
            except PeerUnreachable:
                break
    return answers
