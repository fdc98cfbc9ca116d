"""The id of this installation, which outlives its database."""

import re
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.journey.ledger import NodeRow, ReceivedObject
from dicom_node.logs import log


def keep_node_id(session: Session, file: Path) -> None:
    """Write the id of this installation into `file`, or take it from there if the database is a new one.

    With a new database, what lies in the spool is read once more: under the same id, its results have the same UIDs.
    """
    ours = session.scalars(sa.select(NodeRow)).one()
    with suppress(OSError):
        kept = file.read_text(encoding="ascii", errors="replace").strip()
        if kept == ours.id:
            return
        if re.fullmatch(r"[0-9a-f]{32}", kept) and session.scalar(sa.select(ReceivedObject.id).limit(1)) is None:
            session.delete(ours)
            session.add(NodeRow(id=kept))
            return
    try:
        file.touch(mode=0o600)  # whatever the umask of the command that prepares the database
        file.write_text(f"{ours.id}\n", encoding="ascii")
    except OSError as e:  # a disk that is full keeps no node from starting
        log.warning("id of the node not kept", reason=e.strerror)
