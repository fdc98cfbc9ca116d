"""How pynetdicom receives for the node: data sets go to the spool as they come, and no peer fills the memory.

pynetdicom can write a C-STORE to a temporary file (STORE_RECV_CHUNKED_DATASET), but only under the one temporary folder
of the process, without a limit, and a full disk ends its thread without an answer. The same hook is used here, per
association.
"""

import socket
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
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import AssociationSocket, RequestHandler

from dicom_node.errors import DoesNotMatch, NodeError, OutOfResources
from dicom_node.faultpoints import Point, reach
from dicom_node.logs import log
from dicom_node.reception.header import is_uid
from dicom_node.settings import parse_ae_title
from dicom_node.spool import Spool, Temporary
from dicom_node.wire import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

MAXIMUM_PDU: Final = 131_072
"""Length of PDU that the node asks for: eight times less work for each than with the usual 16 KiB."""

_LARGEST_PDU_TAKEN: Final = 2**20
"""A-ASSOCIATE-RQ has no limit of its own; 128 presentation contexts with all transfer syntaxes fit well."""


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


class SpoolingProvider(DIMSEServiceProvider):  # type: ignore[misc]
    """DIMSE for one association, with the data sets of C-STORE going to the spool."""

    def __init__(self, association: Association, spool: Spool, *, maximum_bytes: int) -> None:
        super().__init__(association)
        self.message: DIMSEMessage | None
        self._spool = spool
        self._maximum_bytes = maximum_bytes
        self._arrival: Arrival | None = None
        self._serving = False

    @property
    def busy(self) -> bool:
        """Whether a message is being received or awaits its answer."""
        return self.message is not None or not self.msg_queue.empty() or self._serving

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take a PDU of the peer; runs in the thread that reads its socket."""
        try:
            for value in primitive.presentation_data_value_list:
                piece = P_DATA()
                piece.presentation_data_value_list = [list(value)]
                super().receive_primitive(piece)
                self._look_at(self.message)
        # A command set may hold anything, and pynetdicom converts it without care: end the association, not its thread.
        except Exception as e:
            log.warning("message not understood", peer=self.assoc.requestor.address, error=type(e).__name__)
            self.drop()
            self.message = None
            self.dul.event_queue.put("Evt19")  # PS3.8 table 9-10: unrecognised PDU, abort

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
        """Hand the next complete message to the association's thread."""
        self._serving = True
        context_id, message = super().get_msg(block)
        self._serving = message is not None
        return context_id, message

    def send_msg(self, primitive: object, context_id: int) -> None:
        """Answer the peer."""
        super().send_msg(primitive, context_id)
        self._serving = False
        if isinstance(primitive, C_STORE):
            reach(Point.STORE_ANSWERED)

    def drop(self) -> None:
        """Forget the data set that was coming when the connection ended."""
        arrival, self._arrival = self._arrival, None
        if arrival:
            arrival.close()


class PeerSocket(AssociationSocket):  # type: ignore[misc]
    """The peer's connection, with a limit to what one PDU may claim and fewer system calls."""

    def recv(self, nr_bytes: int) -> bytearray:
        """Read `nr_bytes`, or less if the peer closes; raises OSError if the peer stalls or claims too much."""
        if nr_bytes > _LARGEST_PDU_TAKEN:
            raise OSError(f"a PDU of {nr_bytes} bytes is more than any peer needs")
        buffer = bytearray(nr_bytes)
        view, read = memoryview(buffer), 0
        while read < nr_bytes and (count := self.socket.recv_into(view[read:])):
            read += count
        return buffer if read == nr_bytes else buffer[:read]


def arrival_of(request: C_STORE) -> Arrival | None:
    """The data set that came with a C-STORE request; None if it came without."""
    arrival: Arrival | None = request._dataset_file
    return arrival


def request_handler(spool: Spool, *, maximum_bytes: int, timeout: float) -> type[RequestHandler]:
    """The class that pynetdicom's server makes an association with: one that receives into `spool`."""

    class Handler(RequestHandler):  # type: ignore[misc]
        def _create_association(self) -> Association:
            # A peer that stops in the middle of a PDU must not hold a thread for ever.
            self.request.settimeout(timeout)
            # Nagle's algorithm holds small answers back for 40 ms and more.
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            association = super()._create_association()
            association.dul.event_queue.get()  # Evt5 of the socket that is replaced
            association.dul.socket = PeerSocket(association, client_socket=self.request)
            association.dimse = SpoolingProvider(association, spool, maximum_bytes=maximum_bytes)
            return association

    return Handler
