"""Which senders are switched on. What comes from another one is read in shadow, where the settings want that.

A reading in shadow is recorded, and its results lie on disk as those of a node without destinations do: to look at.
None is sent, not later either.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from dicom_node.audit import Kind
from dicom_node.journey.audit_head import open_trail
from dicom_node.journey.ledger import ReadingRow, ReceivedObject, Row, now
from dicom_node.settings import Settings


class SenderRow(Row):
    """One calling AE title that somebody switched on or off."""

    __tablename__ = "senders"

    calling_ae: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    on: Mapped[bool]
    by: Mapped[str] = mapped_column(sa.String(64))
    """Who did it last."""
    at: Mapped[datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """A sender, what was read of it, and who switched it; `by` and `at` are None if nobody ever did."""

    calling_ae: str
    on: bool
    by: str | None
    at: datetime | None
    read: int
    in_shadow: int


def in_shadow(session: Session, settings: Settings, journey: str) -> bool:
    """Whether nothing of `journey` may be sent, as far as its sender is concerned."""
    if not settings.shadow_until_commissioned:
        return False
    calling_ae = session.scalar(sa.select(ReceivedObject.calling_ae).where(ReceivedObject.journey == journey))
    return not is_on(session, calling_ae or "")


def is_on(session: Session, calling_ae: str) -> bool:
    """Whether somebody switched this sender on."""
    return bool(session.scalar(sa.select(SenderRow.on).where(SenderRow.calling_ae == calling_ae)))


def switch(settings: Settings, engine: sa.Engine, calling_aes: list[str], *, on: bool, by: str) -> None:
    """Switch senders on or off, from the next reading on; it goes into the audit trail."""
    with Session(engine) as session, session.begin():
        for calling_ae in calling_aes:
            session.merge(SenderRow(calling_ae=calling_ae, on=on, by=by, at=now()))
    trail = open_trail(settings, engine, by="operator")
    for calling_ae in calling_aes:
        trail.record(
            Kind.SECURITY_ALERT, alert="sender switched on" if on else "sender switched off",
            calling_ae=calling_ae, signed=by,
        )  # fmt: skip
    trail.close()


def senders(session: Session) -> list[Sender]:
    """Every sender of which something was read, or that was switched, by its title."""
    switches = {row.calling_ae: row for row in session.scalars(sa.select(SenderRow))}
    numbers = {
        calling_ae: (read, shadow or 0)
        for calling_ae, read, shadow in session.execute(
            sa.select(ReceivedObject.calling_ae, sa.func.count(), sa.func.sum(sa.cast(ReadingRow.shadow, sa.Integer)))
            .join(ReadingRow, ReadingRow.journey == ReceivedObject.journey)
            .group_by(ReceivedObject.calling_ae)
        )
    }
    found = []
    for calling_ae in sorted({*switches, *numbers}):
        row = switches.get(calling_ae)
        read, shadow = numbers.get(calling_ae, (0, 0))
        found.append(
            Sender(
                calling_ae=calling_ae,
                on=row is not None and row.on,
                by=row.by if row else None,
                at=row.at if row else None,
                read=read,
                in_shadow=shadow,
            )
        )
    return found
