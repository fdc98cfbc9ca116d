"""The listener: binds the port, keeps strangers out, and ends without losing what is on its way."""

import errno
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.transport import AssociationServer

from dicom_node import steady  # noqa: F401
from dicom_node.audit import Kind, Outcome
from dicom_node.changes import Changes
from dicom_node.errors import ConfigurationError
from dicom_node.journey.audit_head import open_trail
from dicom_node.journey.queue import JourneyQueue
from dicom_node.logs import log
from dicom_node.reception.admission import Admission, plain_address
from dicom_node.reception.adoption import Adoption
from dicom_node.reception.lobby import Guest, Lobby
from dicom_node.reception.peer_socket import MAXIMUM_PDU
from dicom_node.reception.provider import Handler
from dicom_node.reception.receiver import Receiver
from dicom_node.reception.traffic import Traffic
from dicom_node.returns.commitment import answer_report
from dicom_node.settings import Settings
from dicom_node.spool import Spool
from dicom_node.tls import RenewedContext
from dicom_node.wire import (
    ACCEPTED,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    PLAIN,
    STORAGE_COMMITMENT,
)

_UNRECOGNISED_OPERATION: Final = 0x0211
"""PS3.7 C.4.2."""

_BIND_SECONDS: Final = 5.0
"""How long the kernel may need to take the port from a listener that was killed."""
_STOP_SECONDS: Final = 8.0
"""How long stores that run may go on after the listener was told to stop."""


class Listener:
    """Storage and Verification SCP; serves from `with` on to the end of the block.

    settings.port 0 lets the system choose; `port` is the one that is bound.
    """

    def __init__(self, settings: Settings, queue: JourneyQueue, spool: Spool) -> None:
        """Bind the port; raises ConfigurationError if that cannot be done."""
        entity = AE(ae_title=settings.ae_title)
        entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        for sop_class, syntaxes in ACCEPTED.items():
            entity.add_supported_context(sop_class, list(syntaxes))
        # Only to hear the reports of storage commitment: a peer takes the role of the SCP, or leaves the roles open.
        entity.add_supported_context(STORAGE_COMMITMENT, list(PLAIN), scu_role=False, scp_role=True)
        # `admission` decides on titles and numbers before pynetdicom sees a connection.
        entity.maximum_associations = sys.maxsize
        entity.maximum_pdu_size = MAXIMUM_PDU
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = settings.network_timeout
        self._receiver = Receiver(settings, queue, spool)
        handlers = [
            (evt.EVT_C_STORE, self._receiver.store),
            (evt.EVT_N_EVENT_REPORT, _report_to(queue)),
            (evt.EVT_N_ACTION, lambda _: (_UNRECOGNISED_OPERATION, None)),  # the node commits itself to nothing
            (evt.EVT_CONN_CLOSE, _forget_arrival),
        ]
        self._server = _bind(entity, settings, evt_handlers=handlers)
        entity._servers.append(self._server)  # as AE.start_server does
        self.port: int = self._server.server_address[1]
        self._settings = settings
        self._alerts = _Alerts()
        self._trail = open_trail(settings, queue.engine, by="listener")
        self._spool = spool
        self._lobby = Lobby(
            self._server.socket,
            _admission(settings),
            enter=self._enter,
            turned_away=self._turned_away,
            left=self._left,
            timeout=settings.network_timeout,
            tls=RenewedContext(settings.tls).current if settings.tls_certificate else None,
        )

    def take_up(self, settings: Settings) -> None:
        """Go by other settings; associations that are open go on."""
        self._receiver.take_up(settings)
        self._lobby.take_up(_admission(settings))

    def __enter__(self) -> Self:
        self._trail.record(Kind.APPLICATION_ACTIVITY, activity="start")
        self._lobby.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Accept nobody any more, let the stores that run end, close what is idle."""
        self._lobby.close()
        self._server.server_close()
        deadline = time.monotonic() + _STOP_SECONDS
        while associations := self._server.active_associations:
            late = time.monotonic() > deadline
            for association in associations:
                if not association.is_established:
                    _hang_up(association)
                elif late or not association.dimse.busy:
                    association.abort()
            if late:
                break
            time.sleep(0.02)
        self._lobby.lock_up()
        self._trail.record(Kind.APPLICATION_ACTIVITY, activity="stop")
        self._trail.close()

    def _enter(self, guest: Guest) -> "_Served":
        handler = Handler(
            guest.connection,
            guest.peer,
            self._server,
            first=bytes(guest.said),
            spool=self._spool,
            maximum_bytes=int(self._settings.maximum_object_megabytes * 1e6),
            timeout=self._settings.network_timeout,
        )
        return _Served(handler.association)

    def _turned_away(self, guest: Guest, reason: str) -> None:
        calling_ae = guest.request.calling_ae if guest.request else ""
        # A flood must not fill the disk with its log; the audit trail counts all of it.
        if self._alerts.may_be_logged():
            if guest.request:
                log.warning("association rejected", calling_ae=calling_ae, peer=guest.address, reason=reason)
            else:
                log.warning("connection refused", peer=guest.address, reason=reason)
        self._trail.record(
            Kind.SECURITY_ALERT,
            outcome=Outcome.MINOR_FAILURE,
            alert="Node Authentication",
            calling_ae=calling_ae,
            address=guest.address,
            reason=reason,
        )

    def _left(self, guest: Guest) -> None:
        if not isinstance(guest.association, _Served):
            return
        guest.association.clear()
        if details := guest.association.traffic.details():
            self._trail.record(
                Kind.INSTANCES_TRANSFERRED,
                outcome=Outcome.MINOR_FAILURE if guest.association.traffic.failed else Outcome.SUCCESS,
                action="received",
                calling_ae=guest.request.calling_ae if guest.request else "",
                address=guest.address,
                **details,
            )


class _Alerts:
    """Lets so many lines into the log in so many seconds."""

    _MOST: Final = 50
    _SECONDS: Final = 10.0

    def __init__(self) -> None:
        self._begun = 0.0
        self._number = 0

    def may_be_logged(self) -> bool:
        """Whether one more line may be; the last one of the time says that more follow in silence."""
        now = time.monotonic()
        if now - self._begun > self._SECONDS:
            self._begun, self._number = now, 0
        self._number += 1
        if self._number == self._MOST:
            log.warning("more of them follow unlogged", seconds=self._SECONDS)
        return self._number < self._MOST


class _Served:
    """An association, as the lobby looks at it."""

    def __init__(self, association: Association) -> None:
        self._association = association
        self._begun = time.monotonic()

    @property
    def idle(self) -> float:
        """Seconds without a message; one that does not come to be established is idle, too."""
        if not self._association.is_established:
            return time.monotonic() - self._begun
        idle: float = self._association.dimse.idle
        return idle

    def clear(self) -> None:
        """Leave nothing of it behind."""
        self._association.dimse.clear()

    @property
    def traffic(self) -> Traffic:
        """What came on it."""
        traffic: Traffic = self._association.dimse.traffic
        return traffic

    @property
    def over(self) -> bool:
        """Whether its threads have ended."""
        return not self._association.is_alive() and not self._association.dul.is_alive()


def serve(settings: Settings) -> None:
    """Run the listener until SIGTERM or SIGINT; the database must have been prepared.

    Raises ConfigurationError if the port cannot be bound, OutOfResources if the spool cannot be made.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.excepthook = _log_ended_thread
    spool = Spool(settings.spool_dir, minimum_free_bytes=int(settings.minimum_free_megabytes * 1e6))
    swept = spool.sweep()
    queue = JourneyQueue(settings)
    try:
        with Listener(settings, queue, spool) as listener:
            log.info("listening", ae_title=settings.ae_title, host=settings.host, port=listener.port, swept=swept)
            with Adoption(Receiver(settings, queue, spool), queue, spool), Changes(settings, listener.take_up):
                stop.wait()
                log.info("stopping")
    finally:
        queue.close()
    log.info("stopped")


def _bind(entity: AE, settings: Settings, **options: Any) -> AssociationServer:
    deadline = time.monotonic() + _BIND_SECONDS
    while True:
        try:
            return entity.make_server((settings.host, settings.port), server_class=AssociationServer, **options)
        except OSError as e:
            if e.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise ConfigurationError(
                    f"{settings.host}:{settings.port} cannot be bound: {e.strerror}.", hint="Check host and port."
                ) from e
            time.sleep(0.05)


def _report_to(queue: JourneyQueue) -> Callable[[Event], tuple[int, None]]:
    def report(event: Event) -> tuple[int, None]:
        reporter = event.assoc.requestor.ae_title
        return answer_report(event, partial(queue.record_report, reporter=reporter, apart=True), reporter=reporter)

    return report


def _log_ended_thread(ended: threading.ExceptHookArgs) -> None:
    """Tell of a thread of an association that an error ended; no text of the error, for it may quote what came."""
    trace = ended.exc_traceback
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    log.error("thread ended", error=ended.exc_type.__name__, where=where)


def _hang_up(association: Association) -> None:
    connection = association.dul.socket
    if connection is not None:
        connection._shutdown_socket()


def _forget_arrival(event: Event) -> None:
    event.assoc.dimse.drop()


def _admission(settings: Settings) -> Admission:
    return Admission(settings, addresses_of_destinations=_addresses_of_destinations(settings))


def _addresses_of_destinations(settings: Settings) -> frozenset[str]:
    addresses: set[str] = set()
    for peer in [peer for destination in settings.destinations for peer in destination.peers]:
        with suppress(OSError):  # a name that nobody knows today: its peer is a stranger until the next change
            found = socket.getaddrinfo(peer.host, None, type=socket.SOCK_STREAM)
            addresses.update(plain_address(str(entry[4][0])) for entry in found)
    return frozenset(addresses)
