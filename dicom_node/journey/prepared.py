"""Whether the database is prepared for this version: asked without the libraries that would prepare it."""

import sqlite3
import zlib
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Final

from dicom_node.settings import Settings

MIGRATIONS: Final = Path(__file__).with_name("migrations")


def mark() -> int:
    """What `prepare` writes into SQLite's user_version: another one whenever the schema may be another."""
    names = sorted(file.name for file in (MIGRATIONS / "versions").glob("*.py"))
    return zlib.crc32(f"{names} dbos {version('dbos')}".encode()) & 0x7FFF_FFFF


def ensure_prepared(settings: Settings) -> None:
    """Bring ledger and queue to the newest schema unless they have it. Raises like `database.prepare`."""
    if not _is_prepared(settings):
        from dicom_node.journey.database import prepare

        prepare(settings)


def _is_prepared(settings: Settings) -> bool:
    """Of PostgreSQL it is not known."""
    kind, _, file = settings.effective_database_url.partition(":///")
    if kind != "sqlite" or not Path(file).is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{Path(file).absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("PRAGMA user_version").fetchone() == (mark(),))
    except sqlite3.Error:
        return False
