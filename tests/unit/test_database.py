"""The database in trouble: older, newer, damaged, read-only, locked."""

import os
import random
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.errors import ConfigurationError, DatabaseDamaged, NodeError, OutOfResources
from dicom_node.journey import database
from dicom_node.journey.database import check_integrity, open_engine, prepare
from dicom_node.journey.ledger import ReceivedObject, node_id
from dicom_node.journey.queue import JourneyQueue, Received, Recorded
from dicom_node.journey.tallies import counts
from dicom_node.settings import Settings

OLD = Path(__file__).parents[1] / "fixtures" / "ledger-0001.sql"
CHEST = Received(
    sop_instance_uid="1.2.3.5.1",
    sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
    transfer_syntax_uid="1.2.840.10008.1.2.1",
    study_instance_uid="1.2.3.5",
    series_instance_uid="1.2.3.5.9",
    accession_number="A1",
    patient_id="P1",
    study_date="20200812",
    digest="d1",
    size=100,
    calling_ae="CR1",
    peer_address="127.0.0.1",
    accepted=True,
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


def file_of(settings: Settings) -> Path:
    return settings.data_dir / "covid-xnet.sqlite"


def execute(settings: Settings, script: str) -> None:
    settings.data_dir.mkdir(exist_ok=True)
    with closing(sqlite3.connect(file_of(settings))) as connection:
        connection.executescript(script)


def id_in(settings: Settings) -> str:
    prepare(settings)
    engine = open_engine(settings)
    with Session(engine) as session:
        found = node_id(session)
    engine.dispose()
    return found


def test_each_installation_has_an_id_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    here, there = (Settings(data_dir=tmp_path / name) for name in ("here", "there"))
    first = id_in(here)
    assert len(first) == 32
    int(first, 16)
    assert id_in(here) == first != id_in(there)


def test_an_installation_whose_database_is_lost_keeps_its_id(settings: Settings) -> None:
    first = id_in(settings)
    for file in settings.data_dir.glob("covid-xnet.sqlite*"):
        file.unlink()
    assert id_in(settings) == first


def test_the_id_of_a_database_that_is_in_use_counts_more_than_that_of_its_folder(settings: Settings) -> None:
    first = id_in(settings)
    queue = JourneyQueue(settings)
    queue.record(CHEST)
    queue.close()
    (settings.data_dir / "node-id").write_text("f" * 32)
    assert id_in(settings) == first
    assert (settings.data_dir / "node-id").read_text() == f"{first}\n"


def test_a_file_that_holds_no_id_is_written_anew(settings: Settings) -> None:
    settings.data_dir.mkdir()
    (settings.data_dir / "node-id").write_bytes(b"\xff none")
    first = id_in(settings)
    assert (settings.data_dir / "node-id").read_text() == f"{first}\n"


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
def test_a_node_that_is_killed_while_it_makes_or_changes_tables_starts_the_next_time(
    settings: Settings, tmp_path: Path, old: bool
) -> None:
    if old:
        execute(settings, OLD.read_text())
    counter = tmp_path / "statements"
    _prepare_and_die(settings.model_copy(update={"data_dir": copy_of(settings, tmp_path / "all")}), counter)
    statements = int(counter.read_text())
    for statement in random.Random(5).sample(range(1, statements), 5):
        each = settings.model_copy(update={"data_dir": copy_of(settings, tmp_path / str(statement))})
        _prepare_and_die(each, counter, at=statement)
        prepare(each)
        check_integrity(each)
        engine = open_engine(each)
        with Session(engine) as session:
            assert counts(session)["received"] == (3 if old else 0)
        engine.dispose()


def copy_of(settings: Settings, folder: Path) -> Path:
    if settings.data_dir.exists():
        shutil.copytree(settings.data_dir, folder)
    return folder


def _prepare_and_die(settings: Settings, counter: Path, at: int = 0) -> None:
    """Prepare the database in a process of its own, which kills itself at the statement of this number."""
    child = os.fork()
    if child == 0:
        count = 0

        def die(*_: object) -> None:
            nonlocal count
            count += 1
            counter.write_text(str(count))
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

        sa.event.listen(sa.Engine, "after_cursor_execute", die)
        prepare(settings)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert (os.WTERMSIG(status) == signal.SIGKILL) == bool(at)


def test_a_database_of_the_first_version_is_brought_up_and_keeps_what_it_knows(settings: Settings) -> None:
    execute(settings, OLD.read_text())

    prepare(settings)

    check_integrity(settings)
    queue = JourneyQueue(settings)
    with Session(queue.engine) as session:
        assert counts(session) == {
            **counts(session),
            "received": 3,
            "not read": 1,
            "rejected": 1,
            "waiting to be read": 1,
            "read": 1,
            "returned": 1,
            "set aside": 1,
        }
        rows = session.scalars(sa.select(ReceivedObject)).all()
        assert [(row.strikes, row.purged_at, row.attempts) for row in rows] == [([], None, 0)] * 3
    assert queue.retry_returns() == 1
    assert queue.record(CHEST) is Recorded.NEW
    queue.close()


def test_a_database_of_a_newer_version_is_refused_and_left_alone(settings: Settings) -> None:
    prepare(settings)
    execute(settings, "UPDATE alembic_version SET version_num = '9999'")
    before = file_of(settings).read_bytes()

    with pytest.raises(ConfigurationError, match="made by a newer version of covid-xnet"):
        prepare(settings)

    assert file_of(settings).read_bytes() == before


def test_a_file_that_is_no_database_is_told_with_the_remedy(settings: Settings) -> None:
    settings.data_dir.mkdir()
    file_of(settings).write_bytes(b"no database" * 1000)

    with pytest.raises(DatabaseDamaged, match=r"file is not a database.*covid-xnet restore"):
        prepare(settings)


def test_a_damaged_page_is_found_before_the_node_starts(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(settings)
    queue = JourneyQueue(settings)
    queue.record(CHEST)
    queue.close()
    execute(settings, "PRAGMA wal_checkpoint(TRUNCATE)")
    check_integrity(settings)
    content = bytearray(file_of(settings).read_bytes())
    with closing(sqlite3.connect(file_of(settings))) as connection:
        page, size = (
            connection.execute(query).fetchone()[0]
            for query in ("SELECT rootpage FROM sqlite_master WHERE name = 'received'", "PRAGMA page_size")
        )
    content[(page - 1) * size : (page - 1) * size + 16] = b"\xff" * 16
    file_of(settings).write_bytes(content)

    with pytest.raises(DatabaseDamaged):
        check_integrity(settings)
    monkeypatch.setenv("COVIDXNET_DATA_DIR", str(settings.data_dir))
    result = CliRunner().invoke(app, ["run"])
    assert isinstance(result.exception, NodeError)
    assert "covid-xnet restore" in str(result.exception)
    damaged = JourneyQueue(settings)
    with pytest.raises(OutOfResources):  # so that the sender keeps the object
        damaged.record(CHEST)
    damaged.close()


def test_a_database_that_cannot_be_written_is_told(settings: Settings) -> None:
    prepare(settings)
    read_only = settings.model_copy(update={"database_url": f"sqlite:///file:{file_of(settings)}?mode=ro&uri=true"})
    queue = JourneyQueue(read_only)
    with pytest.raises(OutOfResources, match="readonly database"):
        queue.record(CHEST)
    queue.close()


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    with closing(sqlite3.connect(file_of(settings), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_a_lock_that_outlasts_the_patience_sends_the_object_back_and_the_next_try_takes_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(settings)
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 100)
    queue = JourneyQueue(settings)
    with locked(settings), pytest.raises(OutOfResources, match="database is locked"):
        queue.record(CHEST)
    assert queue.record(CHEST) is Recorded.NEW
    queue.close()


def test_the_engine_is_told_of_damage_but_not_of_bad_values() -> None:
    engine = open_engine(Settings(database_url="sqlite://"))
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x NOT NULL)")
        with pytest.raises(sa.exc.IntegrityError) as wrong:
            connection.exec_driver_sql("INSERT INTO t VALUES (NULL)")
        with pytest.raises(sa.exc.OperationalError) as gone:
            connection.exec_driver_sql("SELECT * FROM nowhere")
    assert not database.in_trouble(wrong.value)
    assert database.in_trouble(gone.value)
    engine.dispose()
