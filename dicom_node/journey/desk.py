"""The second half of the journey: results go to a destination, which proves that it has them, and the ledger learns."""

from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from pynetdicom.presentation import build_context
from sqlalchemy.orm import Session

from dicom_node.audit import Kind, Outcome
from dicom_node.errors import PeerUnreachable
from dicom_node.faultpoints import Point, reach
from dicom_node.journey.audit_head import open_trail
from dicom_node.journey.circuit import (
    broke_off,
    came_to_its_end,
    circuit_of,
    next_turn,
    not_closed,
    priority_of,
    to_be_tried,
    try_out,
    was_tried_out,
)
from dicom_node.journey.ledger import OPEN_STATES, CircuitState, ReturnRow, ReturnState, now
from dicom_node.journey.outcome import Returned
from dicom_node.journey.queue import JourneyQueue
from dicom_node.journey.visit import Visit
from dicom_node.logs import log
from dicom_node.peers import Peer
from dicom_node.returns.returner import associate
from dicom_node.settings import Settings
from dicom_node.wire import VERIFICATION

T = TypeVar("T")


class ReturnDesk:
    """Returns results and keeps the ledger. One per process; its methods raise nothing."""

    def __init__(self, settings: Settings, queue: JourneyQueue) -> None:
        self._settings = settings
        self._queue = queue
        self._trail = open_trail(settings, queue.engine, by="returner")

    def take_up(self, settings: Settings) -> None:
        """Go by other settings from the next visit on."""
        self._settings = settings

    def close(self) -> None:
        """Write what waits for the audit trail."""
        self._trail.close()

    def return_results(self, journey: str, destination: str, turn: int = 1) -> str:
        """Visit `destination` once with what is due of `journey`; returns a `Returned`.

        May run twice: what the ledger calls delivered is not sent again, and a peer knows an object by its UID.
        turn: of the run of visits that this one belongs to.
        """
        return self._guarded(lambda: self._visit(journey, destination, turn), Returned.LATER, journey, destination)

    def probe(self, destination: str, opening: int) -> bool:
        """Find out with one return whether `destination` is back, and close its circuit if it is.

        Returns False if another attempt has to follow; True also if the circuit was closed or opened anew since.
        """
        return self._guarded(lambda: self._probe(destination, opening), False, "", destination)

    def opening(self, destination: str) -> int | None:
        """The number of the opening of the circuit of `destination`, which names its run of probes; None if closed."""
        with Session(self._queue.engine) as session, session.begin():
            circuit = circuit_of(session, destination)
            return None if circuit.state == CircuitState.CLOSED else circuit.openings

    def release(self, destination: str, opening: int) -> list[tuple[str, int, int]]:
        """The journeys that set out for `destination` now that it is back, with their priorities and new turns."""
        with Session(self._queue.engine) as session, session.begin():
            circuit = circuit_of(session, destination)
            if circuit.openings != opening or circuit.state != CircuitState.CLOSED:
                return []
            released = [
                (journey, priority_of(session, journey), next_turn(session, journey, destination))
                for journey in not_closed(session, destination)
            ]
        log.info("destination is back", destination=destination, released=len(released))
        return released

    def _guarded(self, work: Callable[[], T], instead: T, journey: str, destination: str) -> T:
        try:
            return work()
        except (sa.exc.OperationalError, sa.exc.IntegrityError, OSError) as e:
            log.warning("return postponed", journey=journey, destination=destination, reason=type(e).__name__)
        # The edge: an error here would end the run of visits, and the results would wait for ever.
        except Exception:
            log.exception("return failed unexpectedly", journey=journey, destination=destination)
        return instead

    def _visit(self, journey: str, destination: str, turn: int, *, probing: bool = False) -> Returned:
        with Session(self._queue.engine) as session, session.begin():
            circuit = circuit_of(session, destination)
            rows = session.scalars(_open_rows(journey, destination, turn)).all()
            if not rows:
                return Returned.CLOSED
            objects = [row.sop_instance_uid for row in rows]
            if circuit.state != CircuitState.CLOSED and not probing:
                for row in rows:
                    row.attempts += 1
                    row.reason, row.changed_at = circuit.last_error, now()
                return Returned.PARKED
        reach(Point.RETURN_BEGUN)
        visit = Visit(self._settings, self._queue, journey, destination)
        problem = visit.make()
        if visit.reached:
            self._trail.record(
                Kind.INSTANCES_TRANSFERRED,
                outcome=Outcome.MINOR_FAILURE if problem else Outcome.SUCCESS,
                action="sent",
                destination=destination,
                journey=journey,
                objects=objects,
            )
        reach(Point.RETURN_RECORDED)
        with Session(self._queue.engine) as session, session.begin():
            circuit = circuit_of(session, destination)
            if problem:
                broke_off(circuit, problem, at_once=not visit.reached)
                log.warning("visit broke off", destination=destination, circuit=circuit.state, reason=problem)
            elif visit.reached:
                came_to_its_end(circuit)
            rows = session.scalars(_open_rows(journey, destination, turn)).all()
            if circuit.state != CircuitState.CLOSED and not probing:
                return Returned.PARKED if rows else Returned.CLOSED
            if probing:
                was_tried_out(circuit, back=visit.reached and not problem)
            if not rows:
                return Returned.CLOSED
            due = any(row.state == ReturnState.WAITING or not row.transaction_uid for row in rows)
            return Returned.LATER if due else Returned.AWAITED

    def _probe(self, destination: str, opening: int) -> bool:
        with Session(self._queue.engine) as session, session.begin():
            circuit = circuit_of(session, destination)
            if circuit.openings != opening or circuit.state == CircuitState.CLOSED:
                return True
            try_out(circuit)
            tried = to_be_tried(session, destination)
        if tried is None:
            problem = self._echo(destination)
            with Session(self._queue.engine) as session, session.begin():
                circuit = circuit_of(session, destination)
                if problem:
                    broke_off(circuit, problem, at_once=True)
                was_tried_out(circuit, back=not problem)
        else:
            self._visit(tried[0], destination, tried[1], probing=True)
        with Session(self._queue.engine) as session, session.begin():
            return circuit_of(session, destination).state == CircuitState.CLOSED

    def _echo(self, destination: str) -> str:
        """What is wrong with the way to `destination`; empty if nothing is."""
        try:
            peer = Peer.parse(destination)
            associate(
                peer,
                [build_context(VERIFICATION)],
                calling_ae=self._settings.ae_title,
                timeout=self._settings.network_timeout,
                tls=self._settings.tls_to(peer),
            ).release()
        except PeerUnreachable as e:
            return str(e)
        return ""


def _open_rows(journey: str, destination: str, turn: int) -> sa.Select[ReturnRow]:
    return (
        sa.select(ReturnRow)
        .where(ReturnRow.journey == journey, ReturnRow.destination == destination, ReturnRow.turn == turn)
        .where(ReturnRow.state.in_(OPEN_STATES))
        .order_by(ReturnRow.attempts, ReturnRow.id)
    )
