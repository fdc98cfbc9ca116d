"""The door of the queue: one commit writes the ledger and enqueues the journey. Knows nothing of the worker."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import sqlalchemy as sa
from dbos import DBOSClient, DBOSPortableJSONSerializer
from sqlalchemy.orm import Session

from dicom_node.errors import OutOfResources
from dicom_node.faultpoints import Point, reach
from dicom_node.journey.circuit import circuit_of, next_turn, priority_of
from dicom_node.journey.database import in_trouble, open_engine
from dicom_node.journey.known import Recorded as Recorded
from dicom_node.journey.known import place
from dicom_node.journey.ledger import (
    OPEN_STATES,
    CircuitState,
    CommitmentRow,
    ReadingRow,
    ReceivedObject,
    RejectedObject,
    ReturnRow,
    ReturnState,
    Study,
    now,
)
from dicom_node.journey.proof import apply
from dicom_node.journey.runs import APPLICATION, reading_options, return_options
from dicom_node.journey.urgency import Urgency, place_in_queue
from dicom_node.peers import Peer
from dicom_node.returns.commitment import Report
from dicom_node.settings import Settings

KNOWN_UID: Final = "other content under a known SOP Instance UID"
"""Why it was not read; where it is read again, the flag of that reading."""
OWN_RESULT: Final = "own result"
SET_ASIDE_BY_HAND: Final = "Set aside by an operator."

_TRIES: Final = 8
"""Of a write that others come before: each of them brings one object under the same UID."""


def journey_of(sop_instance_uid: str, revision: int = 1) -> str:
    """Id of the journey of a radiograph: the same for every resend, whatever a router changed on the way.

    revision: 2 and higher of a reading of later content under the same UID.
    """
    journey = hashlib.sha256(sop_instance_uid.encode()).hexdigest()[:32]
    return journey if revision == 1 else f"{journey}.{revision}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One object that lies in the spool, with the verdict of the gate."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    accession_number: str
    patient_id: str
    study_date: str
    digest: str
    size: int
    calling_ae: str
    peer_address: str
    accepted: bool
    reason: str = ""
    detail: str = ""
    view: str = ""
    evidence: str = ""
    flags: tuple[str, ...] = ()
    urgency: Urgency = Urgency.ROUTINE
    urgency_evidence: str = ""


class JourneyQueue:
    """Where the receiver hands over what it took in, and the operator what shall be tried again."""

    def __init__(self, settings: Settings) -> None:
        """Connect; the database must have been prepared."""
        self.engine = open_engine(settings)
        self._policy = settings.duplicate_policy
        self._advance = timedelta(minutes=settings.stat_advance_minutes)
        self._return_attempts = settings.return_attempts
        self._reporters = {str(d.peer): {peer.ae_title for peer in d.peers} for d in settings.destinations}
        self._client = DBOSClient(
            system_database_engine=self.engine,
            serializer=DBOSPortableJSONSerializer(),
            application_name=APPLICATION,
            # The caller answers 0xA700 instead, so that the sender keeps the object.
            retry_connection_errors=False,
        )

    def close(self) -> None:
        """Let go of the database."""
        self._client.destroy()
        self.engine.dispose()

    def record(self, received: Received) -> Recorded:
        """Write the object into the ledger and enqueue its journey if it was accepted, in one commit.

        When this returns, the object will be read. Raises OutOfResources if the database cannot take it now,
        AlreadyRead if there is other content under its UID and `duplicate_policy` refuses that.
        """
        try:
            for _ in range(_TRIES):
                try:
                    with Session(self.engine) as session, session.begin():
                        return self._record(session, received)
                except sa.exc.IntegrityError:
                    # Another association stored the same UID between our look and our write: look again.
                    continue
            raise OutOfResources("Too many associations store objects under one UID.")
        except (sa.exc.DatabaseError, sa.exc.TimeoutError) as e:
            if not in_trouble(e):
                raise
            raise OutOfResources("The database cannot take the object now.", hint=str(e.__cause__ or e)) from e

    def _record(self, session: Session, received: Received) -> Recorded:
        recorded, known = place(
            session,
            sop_instance_uid=received.sop_instance_uid,
            series_instance_uid=received.series_instance_uid,
            digest=received.digest,
            policy=self._policy,
        )
        if recorded is Recorded.IDENTICAL:
            row = next(row for row in known if row.digest == received.digest)
            row.times_received = ReceivedObject.times_received + 1  # in SQL: other associations count, too
            row.purged_at = None  # the spool has it again
            return recorded
        journey = None
        if received.accepted and recorded in (Recorded.NEW, Recorded.REVISED):
            journey = journey_of(received.sop_instance_uid, 1 + sum(row.journey is not None for row in known))
        revised = recorded is Recorded.REVISED and journey is not None
        reasons = {Recorded.DIFFERENT: KNOWN_UID, Recorded.OWN: OWN_RESULT}
        at = now()
        priority = place_in_queue(received.urgency, at, self._advance)
        if session.get(Study, received.study_instance_uid) is None:
            session.add(
                Study(
                    study_instance_uid=received.study_instance_uid,
                    accession_number=received.accession_number,
                    patient_id=received.patient_id,
                    study_date=received.study_date,
                    first_received_at=at,
                )
            )
            session.flush()
        session.add(
            ReceivedObject(
                sop_instance_uid=received.sop_instance_uid,
                digest=received.digest,
                sop_class_uid=received.sop_class_uid,
                transfer_syntax_uid=received.transfer_syntax_uid,
                study_instance_uid=received.study_instance_uid,
                series_instance_uid=received.series_instance_uid,
                size=received.size,
                calling_ae=received.calling_ae,
                peer_address=received.peer_address,
                received_at=at,
                accepted=journey is not None,
                reason=reasons.get(recorded, received.reason),
                detail=received.detail,
                view=received.view,
                evidence=received.evidence,
                flags=[*received.flags, *([KNOWN_UID] if revised else [])],
                journey=journey,
                urgency=received.urgency,
                urgency_evidence=received.urgency_evidence,
                priority=priority,
            )
        )
        session.flush()
        if journey is not None:
            self._client.enqueue_in_transaction(session, reading_options(journey, priority), journey, priority)
        reach(Point.OBJECT_WRITTEN)
        return recorded

    def unknown(self, digests: Collection[str]) -> set[str]:
        """Those of `digests` that no row of the ledger has. Raises OutOfResources like `record`."""
        try:
            with Session(self.engine) as session:
                rows = sa.select(ReceivedObject.digest).where(ReceivedObject.digest.in_(digests))
                return set(digests).difference(session.scalars(rows))
        except (sa.exc.OperationalError, sa.exc.TimeoutError) as e:
            raise OutOfResources("The database cannot be asked now.", hint=str(e.__cause__ or e)) from e

    def record_rejected(
        self,
        *,
        sop_instance_uid: str,
        sop_class_uid: str,
        calling_ae: str,
        peer_address: str,
        status: int,
        reason: str,
    ) -> None:
        """Remember why a C-STORE was answered with a failure; raises OutOfResources like `record`."""
        try:
            with Session(self.engine) as session, session.begin():
                session.add(
                    RejectedObject(
                        sop_instance_uid=sop_instance_uid,
                        sop_class_uid=sop_class_uid,
                        calling_ae=calling_ae,
                        peer_address=peer_address,
                        status=status,
                        reason=reason,
                        rejected_at=now(),
                    )
                )
        except (sa.exc.DatabaseError, sa.exc.TimeoutError) as e:
            if not in_trouble(e):
                raise
            raise OutOfResources("The database cannot take the record now.", hint=str(e.__cause__ or e)) from e

    def record_report(self, report: Report, *, reporter: str, apart: bool) -> bool:
        """Write down which results a destination has committed, and see to those that it has not.

        reporter: its AE title, or that of its `commitment_peer`. apart: on an association of its own. Returns False,
        and does nothing, if this destination was never asked with this transaction. Raises OutOfResources like
        `record`.
        """
        try:
            with Session(self.engine) as session, session.begin():
                commitment = session.get(CommitmentRow, report.transaction_uid)
                if commitment is None or reporter not in self._reporters_of(commitment.destination):
                    return False
                circuit_of(session, commitment.destination).reports_apart = apart
                if apply(session, report, commitment, at_most=self._return_attempts):
                    self._set_out(session, commitment.journey, commitment.destination, "report")
                session.flush()
                reach(Point.REPORT_WRITTEN)
            reach(Point.REPORT_RECORDED)
            return True
        except (sa.exc.OperationalError, sa.exc.IntegrityError, sa.exc.TimeoutError) as e:
            raise OutOfResources("The database cannot take the report now.", hint=str(e.__cause__ or e)) from e

    def _reporters_of(self, destination: str) -> set[str]:
        return self._reporters.get(destination) or {Peer.parse(destination).ae_title}

    def retry_returns(self, destination: str | None = None, *, only: sa.ColumnElement[bool] | None = None) -> int:
        """Offer what was set aside to its destinations again; returns how many objects.

        only: of which journeys, a condition on `ReceivedObject`.
        """
        with Session(self.engine) as session, session.begin():
            rows = session.scalars(
                sa.select(ReturnRow)
                .where(ReturnRow.state == ReturnState.SET_ASIDE)
                .where(sa.true() if destination is None else ReturnRow.destination == destination)
                .where(sa.true() if only is None else ReturnRow.journey.in_(_journeys(only)))
            ).all()
            for row in rows:
                row.state, row.refusals, row.asked, row.changed_at = ReturnState.WAITING, 0, 0, now()
            for journey, where in {(row.journey, row.destination) for row in rows}:
                self._set_out(session, journey, where, "again")
            return len(rows)

    def set_aside(self, *, only: sa.ColumnElement[bool]) -> int:
        """Offer no more what is not closed; `retry_returns` takes it up again. Returns how many objects.

        only: of which journeys, a condition on `ReceivedObject`. A visit that is under way comes to its end.
        """
        with Session(self.engine) as session, session.begin():
            found = sa.select(ReturnRow).where(ReturnRow.state.in_(OPEN_STATES), ReturnRow.journey.in_(_journeys(only)))
            for destination in sorted({row.destination for row in session.scalars(found)}):
                circuit_of(session, destination)
            rows = session.scalars(found.execution_options(populate_existing=True)).all()
            for row in rows:
                row.state, row.reason, row.transaction_uid = ReturnState.SET_ASIDE, SET_ASIDE_BY_HAND, ""
                row.changed_at = now()
            for journey, where in {(row.journey, row.destination) for row in rows}:
                next_turn(session, journey, where)  # so that no visit goes on with it
            return len(rows)

    def _set_out(self, session: Session, journey: str, destination: str, why: str) -> None:
        turn, priority = next_turn(session, journey, destination), priority_of(session, journey)
        options = return_options(f"{journey}/{why}/{now():%Y%m%dT%H%M%S.%f}", destination, 1, priority=priority)
        self._client.enqueue_in_transaction(session, options, journey, destination, 1, priority, turn)

    def retry_readings(self, *, only: sa.ColumnElement[bool] | None = None) -> int:
        """Read again what could not be read and is still on disk; returns how many radiographs.

        only: a condition on `ReceivedObject`.
        """
        with Session(self.engine) as session, session.begin():
            rows = session.execute(
                sa.select(ReceivedObject, ReadingRow)
                .join(ReadingRow, ReadingRow.journey == ReceivedObject.journey)
                .where(ReadingRow.failure != "", ReceivedObject.purged_at.is_(None))
                .where(sa.true() if only is None else only)
            ).all()
            for received, reading in rows:
                options = reading_options(reading.journey, received.priority)
                options["workflow_id"] = f"{reading.journey}/after/{reading.read_at:%Y%m%dT%H%M%S.%f}"
                received.attempts, received.strikes = 0, []
                # The report on the failure, if there was one, is of a reading that no longer counts.
                session.execute(sa.delete(ReturnRow).where(ReturnRow.journey == reading.journey))
                session.delete(reading)
                self._client.enqueue_in_transaction(session, options, reading.journey, received.priority)
            return len(rows)

    def purged_failures(self) -> int:
        """How many radiographs could not be read, and cannot be read again: their files were purged."""
        with Session(self.engine) as session:
            purged = (
                sa.select(sa.func.count())
                .select_from(ReceivedObject)
                .join(ReadingRow, ReadingRow.journey == ReceivedObject.journey)
                .where(ReadingRow.failure != "", ReceivedObject.purged_at.is_not(None))
            )
            return session.scalar(purged) or 0

    def read_anew(self, journey: str) -> None:
        """Enqueue the reading of `journey` once more; the reader does nothing if the ledger has it already."""
        with Session(self.engine) as session, session.begin():
            options = reading_options(journey, priority := priority_of(session, journey))
            options |= {"workflow_id": f"{journey}/mended/{now():%Y%m%dT%H%M%S.%f}"}
            self._client.enqueue_in_transaction(session, options, journey, priority)

    def return_anew(self, journey: str, destination: str) -> None:
        """Send out what `journey` owes to `destination`, where no run does, and none would close its circuit."""
        with Session(self.engine) as session, session.begin():
            circuit_of(session, destination).state = CircuitState.CLOSED
            self._set_out(session, journey, destination, "mended")

    def give_up(self, runs: list[str]) -> None:
        """Cancel `runs`, ids of the queue."""
        self._client.cancel_workflows(runs)


def _journeys(which: sa.ColumnElement[bool]) -> sa.Select[str | None]:
    return sa.select(ReceivedObject.journey).where(ReceivedObject.journey.is_not(None), which)
