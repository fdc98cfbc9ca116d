"""The worklist: which objects somebody asked for, the newest first, a page at a time."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload, selectinload

from dicom_node.journey.ledger import OPEN_STATES, ReadingRow, ReceivedObject, ReturnRow, ReturnState, Study

PAGE: Final = 50
"""Objects on one page."""
LONGEST_SEARCH: Final = 64
LARGEST_ID: Final = 2**63 - 1
_FIRST_DAY: Final = date(1970, 1, 2)
_LAST_DAY: Final = date(9999, 12, 30)
"""Days whose midnight every time zone has a moment for, and nothing came before or after them."""


class Standing(StrEnum):
    """Where an object stands, for who looks for it."""

    WAITING = "waiting"
    POSITIVE = "positive"
    INDETERMINATE = "indeterminate"
    NEGATIVE = "negative"
    FAILED = "failed"
    NOT_READ = "not read"
    RETURNING = "returning"
    SET_ASIDE = "set aside"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody asked for; empty or None: any.

    search: the beginning of a Study or SOP Instance UID, and with `identity` of an accession number or patient id.
    since, until: days on the clock of the node, both included. before: only objects with a smaller id.
    """

    standing: Standing | None = None
    sender: str = ""
    search: str = ""
    since: date | None = None
    until: date | None = None
    before: int | None = None
    identity: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One page. older: `before` of the next one; None if this is the last."""

    objects: tuple[ReceivedObject, ...]
    older: int | None


_OBJECTS: Final = sa.select(ReceivedObject).options(
    joinedload(ReceivedObject.study),
    selectinload(ReceivedObject.reading),
    selectinload(ReceivedObject.returns),
)


def find(session: Session, number: int) -> ReceivedObject | None:
    """The object of this number, with its study, reading and returns; None if there is none."""
    if not 0 < number <= LARGEST_ID:
        return None
    return session.scalars(_OBJECTS.where(ReceivedObject.id == number)).first()


def look_for(session: Session, wanted: Wanted) -> Found:
    """The objects that were asked for; milliseconds also with 100,000 readings."""
    rows = session.scalars(
        _OBJECTS.where(*_conditions(wanted)).order_by(ReceivedObject.id.desc()).limit(PAGE + 1)
    ).all()
    return Found(objects=tuple(rows[:PAGE]), older=rows[PAGE - 1].id if len(rows) > PAGE else None)


def sender_names(session: Session) -> list[str]:
    """AE titles of everybody who ever sent an object."""
    return list(session.scalars(sa.select(ReceivedObject.calling_ae).distinct().order_by(ReceivedObject.calling_ae)))


def standing_of(row: ReceivedObject) -> Standing:
    """Where an object stands with its reading; its returns are told beside."""
    if not row.accepted:
        return Standing.NOT_READ
    if row.reading is None:
        return Standing.WAITING
    return Standing.FAILED if row.reading.failure else Standing(row.reading.verdict)


def _conditions(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    where = _standing(wanted.standing) if wanted.standing else []
    if wanted.sender:
        where.append(ReceivedObject.calling_ae == wanted.sender)
    if wanted.since:
        where.append(ReceivedObject.received_at >= _midnight(max(wanted.since, _FIRST_DAY)))
    if wanted.until:
        where.append(ReceivedObject.received_at < _midnight(min(wanted.until, _LAST_DAY) + timedelta(days=1)))
    if wanted.before is not None:
        where.append(ReceivedObject.id < wanted.before)
    if text := wanted.search.strip()[:LONGEST_SEARCH]:
        names = [Study.study_instance_uid, *([Study.accession_number, Study.patient_id] if wanted.identity else [])]
        studies = sa.select(Study.study_instance_uid).where(
            sa.or_(*(name.istartswith(text, autoescape=True) for name in names))
        )
        where.append(
            sa.or_(
                ReceivedObject.study_instance_uid.in_(studies),
                ReceivedObject.sop_instance_uid.startswith(text, autoescape=True),
            )
        )
    return where


def _standing(standing: Standing) -> list[sa.ColumnElement[bool]]:
    def read(*where: sa.ColumnElement[bool]) -> list[sa.ColumnElement[bool]]:
        return [ReceivedObject.journey.in_(sa.select(ReadingRow.journey).where(*where))]

    def returning(*states: ReturnState) -> list[sa.ColumnElement[bool]]:
        return [ReceivedObject.journey.in_(sa.select(ReturnRow.journey).where(ReturnRow.state.in_(states)))]

    match standing:
        case Standing.WAITING:
            reading = sa.select(ReadingRow.journey).where(ReadingRow.journey == ReceivedObject.journey)
            return [ReceivedObject.accepted.is_(True), ~reading.exists()]
        case Standing.FAILED:
            return read(ReadingRow.verdict == "", ReadingRow.failure != "")
        case Standing.NOT_READ:
            return [ReceivedObject.accepted.is_(False)]
        case Standing.RETURNING:
            return returning(*OPEN_STATES)
        case Standing.SET_ASIDE:
            return returning(ReturnState.SET_ASIDE)
        case _:
            return read(ReadingRow.verdict == standing.value)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day).astimezone().astimezone(UTC)
