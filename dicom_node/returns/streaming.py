"""How pynetdicom sends for the node: a file goes out as it lies, in large pieces.

pynetdicom decodes the data set, encodes it, and hands each PDU of it through a queue to another thread, which encodes
that once more: a fifth of a second for an overlay. It can read a file instead (STORE_SEND_CHUNKED_DATASET), but hands
its PDUs on in the same way. Here the thread that sends the request writes them to the connection itself.
"""

import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from pynetdicom import _config
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF

_AT_ONCE: Final = 2**18
"""Bytes that are given to the connection in one call; the peer has the network time-out for each."""
_LARGEST_PDU: Final = 2**20
"""Of a peer that takes any length."""

_HEADER: Final = struct.Struct(">BxLLBB")
"""Of a P-DATA-TF with one presentation data value. PS3.8 table 9-22, 9-23."""
_P_DATA: Final = 4
_COMMAND: Final = 1
_LAST: Final = 2
"""Bits of the message control header. PS3.8 E.2."""

# Only what is given as a path is sent so: `Sender` decides of what.
_config.STORE_SEND_CHUNKED_DATASET = True


class StreamingProvider(DIMSEServiceProvider):  # type: ignore[misc]
    """DIMSE for one association."""

    def send_msg(self, primitive: object, context_id: int) -> None:
        """Send a message; one with a file goes out before this returns, or the connection counts as closed."""
        if not isinstance(primitive, C_STORE) or primitive._dataset_path is None:
            super().send_msg(primitive, context_id)
            return
        message = C_STORE_RQ()
        message.primitive_to_message(primitive)
        path, begin = primitive._dataset_path
        longest = self.maximum_pdu_size or _LARGEST_PDU
        connection = self.dul.socket and self.dul.socket.socket
        try:
            if connection is None:
                raise ConnectionError("closed")
            with closing(message.encode_msg(context_id, longest)) as pieces:
                for piece in pieces:
                    if not piece.presentation_data_value_list[0][1][0] & _COMMAND:
                        break  # the data set begins
                    connection.sendall(P_DATA_TF(piece).encode())
            for data in _pdus(path, begin, context_id, longest):
                connection.sendall(data)
        except OSError:
            self.dul.event_queue.put("Evt17")  # PS3.8 table 9-10: the transport connection is closed


def _pdus(path: Path, begin: int, context_id: int, longest: int) -> Iterator[bytes]:
    """The file from `begin` on as P-DATA-TF, several of them at a time."""
    # A PDU of `longest` bytes holds one value: its length, the context and the control header go off. PS3.8 D.1.
    size = longest - 6
    with path.open("rb", buffering=0) as file:
        remaining = file.seek(0, 2) - file.seek(begin)
        parts: list[bytes] = []
        waiting = 0
        while remaining:
            data = file.read(min(size, remaining))
            if not data:
                raise OSError("the file has become shorter")
            remaining -= len(data)
            parts += [_HEADER.pack(_P_DATA, len(data) + 6, len(data) + 2, context_id, 0 if remaining else _LAST), data]
            waiting += len(data)
            if waiting >= _AT_ONCE or not remaining:
                yield b"".join(parts)
                parts.clear()
                waiting = 0
