"""What goes through the node: today's flow in numbers, and whether anything changed."""

import math
import shutil
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.journey.ledger import (
    CircuitRow,
    CircuitState,
    ReadingRow,
    ReceivedObject,
    RejectedObject,
    ReturnRow,
    ReturnState,
    circuits,
    now,
    utc,
)
from dicom_node.journey.tallies import counts, returns_by_destination
from dicom_node.settings import Settings

_LATEST: Final = 1000
"""Readings of today that the latency is of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """One hour of today on the clock of the node, 0 to 23, and how many objects came and were read in it."""

    hour: int
    received: int
    read: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Numbers of today, and of what stands now; today begins at midnight on the clock of the node.

    p50, p95: seconds from arrival to reading, of the last readings of today; None if there were none.
    """

    received: int
    not_read: int
    rejected: int
    read: int
    failed: int
    positive: int
    returned: int
    waiting_to_be_read: int
    waiting_to_be_returned: int
    set_aside: int
    last_hour: int
    p50: float | None
    p95: float | None
    hours: tuple[Hour, ...]

    @property
    def busiest(self) -> int:
        """Objects that came in the busiest hour, at least 1."""
        return max(1, *(hour.received for hour in self.hours))


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A destination as it stands. results: `ReturnState` -> how many."""

    name: str
    configured: bool
    circuit: str
    last_contact_at: datetime | None
    last_error: str
    last_error_at: datetime | None
    results: dict[str, int]

    @property
    def away(self) -> bool:
        """Whether results wait for it to come back."""
        return self.circuit != CircuitState.CLOSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """Bytes free and in all."""

    free: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sent objects."""

    ae_title: str
    last_at: datetime
    objects: int


def flow(session: Session) -> Flow:
    """Ask the ledger; takes milliseconds also with 100,000 readings."""
    midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    today = midnight.astimezone(utc(now()).tzinfo)

    def count(of: sa.ColumnElement[int] | type, *where: sa.ColumnElement[bool]) -> int:
        return session.scalar(sa.select(sa.func.count()).select_from(of).where(*where)) or 0

    received = session.execute(
        sa.select(ReceivedObject.received_at, ReceivedObject.accepted).where(ReceivedObject.received_at >= today)
    ).all()
    read = session.execute(
        sa.select(ReadingRow.read_at, ReadingRow.failure != "", ReadingRow.verdict).where(ReadingRow.read_at >= today)
    ).all()
    standing = counts(session)
    latencies = _latencies(session, today)
    came, done = [0] * 24, [0] * 24
    for at, _ in received:
        came[utc(at).astimezone().hour] += 1
    for at, failed, _ in read:
        done[utc(at).astimezone().hour] += not failed
    return Flow(
        received=len(received),
        not_read=sum(not taken for _, taken in received),
        rejected=count(RejectedObject, RejectedObject.rejected_at >= today),
        read=sum(not failed for _, failed, _ in read),
        failed=sum(failed for _, failed, _ in read),
        positive=sum(verdict == "positive" for _, _, verdict in read),
        returned=count(ReturnRow, ReturnRow.state == ReturnState.DELIVERED, ReturnRow.changed_at >= today),
        waiting_to_be_read=standing["waiting to be read"],
        waiting_to_be_returned=standing["waiting to be returned"] + standing["stored"],
        set_aside=standing["set aside"],
        last_hour=count(ReadingRow, ReadingRow.read_at >= now() - timedelta(hours=1)),
        p50=_quantile(latencies, 0.5),
        p95=_quantile(latencies, 0.95),
        hours=tuple(Hour(hour=hour, received=came[hour], read=done[hour]) for hour in range(24)),
    )


def destinations(session: Session, settings: Settings) -> list[Destination]:
    """Those that are configured, and those that ever got results."""
    known, numbers = circuits(session), returns_by_destination(session)
    configured = [str(destination.peer) for destination in settings.destinations]
    found = []
    for name in dict.fromkeys((*configured, *known, *numbers)):
        row = known.get(name)
        found.append(
            Destination(
                name=name,
                configured=name in configured,
                circuit=row.state if row else CircuitState.CLOSED,
                last_contact_at=row.last_contact_at if row else None,
                last_error=row.last_error if row else "",
                last_error_at=row.last_error_at if row else None,
                results={state.value: numbers.get(name, {}).get(state, 0) for state in ReturnState},
            )
        )
    return found


def disk(settings: Settings) -> Disk | None:
    """Of the file system of data_dir; None if it cannot be reached."""
    try:
        usage = shutil.disk_usage(settings.data_dir)
    except OSError:
        return None
    return Disk(free=usage.free, total=usage.total)


def senders(session: Session) -> list[Sender]:
    """Everybody who ever sent an object, who sent last first."""
    last = sa.func.max(ReceivedObject.received_at)
    rows = session.execute(
        sa.select(ReceivedObject.calling_ae, last, sa.func.count())
        .group_by(ReceivedObject.calling_ae)
        .order_by(last.desc())
    )
    return [Sender(ae_title=title, last_at=at, objects=number) for title, at, number in rows]


class Pulse:
    """Tells whether anything changed; asks the ledger at most once in `seconds`, however many look on."""

    def __init__(self, engine: sa.Engine, *, seconds: float = 1.0) -> None:
        self._engine = engine
        self._seconds = seconds
        self._lock = threading.Lock()
        self._asked = -math.inf
        self._mark = ""

    def mark(self) -> str:
        """Another text whenever something was received, read, returned, refused, or a destination went or came."""
        with self._lock:
            if time.monotonic() - self._asked >= self._seconds:
                with Session(self._engine) as session:
                    newest = session.execute(
                        sa.select(
                            sa.select(sa.func.max(ReceivedObject.id)).scalar_subquery(),
                            sa.select(sa.func.max(RejectedObject.id)).scalar_subquery(),
                            sa.select(sa.func.max(ReadingRow.read_at)).scalar_subquery(),
                            sa.select(sa.func.max(ReturnRow.changed_at)).scalar_subquery(),
                        )
                    ).one()
                    states = session.execute(
                        sa.select(CircuitRow.destination, CircuitRow.state).order_by(CircuitRow.destination)
                    ).all()
                self._mark, self._asked = f"{newest} {states}", time.monotonic()
            return self._mark


def _latencies(session: Session, since: datetime) -> list[float]:
    rows = session.execute(
        sa.select(ReceivedObject.received_at, ReadingRow.read_at)
        .join(ReceivedObject, ReceivedObject.journey == ReadingRow.journey)
        .where(ReadingRow.read_at >= since, ReadingRow.failure == "")
        .order_by(ReadingRow.read_at.desc())
        .limit(_LATEST)
    )
    return sorted(max(0.0, (read - received).total_seconds()) for received, read in rows)


def _quantile(ordered: list[float], quantile: float) -> float | None:
    return ordered[math.ceil(quantile * len(ordered)) - 1] if ordered else None
