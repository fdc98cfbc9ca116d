"""What lies in the spool and stands in no ledger is taken in: nothing lies forgotten.

There are two ways to such an object. Its listener died after the rename and before the commit: nobody was told that it
is here, and the sender, who repeats, is told that it is known. Or the database is a copy from before it came: then its
sender was told, and has forgotten it.
"""

import threading
from types import TracebackType
from typing import Final, Self

from dicom_node.errors import NodeError, NotUnderstood
from dicom_node.journey.queue import JourneyQueue
from dicom_node.logs import log
from dicom_node.reception.receiver import Receiver
from dicom_node.spool import Kept, Spool, fingerprint, is_being_kept

_AT_ONCE: Final = 500
"""Digests in one question to the ledger."""


class Adoption:
    """Looks through the spool once, in a thread of its own, while the listener serves; a context manager."""

    def __init__(self, receiver: Receiver, queue: JourneyQueue, spool: Spool) -> None:
        self._receiver = receiver
        self._queue = queue
        self._spool = spool
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_through, name="adoption")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _look_through(self) -> None:
        try:
            for files in self._spool.folders():
                for begin in range(0, len(files), _AT_ONCE):
                    digests = {file.stem for file in files[begin : begin + _AT_ONCE]}
                    for digest in sorted(self._queue.unknown(digests)):
                        if self._stop.is_set():
                            return
                        self._adopt(digest)
        except (NodeError, OSError) as e:
            log.warning("spool not looked through", reason=str(e))

    def _adopt(self, digest: str) -> None:
        try:
            path = self._spool.path(digest)
            if is_being_kept(path):
                return
            found, size = fingerprint(path)
            if found != digest:
                raise NotUnderstood("Its content is not that which was received.")
            self._receiver.adopt(Kept(digest=digest, path=path, size=size))
            log.warning("adopted", digest=digest)
        except FileNotFoundError:
            return
        except NodeError as e:
            log.warning("not adopted", digest=digest, reason=str(e))
        # The edge: whatever is wrong with this file, the next one is looked at.
        except Exception as e:
            log.warning("not adopted", digest=digest, reason=type(e).__name__)
