"""The lobby: where connections wait until they have said what they want, and until there is room.

An association of pynetdicom costs two threads, a silent connection here a file descriptor. One thread looks after all
of them; a peer gets its association when its A-ASSOCIATE-RQ has come as a whole and the rules of `admission` let it in.
"""

import errno
import selectors
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from dicom_node.logs import log
from dicom_node.reception.admission import Admission, Rejection, Request, plain_address

BACKLOG: Final = 256
MOST_WAITING: Final = 200
"""Connections that have not asked yet; who comes then takes the place of the oldest of the address with the most. And
as many that have asked: then the oldest is rejected."""
LONGEST_WAIT_FOR_ROOM: Final = 10.0
"""Seconds that a peer which may enter waits in a full house before it is rejected; peers wait about 30."""

_LARGEST_REQUEST: Final = 2**17
"""An A-ASSOCIATE-RQ of 128 presentation contexts with all transfer syntaxes is half as large."""
_HEADER_BYTES: Final = 6
_FIXED_BYTES: Final = 74
"""Up to and with the reserved field after the AE titles. PS3.8 table 9-11."""
_ASSOCIATE_RQ: Final = 1
_ABORT: Final = struct.pack(">BBLBBBB", 7, 0, 4, 0, 0, 2, 0)
"""A-ABORT of the service provider, reason not specified. PS3.8 table 9-26."""
_TICK_SECONDS: Final = 0.05


class Association(Protocol):
    """An association that is served."""

    @property
    def idle(self) -> float:
        """Seconds since its last message ended; 0 in the middle of one."""

    @property
    def over(self) -> bool:
        """Whether it has ended, and its threads with it."""


@dataclass(slots=True, eq=False, kw_only=True)
class Guest:
    """A connection, from its first byte to the end of its association."""

    connection: socket.socket
    address: str
    peer: tuple[str, int]
    since: float
    said: bytearray = field(default_factory=bytearray)
    request: Request | None = None
    known: bool = False
    encrypting: bool = False
    """Whether its TLS handshake is not over."""
    association: Association | None = None
    leaving: bool = False

    @property
    def idle(self) -> float:
        """Seconds since its last message ended."""
        return self.association.idle if self.association else 0.0


class Lobby:
    """Accepts connections on a listening socket and gives those that may enter to `enter`."""

    def __init__(
        self,
        listening: socket.socket,
        admission: Admission,
        *,
        enter: Callable[[Guest], Association],
        turned_away: Callable[[Guest, str], None],
        left: Callable[[Guest], None],
        timeout: float,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        """timeout: seconds that a connection has to ask for an association (ARTIM, PS3.8 9.1.5).

        tls: gives the context for the next connection; None: not encrypted.

        turned_away: told of who does not get in, and why; left: of who is gone, with its threads. All are called in
        the lobby's thread.
        """
        self._listening = listening
        self._admission = admission
        self._enter = enter
        self._turned_away = turned_away
        self._left = left
        self._timeout = timeout
        self._tls = tls
        self._selector = selectors.DefaultSelector()
        self._silent: list[Guest] = []
        self._asking: list[Guest] = []
        self._inside: list[Guest] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lobby")

    def open(self) -> None:
        """Accept from now on."""
        self._listening.listen(BACKLOG)
        self._listening.setblocking(False)
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._thread.start()

    def take_up(self, admission: Admission) -> None:
        """Go by other rules from the next who asks on; who is inside stays."""
        self._admission = admission

    def close(self) -> None:
        """Accept nobody any more and send away who waits; those inside stay."""
        self._end.set()
        self._thread.join()
        for guest in [*self._silent, *self._asking]:
            self._send_away(guest, _ABORT)
        self._selector.close()

    def lock_up(self) -> None:
        """See off those who were still inside when the lobby closed."""
        self._see_off()

    def _run(self) -> None:
        while not self._end.is_set():
            for key, _ in self._selector.select(_TICK_SECONDS if self._asking or self._leaving() else 0.2):
                try:
                    if isinstance(key.data, Guest):
                        self._listen_to(key.data)
                    else:
                        self._accept()
                # The edge: whatever is wrong with this connection, the others are served.
                except Exception:
                    log.exception("connection failed")
                    if isinstance(key.data, Guest):
                        self._send_away(key.data, b"")
            now = time.monotonic()
            while self._silent and now - self._silent[0].since > self._timeout:
                self._send_away(self._silent[0], b"")
            self._let_in(now)

    def _leaving(self) -> bool:
        return any(guest.leaving for guest in self._inside)

    def _accept(self) -> None:
        try:
            connection, peer = self._listening.accept()
        except OSError as e:
            if e.errno in (errno.EMFILE, errno.ENFILE) and self._silent:
                self._send_away(self._silent[0], b"")
            return  # else it went away again
        connection.setblocking(False)
        # A peer whose machine vanished would never be missed otherwise.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._tls:
            try:
                connection = self._tls().wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            except OSError:  # it went away again
                connection.close()
                return
        guest = Guest(
            encrypting=self._tls is not None,
            connection=connection,
            address=plain_address(peer[0]),
            peer=peer[:2],
            since=time.monotonic(),
        )
        if len(self._silent) >= MOST_WAITING:
            crowd = Counter(other.address for other in self._silent)
            self._send_away(max(self._silent, key=lambda other: (crowd[other.address], -other.since)), b"")
        self._silent.append(guest)
        self._selector.register(connection, selectors.EVENT_READ, guest)

    def _listen_to(self, guest: Guest) -> None:
        """Read what a silent guest says, up to the end of its A-ASSOCIATE-RQ and not a byte further."""
        if guest.request is not None:  # it cannot wait for its answer, or it has gone
            self._send_away(guest, _ABORT)
        elif not guest.encrypting or self._shake_hands(guest):
            # What TLS has decrypted already, the selector does not know of.
            while guest.request is None and self._read(guest):
                pass

    def _shake_hands(self, guest: Guest) -> bool:
        """Go on with the handshake of TLS; returns whether it is over."""
        assert isinstance(guest.connection, ssl.SSLSocket)
        wanted = selectors.EVENT_READ
        try:
            guest.connection.do_handshake()
            guest.encrypting = False
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLWantWriteError:
            wanted = selectors.EVENT_WRITE
        except OSError as e:
            self._turned_away(guest, f"TLS: {getattr(e, 'reason', None) or 'lost'}")
            self._send_away(guest, b"")
            return False
        self._selector.modify(guest.connection, wanted, guest)
        return not guest.encrypting

    def _read(self, guest: Guest) -> bool:
        """Read once; returns whether there may be more."""
        wanted = _HEADER_BYTES
        if len(guest.said) >= _HEADER_BYTES:
            wanted += struct.unpack_from(">L", guest.said, 2)[0]
        try:
            said = guest.connection.recv(wanted - len(guest.said))
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            said = b""
        guest.said += said
        if not said:
            self._send_away(guest, b"")
            return False
        if len(guest.said) == _HEADER_BYTES == wanted:
            kind, _, length = struct.unpack(">BBL", guest.said)
            if kind != _ASSOCIATE_RQ or not _FIXED_BYTES <= _HEADER_BYTES + length <= _LARGEST_REQUEST:
                self._turned_away(guest, "it does not begin with an association")
                self._send_away(guest, _ABORT)
                return False
        elif len(guest.said) == wanted:
            self._silent.remove(guest)
            self._ask(guest)
            return False
        return True

    def _ask(self, guest: Guest) -> None:
        request = Request(
            called_ae=_title(guest.said[10:26]), calling_ae=_title(guest.said[26:42]), address=guest.address
        )
        guest.request, guest.known, guest.since = request, self._admission.knows(request), time.monotonic()
        if len(self._asking) >= MOST_WAITING:
            self._reject(min(self._asking, key=lambda other: (other.known, other.since)), Rejection.LOCAL_LIMIT)
        self._asking.append(guest)
        if why := self._admission.judge(request):
            self._reject(guest, why)

    def _let_in(self, now: float) -> None:
        self._see_off()
        full: set[tuple[bool, str]] = set()
        # Known peers first; of the same kind, who came last: those before are most likely a flood, or have given up.
        for guest in sorted(self._asking, key=lambda other: (not other.known, -other.since)):
            kind = guest.known, guest.address
            if kind not in full and self._admission.has_room(guest, self._inside):
                self._asking.remove(guest)
                self._selector.unregister(guest.connection)
                guest.association = self._enter(guest)
                self._inside.append(guest)
                continue
            if kind not in full and not self._leaving():
                self._make_room(guest)
            full.add(kind)
            if now - guest.since > LONGEST_WAIT_FOR_ROOM:
                self._reject(guest, Rejection.LOCAL_LIMIT)

    def _see_off(self) -> None:
        gone = [guest for guest in self._inside if guest.association is None or guest.association.over]
        self._inside = [guest for guest in self._inside if guest not in gone]
        for guest in gone:
            guest.connection.close()
            self._left(guest)

    def _make_room(self, newcomer: Guest) -> None:
        leaver = self._admission.who_makes_room(newcomer, self._inside)
        if leaver is None:
            return
        leaver.leaving = True
        log.info("idle association ended", peer=leaver.address, reason="another waits for its place")
        with suppress(OSError):
            leaver.connection.shutdown(socket.SHUT_RDWR)

    def _reject(self, guest: Guest, why: Rejection) -> None:
        self._turned_away(guest, why.in_words)
        self._send_away(guest, struct.pack(">BBLBBBB", 3, 0, 4, 0, *why.value))

    def _send_away(self, guest: Guest, last_words: bytes) -> None:
        for waiting in (self._silent, self._asking):
            if guest in waiting:
                waiting.remove(guest)
        with suppress(KeyError, ValueError):
            self._selector.unregister(guest.connection)
        with suppress(OSError):
            if last_words:
                guest.connection.send(last_words)
                # With bytes of the peer unread, close would reset the connection before it has read the answer.
                guest.connection.shutdown(socket.SHUT_WR)
                guest.connection.recv(2**16)
        guest.connection.close()


def _title(field: bytes | bytearray) -> str:
    """An AE title of an A-ASSOCIATE-RQ; "" if it is none, which matches nothing. PS3.8 table 9-11."""
    try:
        text = bytes(field).decode("ascii").strip(" \0")
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() else ""
