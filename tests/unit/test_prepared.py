"""A start asks whether the database is prepared, and prepares it only if it is not known to be."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dicom_node.errors import DatabaseDamaged
from dicom_node.journey import database
from dicom_node.journey.prepared import ensure_prepared, mark
from dicom_node.settings import Settings


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    calls: list[Settings] = []
    really = database.prepare

    def prepare(settings: Settings) -> None:
        calls.append(settings)
        really(settings)

    monkeypatch.setattr(database, "prepare", prepare)
    return calls


def file_of(settings: Settings) -> Path:
    return settings.data_dir / "covid-xnet.sqlite"


def test_a_database_is_prepared_once(tmp_path: Path, prepared: list[Settings]) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    for _ in range(3):
        ensure_prepared(settings)
    assert len(prepared) == 1


@pytest.mark.parametrize("version", [0, 1])
def test_a_database_of_another_version_is_prepared_again(
    tmp_path: Path, prepared: list[Settings], version: int
) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    ensure_prepared(settings)
    with closing(sqlite3.connect(file_of(settings))) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    ensure_prepared(settings)
    assert len(prepared) == 2
    with closing(sqlite3.connect(file_of(settings))) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (mark(),)


def test_what_is_no_database_goes_the_long_way_and_says_so(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    file_of(settings).write_bytes(b"no database" * 100)
    with pytest.raises(DatabaseDamaged):
        ensure_prepared(settings)
