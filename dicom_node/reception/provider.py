"""How pynetdicom receives for the node: data sets go to the spool as they come, and no peer fills the memory.

pynetdicom can write a C-STORE to a temporary file (STORE_RECV_CHUNKED_DATASET), but only under the one temporary folder
of the process, without a limit, and a full disk ends its thread without an answer. The same hook is used here, per
association.
"""

import queue
import socket
import time
from contextlib import suppress
from io import BytesIO
from typing import Final

from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import create_file_meta
from pynetdicom.fsm import StateMachine
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import AssociationServer, RequestHandler

from dicom_node.errors import DoesNotMatch, NodeError, OutOfResources
from dicom_node.faultpoints import Point, reach
from dicom_node.logs import log
from dicom_node.peers import parse_ae_title
from dicom_node.reception.header import is_uid
from dicom_node.reception.peer_socket import QUIET_WAIT_SECONDS, PeerSocket
from dicom_node.reception.traffic import Traffic
from dicom_node.spool import Spool, Temporary
from dicom_node.wire import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

SLOWEST_PACE: Final = 8 * 1024
"""Bytes per second. A message has the network time-out, and then as long as it needs at this pace."""

_STALL_SECONDS: Final = 2.0
"""A message that stops, or comes too slowly, for this time no longer keeps its association from making room."""

_NEGOTIATION_SECONDS: Final = 5.0

_MOST_OUTSTANDING: Final = 8
"""Messages that a peer may send without waiting for an answer; negotiated is 1. PS3.7 D.3.3.3."""


class Arrival:
    """A data set on its way from the peer to the spool.

    `problem` says why it will be refused; from then on what comes is dropped, so that the peer gets a proper answer.
    """

    def __init__(
        self, spool: Spool, message: C_STORE_RQ, transfer_syntax: UID, *, calling_ae: str, maximum_bytes: int
    ) -> None:
        self.temporary: Temporary | None = None
        self.problem: NodeError | None = None
        self._maximum_bytes = maximum_bytes
        command = message.command_set
        uids = str(command.get("AffectedSOPClassUID", "")), str(command.get("AffectedSOPInstanceUID", ""))
        if not all(map(is_uid, uids)):
            self.problem = DoesNotMatch("A UID of the C-STORE command is not a UID.")
            return
        prefix = BytesIO(b"\0" * 128 + b"DICM")
        prefix.seek(0, 2)
        meta = create_file_meta(
            sop_class_uid=UID(uids[0]),
            sop_instance_uid=UID(uids[1]),
            transfer_syntax=transfer_syntax,
            implementation_uid=IMPLEMENTATION_CLASS_UID,
            implementation_version=IMPLEMENTATION_VERSION_NAME,
        )
        with suppress(ValueError):  # some peers call themselves what no element may hold
            meta.SendingApplicationEntityTitle = parse_ae_title(calling_ae)
        write_file_meta_info(prefix, meta)
        try:
            self.temporary = spool.receive(transfer_syntax_uid=str(transfer_syntax), prefix=prefix.getvalue())
        except OutOfResources as e:
            self.problem = e

    @property
    def name(self) -> str:
        """Path of the temporary file, which pynetdicom removes after the handler."""
        return str(self.temporary.path) if self.temporary else ""

    @property
    def file(self) -> "Arrival":
        """What pynetdicom flushes after each piece."""
        return self

    def flush(self) -> None:
        """Nothing: the file is flushed once, when all has come."""

    def write(self, data: bytes) -> None:
        """Take a piece of the data set; called by pynetdicom."""
        if self.problem or not self.temporary:
            return
        try:
            self.temporary.write(data)
        except OutOfResources as e:
            self._refuse(e)
        if self.temporary.size > self._maximum_bytes:
            self._refuse(DoesNotMatch("The object is larger than maximum_object_megabytes."))

    def close(self) -> None:
        """Remove the temporary file unless it was kept."""
        if self.temporary:
            self.temporary.discard()

    def _refuse(self, problem: NodeError) -> None:
        self.problem = problem
        self.close()


class _TooMuch(Exception):
    """The peer does what no honest one does."""


class SpoolingProvider(DIMSEServiceProvider):  # type: ignore[misc]
    """DIMSE for one association, with the data sets of C-STORE going to the spool."""

    def __init__(self, association: Association, spool: Spool, *, maximum_bytes: int, timeout: float) -> None:
        """timeout: seconds that a message may take, beside what it needs at the slowest pace."""
        super().__init__(association)
        self.message: DIMSEMessage | None
        self._spool = spool
        self._maximum_bytes = maximum_bytes
        self._arrival: Arrival | None = None
        self._timeout = timeout
        self._serving = False
        self._last = self._begun = time.monotonic()
        self._bytes = 0
        self.traffic = Traffic()

    @property
    def idle(self) -> float:
        """Seconds since the last message ended; 0 while one is served, or comes as fast as it should."""
        if not self.busy:
            return time.monotonic() - self._last
        if self.message is None or self._serving:
            return 0.0
        now = time.monotonic()
        slow = self._bytes < (now - self._begun) * SLOWEST_PACE
        return max(0.0, now - (self._begun if slow else self._last) - _STALL_SECONDS)

    @property
    def busy(self) -> bool:
        """Whether a message is being received or awaits its answer."""
        return self.message is not None or not self.msg_queue.empty() or self._serving

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take a PDU of the peer; runs in the thread that reads its socket."""
        try:
            self._keep_pace(primitive)
            for value in primitive.presentation_data_value_list:
                piece = P_DATA()
                piece.presentation_data_value_list = [list(value)]
                super().receive_primitive(piece)
                self._look_at(self.message)
        except _TooMuch as e:
            log.warning("peer hung up on", peer=self.assoc.requestor.address, reason=str(e))
            self._abort()
        # A command set may hold anything, and pynetdicom converts it without care: end the association, not its thread.
        except Exception as e:
            log.warning("message not understood", peer=self.assoc.requestor.address, error=type(e).__name__)
            self._abort()

    def _abort(self) -> None:
        self.drop()
        self.message = None
        self.dul.event_queue.put("Evt19")  # PS3.8 table 9-10: unrecognised PDU, abort

    def _keep_pace(self, primitive: P_DATA) -> None:
        """Raise _TooMuch if the peer takes for ever to say something, or does not wait for answers."""
        now = time.monotonic()
        if self.message is None:
            self._begun, self._bytes = now, 0
        self._last = now
        self._bytes += sum(len(value[1]) for value in primitive.presentation_data_value_list)
        if now - self._begun > self._timeout + self._bytes / SLOWEST_PACE:
            raise _TooMuch("its message comes too slowly")
        if self.msg_queue.qsize() > _MOST_OUTSTANDING:
            raise _TooMuch("it does not wait for answers")

    def _look_at(self, message: DIMSEMessage | None) -> None:
        if message is None:
            self._arrival = None  # complete: it belongs to the handler now
        elif isinstance(message, C_STORE_RQ) and self._arrival is None:
            context = self.assoc._accepted_cx[message.context_id]
            self._arrival = Arrival(
                self._spool,
                message,
                context.transfer_syntax[0],
                calling_ae=self.assoc.requestor.ae_title,
                maximum_bytes=self._maximum_bytes,
            )
            message._data_set_file = self._arrival

    def get_msg(self, block: bool = False) -> tuple[int | None, object]:
        """Hand the next complete message to the association's thread, which asks a thousand times a second.

        While the peer is quiet it waits here instead; a release then takes that much longer.
        """
        if not block and self.dul.socket is not None and self.dul.socket.quiet:
            try:
                context_id, message = self.msg_queue.get(timeout=QUIET_WAIT_SECONDS)
            except queue.Empty:
                return None, None
        else:
            self._serving = True
            context_id, message = super().get_msg(block)
        self._serving = message is not None
        return context_id, message

    def send_msg(self, primitive: object, context_id: int) -> None:
        """Answer the peer."""
        super().send_msg(primitive, context_id)
        self._last = time.monotonic()
        self._serving = False
        if isinstance(primitive, C_STORE):
            reach(Point.STORE_ANSWERED)

    def drop(self) -> None:
        """Forget the data set that was coming when the connection ended."""
        arrival, self._arrival = self._arrival, None
        if arrival:
            arrival.close()

    def clear(self) -> None:
        """Forget all that the association never came to serve; its threads have ended."""
        self.drop()
        while not self.msg_queue.empty():
            _, message = self.msg_queue.get_nowait()
            if isinstance(message, C_STORE) and (unserved := arrival_of(message)):
                unserved.close()


def arrival_of(request: C_STORE) -> Arrival | None:
    """The data set that came with a C-STORE request; None if it came without."""
    arrival: Arrival | None = request._dataset_file
    return arrival


class _Machine(StateMachine):  # type: ignore[misc]
    """pynetdicom's state machine, which ends an association instead of its thread when a peer comes between."""

    def do_action(self, event: str) -> None:
        """Do what PS3.8 table 9-10 says; where it says nothing, or the PDU makes no sense, hang up."""
        try:
            super().do_action(event)
        # The edge of an association: an acceptance of ours that an abort of the peer overtakes, values out of range.
        except Exception as e:
            log.warning("peer hung up on", peer=self.dul.assoc.requestor.address, reason=type(e).__name__)
            association = self.dul.assoc
            association.is_aborted, association.is_established = True, False
            association._kill = self.dul._kill_thread = True
            if self.dul.socket is not None:
                self.dul.socket._shutdown_socket()


class Handler(RequestHandler):  # type: ignore[misc]
    """Makes an association of a connection whose A-ASSOCIATE-RQ has come, one that receives into the spool."""

    def __init__(
        self,
        connection: socket.socket,
        address: object,
        server: AssociationServer,
        *,
        first: bytes,
        spool: Spool,
        maximum_bytes: int,
        timeout: float,
    ) -> None:
        """first: what the connection has said so far. `association` is then running."""
        self._first, self._spool, self._maximum_bytes, self._timeout = first, spool, maximum_bytes, timeout
        self.association: Association
        super().__init__(connection, address, server)

    def _create_association(self) -> Association:
        association = super()._create_association()
        association.dul.event_queue.get()  # Evt5 of the socket that is replaced
        association.dul.socket = PeerSocket(association, self.request, self._first, timeout=self._timeout)
        association.dimse = SpoolingProvider(
            association, self._spool, maximum_bytes=self._maximum_bytes, timeout=self._timeout
        )
        association.dul.state_machine = _Machine(association.dul)
        # The request is here already: what does not become an association of it at once never will.
        association.acse_timeout = min(self._timeout, _NEGOTIATION_SECONDS)
        self.association = association
        return association
