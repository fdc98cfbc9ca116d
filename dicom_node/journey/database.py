"""The one database of the node: the ledger and the queue live in it together, so that one commit covers both."""

from pathlib import Path
from sqlite3 import Connection as SQLiteConnection
from typing import Final

import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy import event

from dicom_node.errors import ConfigurationError, OutOfResources
from dicom_node.faultpoints import Point, reach
from dicom_node.settings import Settings

BUSY_TIMEOUT_MS: Final = 30_000
MIGRATIONS: Final = Path(__file__).with_name("migrations")


def open_engine(settings: Settings) -> sa.Engine:
    """Connect to the database; SQLite is opened so that a commit survives a loss of power.

    Raises ConfigurationError if the URL is none that SQLAlchemy knows.
    """
    try:
        engine = sa.create_engine(settings.effective_database_url, pool_pre_ping=True)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ModuleNotFoundError) as e:
        raise ConfigurationError(
            f"database_url cannot be used: {e}.",
            hint="Write it as SQLAlchemy does: sqlite:////path/file or postgresql+psycopg://user@host/database.",
        ) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: SQLiteConnection, _record: object) -> None:
    # Writers queue up at BEGIN instead of failing when a read turns into a write; DBOS opens SQLite the same way.
    connection.isolation_level = "IMMEDIATE"
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def prepare(settings: Settings) -> None:
    """Make the data folder and bring ledger and queue to the newest schema; safe to run by many processes at once.

    Raises ConfigurationError if the folder cannot be made, OutOfResources if the database cannot be opened.
    """
    # Only here: the listener prepares the database before it turns into its small self.
    from alembic import command
    from alembic.config import Config
    from dbos import run_dbos_database_migrations

    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigurationError(f"data_dir {settings.data_dir} cannot be made: {e.strerror}.") from None
    engine = open_engine(settings)
    configuration = Config()
    configuration.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    configuration.attributes["engine"] = engine
    try:
        with FileLock(settings.data_dir / "migrate.lock", mode=0o600):
            command.upgrade(configuration, "head")
            reach(Point.LEDGER_MIGRATED)
            run_dbos_database_migrations(settings.effective_database_url)
            if (file := engine.url.database) and engine.dialect.name == "sqlite":
                Path(file).chmod(0o600)
    except (sa.exc.DBAPIError, OSError) as e:
        raise OutOfResources(
            f"The database cannot be opened: {e.orig if isinstance(e, sa.exc.DBAPIError) else e}.",
            hint="Check database_url and data_dir: free space, permissions, and that nothing else changed the file.",
        ) from e
    finally:
        engine.dispose()
