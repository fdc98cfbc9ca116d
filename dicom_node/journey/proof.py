"""What a report of storage commitment means for the results it is about."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.journey.ledger import CommitmentRow, Proof, ReturnRow, ReturnState, now
from dicom_node.returns.commitment import Report, failure_in_words
from dicom_node.wire import CommitmentFailure


def apply(session: Session, report: Report, commitment: CommitmentRow, *, at_most: int) -> bool:
    """Write `report` into the ledger; returns whether something has to be done about its objects.

    What is committed is closed, also by an answer that comes late. A failure counts only if it answers the latest
    request: of an earlier one the answer is out of date. at_most: failures until an object is set aside.
    """
    commitment.answered_at = now()
    rows = session.scalars(
        sa.select(ReturnRow)
        .where(ReturnRow.journey == commitment.journey, ReturnRow.destination == commitment.destination)
        .with_for_update()
    )
    unsettled = False
    for row in rows:
        if row.sop_instance_uid in report.committed:
            if row.proof != Proof.COMMITMENT:
                row.deliver(Proof.COMMITMENT)
        elif row.sop_instance_uid in report.failed and row.transaction_uid == report.transaction_uid:
            reason = row.failure_reason = report.failed[row.sop_instance_uid]
            lost = reason == CommitmentFailure.NO_SUCH_OBJECT_INSTANCE
            row.refuse(
                f"{row.destination} did not commit it: {failure_in_words(reason)}.",
                at_most=at_most,
                then=ReturnState.WAITING if lost else ReturnState.STORED,
            )
            unsettled = unsettled or row.state != ReturnState.SET_ASIDE
    return unsettled
