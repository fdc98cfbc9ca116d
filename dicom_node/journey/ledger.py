"""The ledger: what came in, how it was judged, what was read, and what went back. Rows and the questions to them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, Final

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from dicom_node.journey.urgency import Urgency


class Row(DeclarativeBase):
    """Base of all rows."""

    type_annotation_map: ClassVar = {datetime: sa.DateTime(timezone=True), dict[str, Any]: sa.JSON, list[str]: sa.JSON}


class ReturnState(StrEnum):
    """Where one result object stands at one destination."""

    WAITING = "waiting"
    """It will be sent, for the first time or again."""

    STORED = "stored"
    """The destination answered the C-STORE with success, and has not proved yet that it keeps it."""

    DELIVERED = "delivered"
    """The destination has it; `proof` says how we know."""

    SET_ASIDE = "set aside"
    """The destination refused it too often; `covid-xnet retry` offers it again."""


OPEN_STATES: Final = (ReturnState.WAITING, ReturnState.STORED)
"""Of a return that still asks for something to be done."""


class Proof(StrEnum):
    """How we know that a destination has a result, strongest first."""

    COMMITMENT = "storage commitment"
    """It committed itself to keep the object. PS3.4 annex J."""

    QUERY = "C-FIND"
    """It finds the object among its own."""

    STATUS = "C-STORE status"
    """It answered the C-STORE with success or a warning."""


class CircuitState(StrEnum):
    """Whether results are sent to a destination."""

    CLOSED = "closed"
    """All of them."""

    OPEN = "open"
    """None: it was not there. One return at a time will find out whether it is back."""

    HALF_OPEN = "half-open"
    """One, which is finding out now."""


class Study(Row):
    """One study that an object of ours belongs to."""

    __tablename__ = "studies"

    study_instance_uid: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    accession_number: Mapped[str] = mapped_column(default="")
    patient_id: Mapped[str] = mapped_column(default="")
    study_date: Mapped[str] = mapped_column(default="")
    first_received_at: Mapped[datetime]

    received: Mapped[list["ReceivedObject"]] = relationship(back_populates="study")


class ReceivedObject(Row):
    """One object as it arrived. Another content under the same SOP Instance UID is another row."""

    __tablename__ = "received"
    __table_args__ = (
        sa.UniqueConstraint("sop_instance_uid", "digest"),
        sa.Index("ix_received_accepted", "accepted", "journey"),
        sa.Index("ix_received_calling_ae", "calling_ae", "received_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    sop_instance_uid: Mapped[str] = mapped_column(sa.String(64), index=True)
    digest: Mapped[str] = mapped_column(sa.String(64), index=True)
    sop_class_uid: Mapped[str] = mapped_column(sa.String(64))
    transfer_syntax_uid: Mapped[str] = mapped_column(sa.String(64))
    study_instance_uid: Mapped[str] = mapped_column(sa.ForeignKey("studies.study_instance_uid"), index=True)
    series_instance_uid: Mapped[str] = mapped_column(sa.String(64))
    size: Mapped[int] = mapped_column(sa.BigInteger)
    calling_ae: Mapped[str] = mapped_column(sa.String(16))
    peer_address: Mapped[str]
    received_at: Mapped[datetime] = mapped_column(index=True)
    times_received: Mapped[int] = mapped_column(default=1)

    accepted: Mapped[bool]
    """By its header; False also if its pixels spoke against a reading afterwards."""
    reason: Mapped[str] = mapped_column(default="")
    detail: Mapped[str] = mapped_column(default="")
    view: Mapped[str] = mapped_column(default="")
    evidence: Mapped[str] = mapped_column(default="")
    flags: Mapped[list[str]] = mapped_column(default=list)

    journey: Mapped[str | None] = mapped_column(sa.String(64), unique=True)
    """Id of the journey that reads it, or looked at its pixels and did not; None if its header was enough."""
    attempts: Mapped[int] = mapped_column(default=0)
    """How often a worker began to read it: what kills a worker every time is set aside."""
    urgency: Mapped[str] = mapped_column(sa.String(16), default=Urgency.ROUTINE)
    urgency_evidence: Mapped[str] = mapped_column(default="")
    """What said that it is STAT."""
    priority: Mapped[int] = mapped_column(default=0)
    """Its place in the queues, from `urgency.place_in_queue`; 0 of what came before there were any."""
    strikes: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    """How workers died of it: one that needs too much is set aside sooner than one whose workers were killed."""
    purged_at: Mapped[datetime | None]
    """When the files of the object and of its results were removed; None: they are on disk."""

    study: Mapped[Study] = relationship(back_populates="received")
    reading: Mapped["ReadingRow | None"] = relationship(
        primaryjoin="ReceivedObject.journey == foreign(ReadingRow.journey)", uselist=False, viewonly=True
    )
    returns: Mapped[list["ReturnRow"]] = relationship(
        primaryjoin="ReceivedObject.journey == foreign(ReturnRow.journey)", viewonly=True, order_by="ReturnRow.id"
    )


class RejectedObject(Row):
    """One C-STORE that was answered with a failure: the sender still has the object, we have only the reason."""

    __tablename__ = "rejected"

    id: Mapped[int] = mapped_column(primary_key=True)
    sop_instance_uid: Mapped[str]
    sop_class_uid: Mapped[str]
    calling_ae: Mapped[str] = mapped_column(sa.String(16))
    peer_address: Mapped[str]
    status: Mapped[int]
    reason: Mapped[str]
    rejected_at: Mapped[datetime] = mapped_column(index=True)


class ReadingRow(Row):
    """What the networks said in one journey, or why they could not say anything."""

    __tablename__ = "readings"
    __table_args__ = (sa.Index("ix_readings_verdict", "verdict", "read_at"),)

    journey: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    read_at: Mapped[datetime] = mapped_column(index=True)
    failure: Mapped[str] = mapped_column(default="")
    """Empty, or the reason why the radiograph could not be read."""
    score: Mapped[float | None]
    """Of the networks, as it is, whatever the site was commissioned for."""
    probability: Mapped[float | None]
    """What calibration made of the score."""
    commissioning: Mapped[dict[str, Any] | None]
    """Digest, date and signer of the commissioning in force, and how many radiographs it rests on; None: none was."""
    verdict: Mapped[str] = mapped_column(default="")
    threshold: Mapped[float | None]
    lungs_found: Mapped[bool | None]
    model_name: Mapped[str] = mapped_column(default="")
    model_version: Mapped[str] = mapped_column(default="")
    model_digest: Mapped[str] = mapped_column(default="")
    milliseconds: Mapped[float | None]
    stages: Mapped[dict[str, Any]] = mapped_column(default=dict)
    statistics: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    """Of what went into the networks, from `pipeline.input_statistics`; empty of readings before there were any."""
    shadow: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    """Whether nothing may be sent of it, for its sender was not switched on when it was read."""
    repairs: Mapped[list[str]] = mapped_column(default=list)
    """What the results do not say as the radiograph said it, for the standard does not allow that."""


class ReturnRow(Row):
    """One result object on its way to one destination."""

    __tablename__ = "returns"
    __table_args__ = (
        sa.UniqueConstraint("journey", "destination", "sop_instance_uid"),
        sa.Index("ix_returns_destination", "destination", "state"),
        sa.Index("ix_returns_state_changed_at", "state", "changed_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    journey: Mapped[str] = mapped_column(sa.ForeignKey("readings.journey"), index=True)
    destination: Mapped[str]
    kind: Mapped[str] = mapped_column(sa.String(32))
    sop_class_uid: Mapped[str] = mapped_column(sa.String(64))
    sop_instance_uid: Mapped[str] = mapped_column(sa.String(64), index=True)
    series_instance_uid: Mapped[str] = mapped_column(sa.String(64), default="", index=True)
    """These two are how the node knows its own when they come back."""
    state: Mapped[str] = mapped_column(sa.String(16), default=ReturnState.WAITING)
    status: Mapped[int | None]
    """C-STORE status in the peer's last answer."""
    transfer_syntax_uid: Mapped[str] = mapped_column(sa.String(64), default="")
    """In which the object went when the peer answered last."""
    proof: Mapped[str] = mapped_column(default="")
    """How we know that it was delivered."""
    reason: Mapped[str] = mapped_column(default="")
    """Why the last attempt failed."""
    attempts: Mapped[int] = mapped_column(default=0)
    refusals: Mapped[int] = mapped_column(default=0)
    """Failures that the destination answered, since the object was first sent or last brought back by an operator."""
    transaction_uid: Mapped[str] = mapped_column(sa.String(64), default="")
    """Of the storage commitment that is awaited; empty if none is."""
    asked_at: Mapped[datetime | None]
    """When storage commitment was asked for last."""
    asked: Mapped[int] = mapped_column(default=0)
    """How often a proof was asked for in vain, since the object was first sent or last brought back."""
    failure_reason: Mapped[int | None]
    """Failure Reason (0008,1197) of the last report that it is not committed. PS3.3 C.14.1.1."""
    turn: Mapped[int] = mapped_column(default=1)
    """Number of the run of visits that looks after it; a visit of an earlier run ends at once, so that there is one."""
    changed_at: Mapped[datetime] = mapped_column(index=True)

    def deliver(self, proof: Proof) -> None:
        """Close it."""
        self.state, self.proof = ReturnState.DELIVERED, proof
        self.transaction_uid = self.reason = ""
        self.failure_reason = None
        self.changed_at = now()

    def refuse(self, reason: str, *, at_most: int, then: ReturnState = ReturnState.WAITING) -> None:
        """Count a failure that the destination answered; the object goes to `then`, or is set aside with the reason."""
        self.reason = reason
        self.refusals += 1
        self.transaction_uid = ""
        self.state = then if self.refusals < at_most else ReturnState.SET_ASIDE
        self.changed_at = now()


class CommitmentRow(Row):
    """One request for storage commitment. Kept when it is answered, for the answer may come late, or twice."""

    __tablename__ = "commitments"

    transaction_uid: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    journey: Mapped[str] = mapped_column(sa.String(64), index=True)
    destination: Mapped[str]
    asked_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]


class CircuitRow(Row):
    """What the node knows of one destination; all returners share it."""

    __tablename__ = "circuits"

    destination: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(sa.String(16), default=CircuitState.CLOSED)
    since: Mapped[datetime]
    failures: Mapped[int] = mapped_column(default=0)
    """Visits in a row that did not come to their end."""
    openings: Mapped[int] = mapped_column(default=0)
    """How often it was opened: names the run of probes that will close it."""
    last_contact_at: Mapped[datetime | None]
    """When the destination last answered an object."""
    last_error: Mapped[str] = mapped_column(default="")
    last_error_at: Mapped[datetime | None]
    denied: Mapped[list[str]] = mapped_column(default=list)
    """Kinds of `Proof` that it did not give when it was asked."""
    denied_at: Mapped[datetime | None]
    reports_apart: Mapped[bool] = mapped_column(default=False)
    """Whether it reports storage commitment on an association of its own; then nobody waits for it on ours."""


class NodeRow(Row):
    """The installation to which this database belongs: one row, made with the table."""

    __tablename__ = "node"

    id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    """32 hexadecimal digits, drawn by lot."""


def node_id(session: Session) -> str:
    """Id of this installation, which tells its results from those of another node with the same networks."""
    return session.scalars(sa.select(NodeRow.id)).one()


def now() -> datetime:
    """The moment that goes into the ledger, in UTC."""
    return datetime.now(UTC)


def latest(session: Session, limit: int | None, *, study: str | None = None) -> list[ReceivedObject]:
    """The objects that came last, newest first, with their readings and returns; all if `limit` is None.

    study: Study Instance UID; None: of every study.
    """
    return list(
        session.scalars(
            sa.select(ReceivedObject)
            .options(sa.orm.selectinload(ReceivedObject.reading), sa.orm.selectinload(ReceivedObject.returns))
            .where(sa.true() if study is None else ReceivedObject.study_instance_uid == study)
            .order_by(ReceivedObject.id.desc())
            .limit(limit)
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The score of one radiograph of the site."""

    sop_instance_uid: str
    calling_ae: str
    score: float


def scored(
    session: Session, model_digest: str, *, calling_ae: str | None, since: datetime | None, until: datetime | None
) -> list[Scored]:
    """What the networks with this digest said of every radiograph in which they found lungs, in the order of arrival.

    calling_ae: of the sender; since, until: of the arrival, the latter excluded; None: any.
    """
    rows = session.execute(
        sa.select(ReceivedObject.sop_instance_uid, ReceivedObject.calling_ae, ReadingRow.score)
        .join(ReadingRow, ReadingRow.journey == ReceivedObject.journey)
        .where(ReadingRow.failure == "", ReadingRow.model_digest == model_digest)
        .where(ReadingRow.lungs_found.is_(True))
        .where(sa.true() if calling_ae is None else ReceivedObject.calling_ae == calling_ae)
        .where(sa.true() if since is None else ReceivedObject.received_at >= since)
        .where(sa.true() if until is None else ReceivedObject.received_at < until)
        .order_by(ReceivedObject.id)
    )
    return [
        Scored(sop_instance_uid=uid, calling_ae=sender, score=score) for uid, sender, score in rows if score is not None
    ]


def latest_rejected(session: Session, limit: int | None) -> list[RejectedObject]:
    """The C-STORE requests that were answered with a failure last, newest first; all if `limit` is None."""
    return list(session.scalars(sa.select(RejectedObject).order_by(RejectedObject.id.desc()).limit(limit)))


def circuits(session: Session) -> dict[str, CircuitRow]:
    """What is known of each destination that was ever visited."""
    return {row.destination: row for row in session.scalars(sa.select(CircuitRow).order_by(CircuitRow.destination))}


def utc(moment: datetime) -> datetime:
    """A moment as it comes from the ledger, in UTC: SQLite keeps no time zone."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
