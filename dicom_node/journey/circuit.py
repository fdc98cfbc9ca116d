"""The circuit of a destination: a dead one costs one visit at a time, not one for each result that waits for it."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.journey.ledger import OPEN_STATES, CircuitRow, CircuitState, ReceivedObject, ReturnRow, ReturnState, now

BROKEN_VISITS: Final = 3
"""Visits in a row that broke off before the circuit opens: one may be the fault of the object that was sent."""


def circuit_of(session: Session, destination: str) -> CircuitRow:
    """The circuit of `destination`, held until the session commits: who changes its returns holds it, too."""
    # A write that changes nothing: SQLite locks for no reading, and what was read before the lock may be out of date.
    held = session.execute(
        sa.update(CircuitRow)
        .where(CircuitRow.destination == destination)
        .values(failures=CircuitRow.failures)
        .execution_options(synchronize_session=False)
    )
    if not held.rowcount:  # type: ignore[attr-defined]
        session.add(CircuitRow(destination=destination, state=CircuitState.CLOSED, since=now(), failures=0, openings=0))
        session.flush()
    return session.scalars(
        sa.select(CircuitRow).where(CircuitRow.destination == destination).execution_options(populate_existing=True)
    ).one()


def has_answered(circuit: CircuitRow) -> None:
    """Note that the destination answered an object, with whatever status."""
    circuit.last_contact_at = now()


def came_to_its_end(circuit: CircuitRow) -> None:
    """Note that a visit did not break off."""
    circuit.failures = 0


def broke_off(circuit: CircuitRow, why: str, *, at_once: bool) -> None:
    """Note that a visit broke off, and open the circuit if it was not the first.

    at_once: there was no association at all, which is no object's fault.
    """
    circuit.failures += 1
    circuit.last_error, circuit.last_error_at = why, now()
    if circuit.state == CircuitState.CLOSED and (at_once or circuit.failures >= BROKEN_VISITS):
        circuit.state, circuit.since = CircuitState.OPEN, now()
        circuit.openings += 1


def try_out(circuit: CircuitRow) -> None:
    """Let one visit find out whether the destination is back."""
    circuit.state = CircuitState.HALF_OPEN


def was_tried_out(circuit: CircuitRow, *, back: bool) -> None:
    """Close the circuit if the destination is `back`, else leave it open."""
    if back:
        circuit.state, circuit.since, circuit.failures = CircuitState.CLOSED, now(), 0
    else:
        circuit.state = CircuitState.OPEN


def next_turn(session: Session, journey: str, destination: str) -> int:
    """Begin a new run of visits: those of earlier runs will end at once. Returns its number."""
    where = (ReturnRow.journey == journey, ReturnRow.destination == destination)
    session.flush()
    session.execute(
        sa.update(ReturnRow).where(*where).values(turn=ReturnRow.turn + 1).execution_options(synchronize_session=False)
    )
    return session.scalar(sa.select(sa.func.max(ReturnRow.turn)).where(*where)) or 1


def priority_of(session: Session, journey: str) -> int:
    """The place of `journey` in the queues."""
    return session.scalar(sa.select(ReceivedObject.priority).where(ReceivedObject.journey == journey)) or 0


def to_be_tried(session: Session, destination: str) -> tuple[str, int] | None:
    """The journey whose results find out whether `destination` is back, and its turn; None if nothing waits.

    The one that was tried least, so that no object that brings the destination down is always the first.
    """
    found = session.execute(
        sa.select(ReturnRow.journey, sa.func.max(ReturnRow.turn))
        .where(ReturnRow.destination == destination)
        .where((ReturnRow.state == ReturnState.WAITING) | _to_be_proved())
        .group_by(ReturnRow.journey)
        .order_by(sa.func.min(ReturnRow.attempts), sa.func.min(ReturnRow.changed_at), ReturnRow.journey)
        .limit(1)
    ).first()
    return None if found is None else (found[0], found[1])


def not_closed(session: Session, destination: str) -> list[str]:
    """The journeys with results that are not closed at `destination`, the oldest first."""
    return list(
        session.scalars(
            sa.select(ReturnRow.journey)
            .where(ReturnRow.destination == destination, ReturnRow.state.in_(OPEN_STATES))
            .group_by(ReturnRow.journey)
            .order_by(sa.func.min(ReturnRow.id))
        )
    )


def _to_be_proved() -> sa.ColumnElement[bool]:
    return (ReturnRow.state == ReturnState.STORED) & (ReturnRow.transaction_uid == "")
