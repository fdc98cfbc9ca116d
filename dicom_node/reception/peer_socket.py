"""The connection of a peer that was let in: how much it may claim, and how long it may take."""

import select
import socket
import ssl
import time
from typing import Final

from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

MAXIMUM_PDU: Final = 131_072
"""Length of PDU that the node asks for: eight times less work for each than with the usual 16 KiB."""

_LARGEST_PDU_TAKEN: Final = 2**20

QUIET_AFTER: Final = 0.1
"""Seconds without traffic after which the threads of an association look around less often."""
QUIET_WAIT_SECONDS: Final = 0.02


class PeerSocket(AssociationSocket):  # type: ignore[misc]
    """Begins with what was read from the connection before its association was made."""

    def __init__(self, association: Association, connection: socket.socket, first: bytes, *, timeout: float) -> None:
        """timeout: seconds for one PDU as a whole, and for the peer to take an answer."""
        super().__init__(association, client_socket=connection)
        self._first = memoryview(first)
        self._timeout = timeout
        self._last = time.monotonic()
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        connection.settimeout(timeout)
        # Nagle's algorithm holds small answers back for 40 ms and more.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def quiet(self) -> bool:
        """Whether nothing has come for a while."""
        return time.monotonic() - self._last > QUIET_AFTER

    @property
    def ready(self) -> bool:
        """Whether there is something to read. Waits a little for it if the association is idle.

        pynetdicom asks a thousand times a second; fifty idle associations would keep a core busy.
        """
        if self._first:
            return True
        connection = self.socket
        if connection is None or not self._is_connected:
            return False
        try:
            if isinstance(connection, ssl.SSLSocket) and connection.pending():
                return True
            idle = self.quiet and self.assoc.is_established and not self.assoc.dimse.busy
            return bool(self._poll.poll(QUIET_WAIT_SECONDS * 1000 if idle else 0))
        except (OSError, ValueError):
            self.event_queue.put("Evt17")  # PS3.8 table 9-10: the transport connection is closed
            return False

    def recv(self, nr_bytes: int) -> bytearray:
        """Read `nr_bytes`, or less if the peer closes; raises OSError if the peer stalls or claims too much.

        A byte now and then does not help a peer: all of it has to come in time.
        """
        self._last = time.monotonic()
        if nr_bytes > _LARGEST_PDU_TAKEN:
            raise OSError(f"a PDU of {nr_bytes} bytes is more than any peer needs")
        buffer = bytearray(nr_bytes)
        view, read = memoryview(buffer), min(nr_bytes, len(self._first))
        view[:read], self._first = self._first[:read], self._first[read:]
        connection, deadline = self.socket, self._last + self._timeout
        if connection is None:
            return buffer[:read]
        while read < nr_bytes:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError("a PDU did not come in time")
            connection.settimeout(remaining)
            count = connection.recv_into(view[read:])
            if not count:
                break
            read += count
        connection.settimeout(self._timeout)
        return buffer if read == nr_bytes else buffer[:read]
