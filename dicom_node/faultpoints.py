"""Points between the steps of the journey where a test lets a process die.

Off unless the environment variable COVID_XNET_FAULTPOINTS names a folder. A point is armed by a file of its name in
that folder; the process that reaches it next removes the file and ends itself with SIGKILL. So each arming kills once,
and who armed it sees that it was reached.
"""

import os
import signal
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Final

VARIABLE: Final = "COVID_XNET_FAULTPOINTS"


class Point(StrEnum):
    """All fault points, in the order in which a radiograph passes them."""

    OBJECT_BEGUN = "object-begun"
    """Listener: the first piece of a data set lies in the incoming folder."""
    OBJECT_JUDGED = "object-judged"
    """Listener: all of it has come, the gate has its verdict; nothing is synced."""
    SPOOL_SYNCED = "spool-synced"
    """Listener: the file is on disk, under its temporary name."""
    SPOOL_RENAMED = "spool-renamed"
    """Listener: the file has its name; its folder is not synced."""
    SPOOL_KEPT = "spool-kept"
    """Listener: the object is durable; no row knows it."""
    OBJECT_WRITTEN = "object-written"
    """Listener: ledger and queue are written, before the commit."""
    OBJECT_RECORDED = "object-recorded"
    """Listener: after the commit, before the answer."""
    STORE_ANSWERED = "store-answered"
    """Listener: the answer was given to the network."""

    READING_BEGUN = "reading-begun"
    """Worker: the attempt is counted."""
    RADIOGRAPH_READ = "radiograph-read"
    """Worker: the networks have spoken; no result is on disk."""
    RESULT_WRITTEN = "result-written"
    """Worker: a result lies under a temporary name, not synced."""
    RESULT_SYNCED = "result-synced"
    """Worker: a result is on disk under a temporary name."""
    RESULT_RENAMED = "result-renamed"
    """Worker: a result has its name; its folder is not synced."""
    RESULT_SAVED = "result-saved"
    """Worker: a result is durable; no row knows it."""
    READING_WRITTEN = "reading-written"
    """Worker: reading and returns are in the ledger, before the commit."""
    READING_RECORDED = "reading-recorded"
    """Worker: after the commit; the queue does not know that the step ended."""
    RETURNS_DUE = "returns-due"
    """Worker: the queue knows that the step ended; no return is queued."""
    RETURN_QUEUED = "return-queued"
    """Worker: a return is queued; the journey has not ended."""

    RETURN_BEGUN = "return-begun"
    """Returner: it knows what to send; there is no association."""
    ASSOCIATED = "associated"
    """Returner: the destination accepted the association; nothing is sent."""
    RESULT_SENT = "result-sent"
    """Returner: the destination answered to a C-STORE; the ledger does not know."""
    RETURN_WRITTEN = "return-written"
    """Returner: an answer is in the ledger, before the commit."""
    COMMITMENT_DUE = "commitment-due"
    """Returner: the ledger has the transaction of a storage commitment; the destination does not know it."""
    COMMITMENT_ASKED = "commitment-asked"
    """Returner: the destination answered the request for storage commitment; the visit has not ended."""
    REPORT_WRITTEN = "report-written"
    """Listener or returner: a report of storage commitment is in ledger and queue, before the commit."""
    REPORT_RECORDED = "report-recorded"
    """Listener or returner: after the commit, before the answer to the report."""
    RETURN_RECORDED = "return-recorded"
    """Returner: the ledger has all that the visit brought; the queue does not know that the step ended."""
    RETURN_POSTPONED = "return-postponed"
    """Returner: something is left to do; the next visit is not queued."""
    RETURN_PARKED = "return-parked"
    """Returner: the circuit of the destination is open; no probe is queued."""
    CIRCUIT_CLOSED = "circuit-closed"
    """Returner: the destination is back; what was parked is not queued."""

    LEDGER_MIGRATED = "ledger-migrated"
    """Supervisor: the tables of the ledger are of this version, those of the queue perhaps not."""
    DATABASE_PREPARED = "database-prepared"
    """Supervisor: no process of a role runs."""
    ROLE_STARTED = "role-started"
    """Supervisor: after the start of each."""
    ROLE_DIED = "role-died"
    """Supervisor: it saw that one died, and has not started it again."""


_armed: Final = os.environ.get(VARIABLE)


def reach(point: Point) -> None:
    """End this process with SIGKILL if `point` is armed."""
    if _armed is None:
        return
    with suppress(FileNotFoundError):
        Path(_armed, point).unlink()
        os.kill(os.getpid(), signal.SIGKILL)
