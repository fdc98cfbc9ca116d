"""Ask each destination whether it still has what it took. Source: PS3.4 annex C, Study Root, level IMAGE."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import sqlalchemy as sa
from pydicom import Dataset
from pynetdicom.presentation import build_context
from sqlalchemy.orm import Session

from dicom_node.errors import PeerUnreachable
from dicom_node.journey.ledger import ReceivedObject, ReturnRow, ReturnState
from dicom_node.journey.verify import Difference, Kind
from dicom_node.peers import Peer
from dicom_node.returns.query import finds
from dicom_node.returns.returner import associate
from dicom_node.settings import Settings
from dicom_node.wire import STUDY_ROOT_FIND


@dataclass(slots=True, kw_only=True)
class Inquiry:
    """What one destination said. unasked: why it could not be asked, "" if it could."""

    destination: str
    asked: int = 0
    missing: list[Difference] = field(default_factory=list)
    unasked: str = ""


def inquire(settings: Settings, session: Session) -> Iterator[Inquiry]:
    """Ask for all delivered results, at one destination after the other."""
    delivered = sa.select(ReturnRow.destination).where(ReturnRow.state == ReturnState.DELIVERED).distinct()
    for destination in sorted(session.scalars(delivered)):
        inquiry = Inquiry(destination=destination)
        try:
            _ask(settings, session, inquiry)
        except (PeerUnreachable, ConnectionError) as e:
            inquiry.unasked = str(e)
        yield inquiry


def _ask(settings: Settings, session: Session, inquiry: Inquiry) -> None:
    association = associate(
        Peer.parse(inquiry.destination),
        [build_context(STUDY_ROOT_FIND)],
        calling_ae=settings.ae_title,
        timeout=settings.network_timeout,
    )
    try:
        for study, row in session.execute(
            sa.select(ReceivedObject.study_instance_uid, ReturnRow)
            .join(ReturnRow, ReturnRow.journey == ReceivedObject.journey)
            .where(ReturnRow.destination == inquiry.destination, ReturnRow.state == ReturnState.DELIVERED)
            # Of rows from before the series was kept nothing can be asked at this level.
            .where(ReturnRow.series_instance_uid != "")
        ):
            header = Dataset()
            header.StudyInstanceUID = study
            header.SeriesInstanceUID, header.SOPInstanceUID = row.series_instance_uid, row.sop_instance_uid
            found = finds(association, header)
            if found is None:
                inquiry.unasked = "it answers C-FIND with a failure"
                return
            inquiry.asked += 1
            if not found:
                inquiry.missing.append(
                    Difference(
                        kind=Kind.NOT_AT_DESTINATION,
                        subject=row.sop_instance_uid,
                        detail=f"{row.kind} of {row.journey} at {inquiry.destination}, by {row.proof}",
                    )
                )
    finally:
        if association.is_established:
            association.release()
