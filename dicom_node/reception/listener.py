"""The listener: binds the port, keeps strangers out, and ends without losing what is on its way."""

import errno
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.transport import ThreadedAssociationServer

from dicom_node.errors import ConfigurationError
from dicom_node.journey.queue import JourneyQueue
from dicom_node.logs import log
from dicom_node.reception.adoption import Adoption
from dicom_node.reception.provider import MAXIMUM_PDU, request_handler
from dicom_node.reception.receiver import Receiver
from dicom_node.returns.commitment import answer_report
from dicom_node.settings import Settings
from dicom_node.spool import Spool
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
        entity.require_called_aet = True
        entity.require_calling_aet = list(known_titles(settings))
        entity.maximum_associations = settings.maximum_associations
        entity.maximum_pdu_size = MAXIMUM_PDU
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = settings.network_timeout
        handlers = [
            (evt.EVT_C_STORE, Receiver(settings, queue, spool).store),
            (evt.EVT_N_EVENT_REPORT, _report_to(queue)),
            (evt.EVT_N_ACTION, lambda _: (_UNRECOGNISED_OPERATION, None)),  # the node commits itself to nothing
            (evt.EVT_CONN_CLOSE, _forget_arrival),
            (evt.EVT_REJECTED, _log_rejection),
        ]
        self._server = _bind(
            entity,
            settings,
            evt_handlers=handlers,
            request_handler=request_handler(
                spool,
                maximum_bytes=int(settings.maximum_object_megabytes * 1e6),
                timeout=settings.network_timeout,
            ),
        )
        entity._servers.append(self._server)  # as AE.start_server does, which knows no request_handler
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Accept nobody any more, let the stores that run end, close what is idle."""
        self._server.shutdown()
        self._thread.join()
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


def serve(settings: Settings) -> None:
    """Run the listener until SIGTERM or SIGINT; the database must have been prepared.

    Raises ConfigurationError if the port cannot be bound, OutOfResources if the spool cannot be made.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    spool = Spool(settings.spool_dir, minimum_free_bytes=int(settings.minimum_free_megabytes * 1e6))
    swept = spool.sweep()
    queue = JourneyQueue(settings)
    try:
        with Listener(settings, queue, spool) as listener:
            log.info("listening", ae_title=settings.ae_title, host=settings.host, port=listener.port, swept=swept)
            with Adoption(Receiver(settings, queue, spool), queue, spool):
                stop.wait()
                log.info("stopping")
    finally:
        queue.close()
    log.info("stopped")


def _bind(entity: AE, settings: Settings, **options: Any) -> ThreadedAssociationServer:
    deadline = time.monotonic() + _BIND_SECONDS
    while True:
        try:
            return entity.make_server((settings.host, settings.port), server_class=ThreadedAssociationServer, **options)
        except OSError as e:
            if e.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise ConfigurationError(
                    f"{settings.host}:{settings.port} cannot be bound: {e.strerror}.", hint="Check host and port."
                ) from e
            time.sleep(0.05)


def known_titles(settings: Settings) -> tuple[str, ...]:
    """The AE titles that may call; empty: all. Destinations report storage commitment, so they belong to them."""
    destinations = (destination.peer.ae_title for destination in settings.destinations)
    return tuple(dict.fromkeys((*settings.calling_aes, *destinations))) if settings.calling_aes else ()


def _report_to(queue: JourneyQueue) -> Callable[[Event], tuple[int, None]]:
    def report(event: Event) -> tuple[int, None]:
        reporter = event.assoc.requestor.ae_title
        return answer_report(event, partial(queue.record_report, reporter=reporter, apart=True), reporter=reporter)

    return report


def _hang_up(association: Association) -> None:
    socket = association.dul.socket
    if socket is not None:
        socket._shutdown_socket()


def _forget_arrival(event: Event) -> None:
    event.assoc.dimse.drop()


def _log_rejection(event: Event) -> None:
    requestor = event.assoc.requestor
    log.warning("association rejected", calling_ae=requestor.ae_title, peer=requestor.address)
