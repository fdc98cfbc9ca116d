"""The newest line of the audit trail, kept in the ledger: whoever cuts off the end of the files has to change both."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from dicom_node.audit import AuditTrail, Head
from dicom_node.journey.ledger import Row
from dicom_node.settings import Settings


class AuditHead(Row):
    """The one row."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(sa.BigInteger)
    digest: Mapped[str] = mapped_column(sa.String(64))


def known_head(engine: sa.Engine) -> Head:
    """The newest line that the ledger knows of."""
    with Session(engine) as session:
        row = session.scalars(sa.select(AuditHead)).one()
        return Head(number=row.number, digest=row.digest)


def open_trail(settings: Settings, engine: sa.Engine, *, by: str) -> AuditTrail:
    """The audit trail of a process. by: its name."""

    def keep(head: Head) -> None:
        with Session(engine) as session, session.begin():
            # Another process may have gone on meanwhile.
            session.execute(
                sa.update(AuditHead)
                .where(AuditHead.number < head.number)
                .values(number=head.number, digest=head.digest)
            )

    return AuditTrail(settings.audit_dir, by=by, anchor=keep)
