"""The one database of the node: the ledger and the queue live in it together, so that one commit covers both."""

from pathlib import Path
from sqlite3 import Connection as SQLiteConnection
from typing import Final

import sqlalchemy as sa
from dbos._serialization import DefaultSerializer
from filelock import FileLock
from sqlalchemy import event
from sqlalchemy.orm import Session

from dicom_node.errors import ConfigurationError, DatabaseDamaged, OutOfResources
from dicom_node.faultpoints import Point, reach
from dicom_node.journey.installation import keep_node_id
from dicom_node.journey.prepared import MIGRATIONS, mark
from dicom_node.settings import Settings

BUSY_TIMEOUT_MS: Final = 30_000
NODE_ID: Final = "node-id"
"""File in data_dir."""


def _unpickle(_serializer: object, _text: str) -> object:
    raise ValueError("a value in the queue is pickled: nothing is unpickled here")


# The serializer of each value stands beside it in the database, and DBOS would unpickle what says that it is pickled:
# whoever could write into the database could run programs in the node.
DefaultSerializer.deserialize = _unpickle  # type: ignore[assignment, method-assign]


def open_engine(settings: Settings) -> sa.Engine:
    """Connect to the database; SQLite is opened so that a commit survives a loss of power.

    Raises ConfigurationError if the URL is none that SQLAlchemy knows.
    """
    try:
        engine = sa.create_engine(settings.effective_database_url, pool_pre_ping=True)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ModuleNotFoundError) as e:
        raise ConfigurationError(
            # The text of an ArgumentError may quote the URL, and with it a password.
            f"database_url cannot be used: {'it is no URL' if isinstance(e, sa.exc.ArgumentError) else e}.",
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

    Raises ConfigurationError if the folder cannot be made, or a newer version made the database; OutOfResources if it
    cannot be opened or written now; DatabaseDamaged if it is none.
    """
    # Only here: the listener prepares the database before it turns into its small self.
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError
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
            with Session(engine) as session, session.begin():
                keep_node_id(session, settings.data_dir / NODE_ID)
            if (file := engine.url.database) and engine.dialect.name == "sqlite":
                Path(file).chmod(0o600)
                with engine.begin() as connection:
                    connection.execute(sa.text(f"PRAGMA user_version = {mark()}"))
    except CommandError as e:
        raise ConfigurationError(
            f"The database was made by a newer version of covid-xnet ({e}).",
            hint="Install that version, or restore a backup of this one.",
        ) from None
    except (sa.exc.DBAPIError, OSError) as e:
        if type(e) is sa.exc.DatabaseError:
            raise _damaged(e) from e
        raise OutOfResources(
            f"The database cannot be opened: {e.orig if isinstance(e, sa.exc.DBAPIError) else e}.",
            hint="Check database_url and data_dir: free space, permissions, and that nothing else changed the file.",
        ) from e
    finally:
        engine.dispose()


def in_trouble(error: sa.exc.SQLAlchemyError) -> bool:
    """Whether it is the database's trouble, now or for good, and not what was to be written."""
    transient = sa.exc.OperationalError | sa.exc.InternalError | sa.exc.TimeoutError
    return isinstance(error, transient) or type(error) is sa.exc.DatabaseError  # so does SQLite report damage


def check_integrity(settings: Settings) -> None:
    """Look through the whole database for damage; PostgreSQL does so by itself. Takes a second for a gigabyte.

    Raises DatabaseDamaged, or OutOfResources if it cannot be read now.
    """
    engine = open_engine(settings)
    try:
        if engine.dialect.name == "sqlite":
            with engine.connect() as connection:
                found = connection.execute(sa.text("PRAGMA quick_check(1)")).scalar()
            if found != "ok":
                raise DatabaseDamaged(f"The database is damaged: {found}.")
    except sa.exc.OperationalError as e:
        raise OutOfResources(f"The database cannot be read: {e.orig}.") from e
    except sa.exc.DatabaseError as e:
        raise _damaged(e) from e
    finally:
        engine.dispose()


def _damaged(error: sa.exc.DatabaseError) -> DatabaseDamaged:
    # SQLite reports damage with the general class of its errors: "file is not a database", "disk image is malformed".
    return DatabaseDamaged(f"The database is damaged: {error.orig}.")
