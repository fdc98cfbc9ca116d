"""Backup and restore: a copy of the database, and of each file that it names, with digests of all.

The database is copied first, in one moment; the files that it names exist then and never change, so the copy is
consistent though the node runs. The manifest is written last: without it a folder is no backup.
"""

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from filelock import FileLock, Timeout

from dicom_node import __version__
from dicom_node.errors import ConfigurationError, DatabaseDamaged, NodeError, OutOfResources
from dicom_node.journey.database import check_integrity, open_engine, prepare
from dicom_node.journey.ledger import ReceivedObject, ReturnRow
from dicom_node.journey.retention import PURGE_LOCK
from dicom_node.journey.site import commissioning_file
from dicom_node.results.shelf import ResultShelf
from dicom_node.settings import Settings
from dicom_node.site_file import site_file
from dicom_node.spool import Spool

MANIFEST: Final = "manifest.json"
DATABASE: Final = "covid-xnet.sqlite"


class NoBackup(NodeError):
    """The folder holds no whole backup."""

    hint = "Take another one: nothing was restored."


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Of a backup or a restore. missing: files that the ledger names and that are not on disk."""

    files: int
    bytes: int
    missing: int


def back_up(settings: Settings, folder: Path) -> Counted:
    """Copy database, spool and results into `folder`, which must be empty or not there; the node may run.

    The database only if it is the SQLite file: PostgreSQL has tools of its own, to be run before this.
    Raises ConfigurationError if the folder holds something, OutOfResources if the disk or the database cannot do it,
    DatabaseDamaged if the copy is not whole.
    """
    _require_empty(folder, "A backup begins in an empty folder.")
    if not settings.data_dir.is_dir():
        raise ConfigurationError(f"data_dir {settings.data_dir} is not there: there is nothing to back up.")
    try:
        # What the copy of the database names must not be purged before it is copied.
        with FileLock(settings.data_dir / PURGE_LOCK, mode=0o600):
            return _back_up(settings, folder)
    except (OSError, sqlite3.OperationalError) as e:
        raise OutOfResources(f"The backup failed: {e}.", hint="Check both folders; it left no manifest.") from e
    except sqlite3.DatabaseError as e:
        raise DatabaseDamaged(f"The database is damaged: {e}.") from e


def _back_up(settings: Settings, folder: Path) -> Counted:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    digests: dict[str, str] = {}
    copied = settings
    if not settings.database_url:
        _copy_database(settings.data_dir / DATABASE, folder / DATABASE)
        copied = settings.model_copy(update={"data_dir": folder})
        check_integrity(copied)
        digests[DATABASE] = _digest(folder / DATABASE)
    size, missing = 0, 0
    for file in _files_named(copied, settings):
        name = str(file.relative_to(settings.data_dir))
        try:
            digests[name] = _copy(file, folder / name)
        except FileNotFoundError:
            missing += 1
            continue
        size += (folder / name).stat().st_size
    manifest = {"version": __version__, "database": DATABASE in digests, "missing": missing, "sha256": digests}
    _write(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    return Counted(files=len(digests), bytes=size, missing=missing)


def restore(settings: Settings, folder: Path) -> Counted:
    """Put a backup into `data_dir`, which must be empty or not there; pending journeys go on at the next start.

    Raises NoBackup if a file of the backup is missing or differs, ConfigurationError if a node runs there or `data_dir`
    holds something, OutOfResources if the disk cannot take it.
    """
    manifest = _manifest(folder)
    if manifest["database"] and settings.database_url:
        raise ConfigurationError("The backup holds a SQLite database, and database_url names another.")
    _require_empty(settings.data_dir, "A backup is restored into an empty data_dir, while no node runs there.")
    digests: dict[str, str] = manifest["sha256"]
    for name, digest in digests.items():
        file = folder / name
        if not file.is_file() or _digest(file) != digest:
            raise NoBackup(f"{file} is missing or not what was backed up.")
    size = 0
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The database last: without it nothing starts to work on half of the files.
        for name in sorted(digests, key=DATABASE.__eq__):
            _copy(folder / name, settings.data_dir / name)
            size += (settings.data_dir / name).stat().st_size
    except OSError as e:
        raise OutOfResources(f"The restore failed: {e}.", hint="Empty data_dir, make room, and try again.") from e
    prepare(settings)
    return Counted(files=len(digests), bytes=size, missing=manifest["missing"])


def _require_empty(folder: Path, rule: str) -> None:
    if folder.exists() and any(folder.iterdir()):
        lock = folder / "run.lock"
        if lock.exists():
            try:
                with FileLock(lock, timeout=0):
                    pass
            except Timeout:
                raise ConfigurationError(f"A node runs on {folder}.", hint=rule) from None
        raise ConfigurationError(f"{folder} is not empty.", hint=rule)


def _copy_database(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as live, closing(sqlite3.connect(target)) as copy:
        live.backup(copy)  # in one step: of one moment, and no writer waits for it
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
    target.chmod(0o600)
    _sync(target)


def _files_named(copied: Settings, settings: Settings) -> Iterator[Path]:
    """Files of `settings` that the database of `copied` names, what the site signed and set, and the audit trail.

    The trail after the database, which knows its newest line: it then has that one, and maybe more.
    """
    yield from sorted(settings.audit_dir.glob("audit*.jsonl"))
    yield from (file for file in (commissioning_file(settings), site_file(settings.data_dir)) if file.exists())
    spool, shelf = Spool(settings.spool_dir, minimum_free_bytes=0), ResultShelf(settings.results_dir)
    engine = open_engine(copied)
    try:
        with engine.connect() as connection:
            kept = sa.select(ReceivedObject.digest).where(ReceivedObject.purged_at.is_(None))
            for digest in connection.scalars(kept).all():
                yield spool.path(digest)
            results = (
                sa.select(ReturnRow.journey, ReturnRow.kind, ReturnRow.sop_instance_uid)
                .join(ReceivedObject, ReceivedObject.journey == ReturnRow.journey)
                .where(ReceivedObject.purged_at.is_(None))
                .distinct()
            )
            for journey, kind, uid in connection.execute(results).all():
                yield shelf.path(journey, kind, uid)
    finally:
        engine.dispose()


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        for name in manifest["sha256"]:
            if not (folder / name).resolve().is_relative_to(folder.resolve()):
                raise NoBackup(f"{folder / MANIFEST} names a file outside its folder.")
    except (OSError, ValueError, KeyError, TypeError):
        raise NoBackup(f"{folder} holds no backup that was finished.") from None
    return manifest


def _copy(source: Path, target: Path) -> str:
    """Copy a file durably, for its owner alone; returns its SHA-256."""
    with source.open("rb") as file:
        for missing in reversed([folder for folder in target.parents if not folder.exists()]):
            missing.mkdir(mode=0o700)
        with target.open("wb") as copy:
            target.chmod(0o600)
            shutil.copyfileobj(file, copy, 2**20)
    _sync(target)
    return _digest(target)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    _sync(path)


def _sync(path: Path) -> None:
    for each, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
        descriptor = os.open(each, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
