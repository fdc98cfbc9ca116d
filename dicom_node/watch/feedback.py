"""What somebody verified about radiographs that the node read, and how often the networks were right.

Any door may bring it, a table or a page: `parse` checks row by row, `enter` puts it into the ledger.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from dicom_node.journey.ledger import ReadingRow, ReceivedObject, Row, Study, now

IS_COVID: Final = {
    "covid": True, "positive": True,
    "normal": False, "pneumonia": False, "other": False, "negative": False,
}  # fmt: skip
"""What a label means: those that a corpus has, and those of a laboratory."""
NAMES: Final = ("sop_instance_uid", "accession_number")
COLUMNS: Final = ("label", "source", "date")


class FeedbackRow(Row):
    """One verified radiograph. Never changed: a correction is another row, and the last one of a radiograph counts."""

    __tablename__ = "feedback"

    id: Mapped[int] = mapped_column(primary_key=True)
    sop_instance_uid: Mapped[str] = mapped_column(sa.String(64), index=True)
    label: Mapped[str] = mapped_column(sa.String(16))
    source: Mapped[str] = mapped_column(sa.String(64))
    """Who or what verified it, such as PCR or a radiologist."""
    verified_on: Mapped[date] = mapped_column(sa.Date)
    entered_by: Mapped[str] = mapped_column(sa.String(64))
    entered_at: Mapped[datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """One row of a table that holds: by SOP Instance UID, or by accession number every radiograph of the study."""

    row: int
    sop_instance_uid: str
    accession_number: str
    label: str
    source: str
    verified_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One row that was not taken, and why. Names no patient."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """What became of a table, in radiographs: new, a correction, known already, or older than what is known."""

    new: int = 0
    corrected: int = 0
    known: int = 0
    outdated: int = 0
    problems: tuple[Problem, ...] = field(default=())


def parse(lines: Iterable[str]) -> tuple[list[Verified], list[Problem]]:
    """Read a CSV table with a heading: one of `NAMES` and all `COLUMNS`; others are passed over.

    Raises ValueError if it is no such table.
    """
    rows = csv.DictReader(lines)
    try:
        heading = [name.strip().lower() for name in rows.fieldnames or ()]
        if not set(NAMES).intersection(heading) or not set(COLUMNS) <= set(heading):
            raise ValueError(f"has no columns {' or '.join(NAMES)}, and {', '.join(COLUMNS)}")
        rows.fieldnames = heading
        verified, problems = [], []
        for number, row in enumerate(rows, start=2):
            cells = {name: (row.get(name) or "").strip() for name in (*NAMES, *COLUMNS)}
            if not any(cells.values()):
                continue
            if reason := _fault(cells):
                problems.append(Problem(row=number, reason=reason))
                continue
            verified.append(
                Verified(
                    row=number,
                    sop_instance_uid=cells["sop_instance_uid"],
                    accession_number=cells["accession_number"],
                    label=cells["label"].lower(),
                    source=" ".join(cells["source"].split()),
                    verified_on=date.fromisoformat(cells["date"]),
                )
            )
    except csv.Error as e:
        raise ValueError(f"is not CSV: {e}") from None
    return verified, problems


def _fault(cells: dict[str, str]) -> str:
    """What is wrong with a row; empty if nothing is."""
    if not any(cells[name] for name in NAMES):
        return f"{' and '.join(NAMES)} are empty"
    if cells["label"].lower() not in IS_COVID:
        return f"label {cells['label'][:20]!r} is none of {', '.join(IS_COVID)}"
    if not 1 <= len(cells["source"]) <= 64 or not cells["source"].isprintable():
        return "source is empty, or no name of 64 letters at most"
    try:
        verified_on = date.fromisoformat(cells["date"])
    except ValueError:
        return f"date {cells['date'][:20]!r} is none: write 2026-11-30"
    if verified_on > now().date() + timedelta(days=1):  # it may be tomorrow already where it was verified
        return f"date {cells['date']} lies in the future"
    return ""


def enter(session: Session, verified: Sequence[Verified], problems: Sequence[Problem], *, by: str) -> Entered:
    """Put verified radiographs into the ledger; what is there already changes nothing, so it can be repeated.

    Of one radiograph the latest date counts, and of one date the last row. problems: those of `parse`, for the account.
    The caller commits.
    """
    counted = {"new": 0, "corrected": 0, "known": 0, "outdated": 0}
    said: dict[str, Verified] = {}
    troubles = list(problems)
    for each in verified:
        found = _radiographs(session, each)
        if isinstance(found, str):
            troubles.append(Problem(row=each.row, reason=found))
            continue
        for uid in found:
            if uid not in said or each.verified_on >= said[uid].verified_on:
                said[uid] = each
    for uid, each in said.items():
        before = session.scalars(
            sa.select(FeedbackRow).where(FeedbackRow.sop_instance_uid == uid).order_by(FeedbackRow.id.desc()).limit(1)
        ).first()
        if before is not None and before.verified_on > each.verified_on:
            counted["outdated"] += 1
            continue
        if before is not None and (before.label, before.source, before.verified_on) == (
            each.label, each.source, each.verified_on,
        ):  # fmt: skip
            counted["known"] += 1
            continue
        counted["new" if before is None else "corrected"] += 1
        session.add(
            FeedbackRow(
                sop_instance_uid=uid,
                label=each.label,
                source=each.source,
                verified_on=each.verified_on,
                entered_by=by,
                entered_at=now(),
            )
        )
    return Entered(**counted, problems=tuple(sorted(troubles, key=lambda problem: problem.row)))


def _radiographs(session: Session, verified: Verified) -> list[str] | str:
    """UIDs of the radiographs that a row is about, all with a score; or why there is none."""
    with_score = (
        sa.select(ReceivedObject.sop_instance_uid)
        .join(ReadingRow, ReadingRow.journey == ReceivedObject.journey)
        .where(ReadingRow.score.is_not(None))
        .distinct()
    )
    if uid := verified.sop_instance_uid:
        found = list(session.scalars(with_score.where(ReceivedObject.sop_instance_uid == uid)))
        return found or f"sop_instance_uid {uid[:64]!r} was not read by this node"
    studies = list(
        session.scalars(
            sa.select(Study.study_instance_uid).where(Study.accession_number == verified.accession_number).limit(2)
        )
    )
    if len(studies) > 1:
        return "accession_number is that of several studies: name the radiograph by its sop_instance_uid"
    found = list(session.scalars(with_score.where(ReceivedObject.study_instance_uid.in_(studies))))
    return found or "accession_number is that of no study that this node has read"


def in_force(session: Session) -> dict[str, FeedbackRow]:
    """What counts of each radiograph, by its SOP Instance UID."""
    last = sa.select(sa.func.max(FeedbackRow.id)).group_by(FeedbackRow.sop_instance_uid)
    rows = session.scalars(sa.select(FeedbackRow).where(FeedbackRow.id.in_(last)))
    return {row.sop_instance_uid: row for row in rows}
