"""Compare spool, ledger, queue, and results on disk, and name each difference."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.journey.ledger import ReadingRow, ReceivedObject, ReturnRow, ReturnState
from dicom_node.journey.live import live_runs
from dicom_node.journey.mending import awaited, executors_of, forgotten
from dicom_node.results.shelf import ResultShelf
from dicom_node.settings import Settings
from dicom_node.spool import Spool, fingerprint, is_being_kept

_SETTLE_SECONDS: Final = 2.0
_AT_ONCE: Final = 500


class Kind(StrEnum):
    """What does not agree."""

    OBJECT_MISSING = "object missing in the spool"
    """The ledger has it, and it was not purged."""
    OBJECT_DAMAGED = "object damaged in the spool"
    """It is not what was received: its digest has changed."""
    OBJECT_UNKNOWN = "object in the spool that no row knows"
    """The next listener takes it in."""
    TRANSFER_LEFT = "cut-off transfer in the spool"
    """The next listener removes it."""
    JOURNEY_FORGOTTEN = "journey that nobody will read"
    """The ledger waits for its reading, and the queue has no run that will come to it."""
    RETURN_FORGOTTEN = "results that nobody will return"
    """The ledger waits for a destination to take them, and the queue has no run that will come to it."""
    RUN_STRANDED = "run that nobody will take up"
    """The queue keeps it for a process that does not run, or for another version of the journey."""
    RESULT_MISSING = "result missing on disk"
    """A destination shall still get it."""
    RESULT_UNKNOWN = "result on disk that no row knows"
    """Left by an attempt that another one, with other networks, took the place of."""
    SENT_FROM_SHADOW = "result of a reading in shadow"
    """It is on its way to a destination, or was sent: nothing of the node does that."""
    NOT_AT_DESTINATION = "result missing at its destination"
    """It took the result, and does not find it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One. subject: digest, journey, run, file, or SOP Instance UID; never a patient."""

    kind: Kind
    subject: str
    detail: str = ""


def differences(settings: Settings, session: Session, *, digests: bool = False) -> list[Difference]:
    """All differences but those at destinations, which `returns.inquiry` finds.

    digests: also read every object in the spool, and tell which ones have changed.
    A node that works changes one side after the other: what a second look does not find again was no difference.
    """
    found = list(_look(settings, session))
    if found:
        time.sleep(_SETTLE_SECONDS)
        again = set(_look(settings, session))
        found = [difference for difference in found if difference in again]
    return [*found, *(_damaged(settings, session) if digests else ())]


def _look(settings: Settings, session: Session) -> Iterator[Difference]:
    session.expire_all()
    session.rollback()
    yield from _spool_against_ledger(settings, session)
    yield from _ledger_against_queue(settings, session)
    yield from _ledger_against_results(settings, session)
    yield from _results_against_ledger(settings, session)


def _spool(settings: Settings) -> Spool:
    return Spool(settings.spool_dir, minimum_free_bytes=0)


def _spool_against_ledger(settings: Settings, session: Session) -> Iterator[Difference]:
    spool = _spool(settings)
    for digest in session.scalars(sa.select(ReceivedObject.digest).where(ReceivedObject.purged_at.is_(None))):
        if not spool.path(digest).exists():
            yield Difference(kind=Kind.OBJECT_MISSING, subject=digest)
    for files in spool.folders():
        for begin in range(0, len(files), _AT_ONCE):
            some = {file.stem: file for file in files[begin : begin + _AT_ONCE]}
            known = session.scalars(sa.select(ReceivedObject.digest).where(ReceivedObject.digest.in_(some)))
            for digest in sorted(set(some).difference(known)):
                if some[digest].exists() and not is_being_kept(some[digest]):
                    yield Difference(kind=Kind.OBJECT_UNKNOWN, subject=digest)
    for file in sorted(spool.incoming.iterdir()):
        if file.exists() and not is_being_kept(file):
            yield Difference(kind=Kind.TRANSFER_LEFT, subject=file.name)


def _ledger_against_queue(settings: Settings, session: Session) -> Iterator[Difference]:
    awaits = awaited(session)
    live = live_runs(session, settings.data_dir, executors=executors_of(settings))
    for run in live.stranded:
        yield Difference(kind=Kind.RUN_STRANDED, subject=run.run, detail=run.why)
    readings, returns = forgotten(*awaits, live)
    for journey in readings:
        yield Difference(kind=Kind.JOURNEY_FORGOTTEN, subject=journey)
    for journey, destination in returns:
        yield Difference(kind=Kind.RETURN_FORGOTTEN, subject=journey, detail=destination)


def _ledger_against_results(settings: Settings, session: Session) -> Iterator[Difference]:
    shelf = ResultShelf(settings.results_dir)
    for journey, kind, uid, destination in session.execute(
        sa.select(ReturnRow.journey, ReturnRow.kind, ReturnRow.sop_instance_uid, ReturnRow.destination)
        .join(ReceivedObject, ReceivedObject.journey == ReturnRow.journey)
        .where(ReturnRow.state != ReturnState.DELIVERED, ReceivedObject.purged_at.is_(None))
    ):
        if not shelf.path(journey, kind, uid).exists():
            yield Difference(kind=Kind.RESULT_MISSING, subject=uid, detail=f"{kind} of {journey} for {destination}")
    for journey, uid, destination in session.execute(
        sa.select(ReturnRow.journey, ReturnRow.sop_instance_uid, ReturnRow.destination)
        .join(ReadingRow, ReadingRow.journey == ReturnRow.journey)
        .where(ReadingRow.shadow.is_(True))
    ):
        yield Difference(kind=Kind.SENT_FROM_SHADOW, subject=uid, detail=f"of {journey} for {destination}")


def _results_against_ledger(settings: Settings, session: Session) -> Iterator[Difference]:
    for folder in sorted(settings.results_dir.glob("*/*")):
        journey = folder.name
        received = session.scalar(sa.select(ReceivedObject.id).where(ReceivedObject.journey == journey))
        if received is not None and session.get(ReadingRow, journey) is None:
            continue  # it is being read, or will be, and writes them anew
        uids = set(session.scalars(sa.select(ReturnRow.sop_instance_uid).where(ReturnRow.journey == journey)))
        if received is not None and not uids:
            continue  # read where there was no destination yet
        for file in sorted(folder.iterdir()):
            if file.suffix != ".dcm" or file.stem.rpartition("-")[2] not in uids:
                yield Difference(kind=Kind.RESULT_UNKNOWN, subject=str(file.relative_to(settings.results_dir)))


def _damaged(settings: Settings, session: Session) -> Iterator[Difference]:
    spool = _spool(settings)
    for digest in session.scalars(sa.select(ReceivedObject.digest).where(ReceivedObject.purged_at.is_(None))):
        path = spool.path(digest)
        try:
            damaged = path.exists() and fingerprint(path)[0] != digest
        except (OSError, ValueError) as e:
            yield Difference(kind=Kind.OBJECT_DAMAGED, subject=digest, detail=type(e).__name__)
        else:
            if damaged:
                yield Difference(kind=Kind.OBJECT_DAMAGED, subject=digest)
