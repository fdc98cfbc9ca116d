"""What is kept, and for how long: files go when all about them is closed, rows of the ledger never.

Closed is an object that is not to be read, or whose reading every destination has. Waiting, set aside and (unless an
operator says so) failed ones stay, however old they are.
"""

import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy.orm import Session

from dicom_node.audit import Kind
from dicom_node.errors import OutOfResources
from dicom_node.journey.audit_head import open_trail
from dicom_node.journey.ledger import ReadingRow, ReceivedObject, ReturnRow, ReturnState, Study, now
from dicom_node.logs import log
from dicom_node.results.shelf import ResultShelf
from dicom_node.settings import Settings
from dicom_node.spool import Spool

PURGE_LOCK: Final = "purge.lock"
PURGE_SECONDS: Final = 600.0
"""How often the returner looks whether something is too old or too much."""

_AT_ONCE: Final = 50
"""Objects of one commit: writers wait so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """What was removed, and how many of the objects that were meant stay because they are not closed."""

    objects: int = 0
    bytes: int = 0
    open: int = 0


class Retention:
    """Removes files of closed objects. Any number of processes may have one; they take turns."""

    def __init__(self, settings: Settings, engine: sa.Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._spool = Spool(settings.spool_dir, minimum_free_bytes=0)
        self._shelf = ResultShelf(settings.results_dir)

    def keep(self) -> Purged:
        """Purge by the settings: what is older than `retention_days`, then the oldest beyond `retention_gigabytes`.

        Raises OutOfResources if another process purges or takes a backup, or disk or database cannot do it now.
        """
        objects = size = 0
        if days := self._settings.retention_days:
            aged = self.purge(before=now() - timedelta(days=days), wait=0)
            objects, size = aged.objects, aged.bytes
        if self._settings.retention_gigabytes:
            beyond = self._occupied() - int(self._settings.retention_gigabytes * 1e9)
            if beyond > 0:
                much = self.purge(at_least=beyond, wait=0)
                objects, size = objects + much.objects, size + much.bytes
        return Purged(objects=objects, bytes=size)

    def purge(
        self,
        *,
        before: datetime | None = None,
        patient_id: str | None = None,
        at_least: int | None = None,
        include_failed: bool = False,
        wait: float = 60,
    ) -> Purged:
        """Remove the files of closed objects, the oldest first.

        before: only what was received earlier; patient_id: only of this patient; at_least: bytes after which it ends.
        include_failed: also what could not be read. wait: seconds for another purge or a backup to end.
        Raises OutOfResources if another process purges or takes a backup, or disk or database cannot do it now.
        """
        meant: list[sa.ColumnElement[bool]] = [ReceivedObject.purged_at.is_(None)]
        if before is not None:
            meant.append(ReceivedObject.received_at < before)
        if patient_id is not None:
            of_patient = sa.select(Study.study_instance_uid).where(Study.patient_id == patient_id)
            meant.append(ReceivedObject.study_instance_uid.in_(of_patient))
        sizes: list[int] = []
        try:
            with FileLock(self._settings.data_dir / PURGE_LOCK, mode=0o600, timeout=wait):
                while at_least is None or sum(sizes) < at_least:
                    wanted = None if at_least is None else at_least - sum(sizes)
                    removed = self._purge_some([*meant, _closed(include_failed=include_failed)], wanted)
                    if not removed:
                        break
                    sizes += removed
            with Session(self._engine) as session:
                left = session.scalar(sa.select(sa.func.count()).select_from(ReceivedObject).where(*meant)) or 0
        except Timeout:
            raise OutOfResources(
                "Another process purges or takes a backup.", hint="Try again when it is done."
            ) from None
        except (OSError, sa.exc.OperationalError) as e:
            raise OutOfResources(f"The purge failed: {e}.", hint="It can be repeated.") from e
        objects, size = len(sizes), sum(sizes)
        if objects:
            log.info("purged", objects=objects, bytes=size)
            trail = open_trail(self._settings, self._engine, by="retention")
            trail.record(
                Kind.STUDY_DELETED, objects=objects, bytes=size, of_one_patient=patient_id is not None,
                before=before.isoformat() if before else "",
            )  # fmt: skip
            trail.close()
        return Purged(objects=objects, bytes=size, open=left if at_least is None else 0)

    def _purge_some(self, where: list[sa.ColumnElement[bool]], at_least: int | None) -> list[int]:
        """Purge a few; returns their sizes. In one commit, so that no `retry` comes between the look and the removal.

        If the process dies in it, they are still closed, and the next purge finds them again.
        """
        sizes: list[int] = []
        with Session(self._engine) as session, session.begin():
            rows = session.scalars(
                sa.select(ReceivedObject).where(*where).order_by(ReceivedObject.id).limit(_AT_ONCE).with_for_update()
            ).all()
            for row in rows:
                if at_least is not None and sum(sizes) >= at_least:
                    break
                row.purged_at = now()
                sizes.append(self._remove(row))
        return sizes

    def _remove(self, row: ReceivedObject) -> int:
        files = [self._spool.path(row.digest)]
        folder = None if row.journey is None else self._shelf.folder(row.journey)
        if folder is not None and folder.is_dir():
            files += folder.iterdir()
        size = 0
        for file in files:
            with suppress(FileNotFoundError):
                size += file.stat().st_size
                file.unlink()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        return size

    def _occupied(self) -> int:
        roots = (self._settings.spool_dir, self._settings.results_dir)
        return sum(_size(file) for root in roots for file in root.rglob("*.dcm"))


def _size(file: Path) -> int:
    with suppress(FileNotFoundError):  # purged meanwhile, by an operator
        return file.stat().st_size
    return 0


def _closed(*, include_failed: bool) -> sa.ColumnElement[bool]:
    reading = sa.select(ReadingRow.journey).where(ReadingRow.journey == ReceivedObject.journey)
    if not include_failed:
        reading = reading.where(ReadingRow.failure == "")
    undelivered = sa.select(ReturnRow.id).where(
        ReturnRow.journey == ReceivedObject.journey, ReturnRow.state != ReturnState.DELIVERED
    )
    return sa.or_(ReceivedObject.accepted.is_(False), sa.and_(reading.exists(), ~undelivered.exists()))


def keep_in_background(retention: Retention) -> None:
    """Purge by the settings every `PURGE_SECONDS`, in a thread that ends with the process."""

    def run() -> None:
        while True:
            try:
                retention.keep()
            except OutOfResources as e:
                log.warning("purge postponed", reason=str(e))
            time.sleep(PURGE_SECONDS)

    threading.Thread(target=run, name="retention", daemon=True).start()


def age(text: str) -> timedelta:
    """Parse "90d", "36h" or "8w"; raises ValueError."""
    number, unit = text[:-1], text[-1:]
    units = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
    if not number.isdigit() or unit not in units:
        raise ValueError(f"{text!r} is no age: write 36h, 90d or 8w")
    return int(number) * units[unit]
