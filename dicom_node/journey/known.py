"""What the ledger makes of an object by its UIDs and its content. Only asks; who records it acts on the answer."""

from collections.abc import Sequence
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.errors import AlreadyRead
from dicom_node.journey.ledger import ReceivedObject, ReturnRow
from dicom_node.settings import DuplicatePolicy


class Recorded(StrEnum):
    """What the ledger made of a received object."""

    NEW = "new"
    IDENTICAL = "identical"
    """The same content under the same UID was there before: success, no second reading."""
    DIFFERENT = "different"
    """Other content under a UID that is being or was read: kept beside the first, flagged, never read."""
    REVISED = "revised"
    """The same, where `duplicate_policy` wants it read, too: a journey of its own with results of its own."""
    OWN = "own"
    """Known by its UIDs as a result that the node sent: kept, never read."""


def place(
    session: Session, *, sop_instance_uid: str, series_instance_uid: str, digest: str, policy: DuplicatePolicy
) -> tuple[Recorded, Sequence[ReceivedObject]]:
    """Tell whether this content is new, known, later than what was read, or our own; and the rows under its UID.

    Raises AlreadyRead if there is other content under its UID and `policy` refuses that.
    """
    known = session.scalars(sa.select(ReceivedObject).where(ReceivedObject.sop_instance_uid == sop_instance_uid)).all()
    if any(row.digest == digest for row in known):
        return Recorded.IDENTICAL, known
    if session.scalar(
        sa.select(ReturnRow.id)
        .where(
            sa.or_(
                ReturnRow.sop_instance_uid == sop_instance_uid,
                # "" is of rows from before the series was kept.
                sa.and_(
                    ReturnRow.series_instance_uid == series_instance_uid,
                    ReturnRow.series_instance_uid != "",
                ),
            )
        )
        .limit(1)
    ):
        return Recorded.OWN, known
    if not any(row.journey for row in known):
        return Recorded.NEW, known
    match policy:
        case DuplicatePolicy.REFUSE:
            raise AlreadyRead("Other content under this SOP Instance UID was received before.")
        case DuplicatePolicy.READ_AGAIN:
            return Recorded.REVISED, known
        case DuplicatePolicy.KEEP_FIRST:
            return Recorded.DIFFERENT, known
