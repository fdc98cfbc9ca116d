"""What is wrong now, as far as somebody has to be told."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.inspection.health import free_bytes, oldest_waiting
from dicom_node.journey.ledger import CircuitState, ReadingRow, circuits, now, utc
from dicom_node.settings import Settings
from dicom_node.watch.drift import drifts

READINGS_OF_FAILURES: Final = 50
"""Readings that the share of failed ones is of; with fewer, nothing is said."""
OF_ONE_MACHINE: Final = "disk "
"""How the key of a trouble begins that only one machine sees."""
HERE: Final = f"@{socket.gethostname()}"
"""How it ends if this is the one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One thing that is wrong. key: the same as long as it is the same trouble. text: names no patient."""

    key: str
    text: str


def look(settings: Settings, session: Session) -> Iterator[Trouble]:
    """All troubles but drift. Raises sqlalchemy.exc.SQLAlchemyError."""
    yield from _disk(settings)
    longest = settings.alert_minutes * 60
    for queue, seconds in oldest_waiting(session).items():
        if seconds > longest:
            what = "radiograph waits to be read" if queue == "reading" else "result waits to be returned"
            yield Trouble(
                key=f"queue {queue}",
                text=f"A {what} for {seconds / 60:.0f} minutes. `covid-xnet health` says what does not run.",
            )
    for destination, circuit in circuits(session).items():
        if circuit.state != CircuitState.CLOSED and now() - utc(circuit.since) > timedelta(seconds=longest):
            yield Trouble(
                key=f"destination {destination}",
                text=f"{destination} does not answer since {utc(circuit.since):%Y-%m-%d %H:%M} UTC; its results wait. "
                f"`covid-xnet echo {destination}` tries it.",
            )
    yield from _failures(settings, session)


def look_for_drift(session: Session) -> Iterator[Trouble]:
    """A sender whose radiographs or scores drifted."""
    for found in drifts(session):
        if names := found.drifted:
            yield Trouble(
                key=f"drift {found.calling_ae}",
                text=f"What comes from {found.calling_ae} is not what it was: {', '.join(names)} drifted. "
                "`covid-xnet drift --out drift.html` shows it; compare radiographs, and commission again.",
            )


def _disk(settings: Settings) -> Iterator[Trouble]:
    mark = settings.minimum_free_megabytes
    try:
        free = free_bytes(settings) / 1e6
    except OSError as e:
        yield Trouble(key=f"{OF_ONE_MACHINE}{HERE}", text=f"data_dir cannot be reached: {e.strerror}.")
        return
    # Twice the mark, so that somebody is told before the door closes.
    if free < 2 * mark:
        does = "C-STORE is answered 0xA700" if free < mark else f"below {mark:.0f} MB C-STORE is answered 0xA700"
        yield Trouble(key=f"{OF_ONE_MACHINE}{HERE}", text=f"{free:.0f} MB are free under data_dir; {does}. Make room.")


def _failures(settings: Settings, session: Session) -> Iterator[Trouble]:
    last = session.scalars(
        sa.select(ReadingRow.failure).order_by(ReadingRow.read_at.desc()).limit(READINGS_OF_FAILURES)
    ).all()
    failed = sum(bool(failure) for failure in last)
    if len(last) == READINGS_OF_FAILURES and failed > settings.alert_failed_percent / 100 * len(last):
        yield Trouble(
            key="failures",
            text=f"{failed} of the last {len(last)} radiographs could not be read. `covid-xnet status` says why.",
        )
