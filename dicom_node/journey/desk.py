"""The second half of the journey: results go to a destination, and the ledger learns what it answered."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.errors import PeerUnreachable
from dicom_node.faultpoints import Point, reach
from dicom_node.journey.ledger import ReturnRow, ReturnState, now
from dicom_node.journey.outcome import Returned
from dicom_node.logs import log
from dicom_node.results.shelf import ResultShelf
from dicom_node.returns.returner import Answer, return_to
from dicom_node.settings import Peer, Settings

STORED: Final = "C-STORE status"
"""The proof of delivery: the peer's own answer."""


class ReturnDesk:
    """Returns results and keeps the ledger. One per process."""

    def __init__(self, settings: Settings, engine: sa.Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._shelf = ResultShelf(settings.results_dir)

    def return_results(self, journey: str, destination: str) -> str:
        """Offer the waiting results of `journey` to `destination` once; returns a `Returned`.

        May run twice: what the ledger calls delivered is not sent again, and a peer knows an object by its UID.
        """
        try:
            return self._return(journey, destination)
        except (sa.exc.OperationalError, OSError) as e:
            log.warning("return postponed", journey=journey, destination=destination, reason=str(e))
            return Returned.LATER

    def _return(self, journey: str, destination: str) -> Returned:
        with Session(self._engine) as session:
            waiting = list(
                session.scalars(
                    sa.select(ReturnRow)
                    .where(ReturnRow.journey == journey, ReturnRow.destination == destination)
                    .where(ReturnRow.state == ReturnState.WAITING)
                    .order_by(ReturnRow.id)
                )
            )
        if not waiting:
            return Returned.CLOSED
        reach(Point.RETURN_BEGUN)
        unreached = ""
        answers: list[Answer] = []
        try:
            answers = return_to(
                Peer.parse(destination),
                [self._shelf.path(journey, row.kind, row.sop_instance_uid) for row in waiting],
                calling_ae=self._settings.ae_title,
                timeout=self._settings.network_timeout,
            )
        except PeerUnreachable as e:
            unreached = str(e)
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            for i, row in enumerate(waiting):
                session.add(row)
                row.attempts += 1
                row.changed_at = now()
                if i < len(answers):
                    self._note(row, answers[i])
                else:
                    row.reason = unreached or f"{destination} went away before it answered."
            session.flush()
            reach(Point.RETURN_WRITTEN)
        reach(Point.RETURN_RECORDED)
        for row in waiting:
            log.info(
                "result " + row.state,
                journey=journey,
                destination=destination,
                kind=row.kind,
                status=None if row.status is None else f"0x{row.status:04X}",
                reason=row.reason,
                attempt=row.attempts,
            )
        return Returned.LATER if any(row.state == ReturnState.WAITING for row in waiting) else Returned.CLOSED

    def _note(self, row: ReturnRow, answer: Answer) -> None:
        row.status = answer.status
        if answer.delivered:
            row.state, row.proof, row.reason = ReturnState.DELIVERED, STORED, ""
            return
        row.reason = f"{row.destination} refused it: {answer.in_words}."
        row.refusals += 1
        if row.refusals >= self._settings.return_attempts:
            row.state = ReturnState.SET_ASIDE
