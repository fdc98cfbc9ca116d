"""Backup and restore of a folder at rest: what they refuse, and that nothing is taken on trust."""

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from filelock import FileLock
from typer.testing import CliRunner

from dicom_node.audit import Kind, first_fault
from dicom_node.cli import app
from dicom_node.errors import ConfigurationError, DatabaseDamaged
from dicom_node.journey.audit_head import known_head, open_trail
from dicom_node.journey.backup import NoBackup, back_up, restore
from dicom_node.journey.database import open_engine
from dicom_node.journey.ledger import now
from dicom_node.settings import Settings
from tests.unit.test_retention import DELIVERED, WAITING, Store, store

__all__ = ["store"]


def elsewhere(folder: Path) -> Settings:
    # A copy: the environment of these tests names the data folder of the store.
    return Settings().model_copy(update={"data_dir": folder / "elsewhere"})


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*.dcm")
        if "incoming" not in path.parts
    }


def test_what_is_restored_is_what_was_backed_up(store: Store, tmp_path: Path) -> None:
    store.receive("1.1")
    store.read(store.receive("1.2"), DELIVERED, WAITING)
    store.read(store.receive("1.3"), DELIVERED)
    store.retention().purge(patient_id="P1", before=now())  # 1.3: what was purged is not missed
    done = back_up(store.settings, tmp_path / "backup")
    assert (done.files, done.missing) == (6, 0)  # database, audit trail, two objects and two results

    there = elsewhere(tmp_path)
    assert restore(there, tmp_path / "backup").files == 6

    assert contents(there.data_dir) == contents(store.settings.data_dir) != {}
    assert all(path.stat().st_mode & 0o077 == 0 for path in [there.data_dir, *there.data_dir.rglob("*")])
    engine = open_engine(there)
    with engine.connect() as connection, store.queue.engine.connect() as original:
        for table in ("received", "readings", "returns", "studies", "workflow_status"):
            query = sa.text(f"SELECT * FROM {table} ORDER BY 1")
            assert connection.execute(query).all() == original.execute(query).all()
    engine.dispose()


def test_what_the_site_signed_is_in_the_backup(store: Store, tmp_path: Path) -> None:
    (store.settings.data_dir / "commissioning.json").write_text('{"by": "Ada"}')
    (store.settings.data_dir / "site.toml").write_text('calling_aes = ["CT1"]')
    back_up(store.settings, tmp_path / "backup")
    there = elsewhere(tmp_path)
    restore(there, tmp_path / "backup")
    assert (there.data_dir / "commissioning.json").read_text() == '{"by": "Ada"}'
    assert (there.data_dir / "site.toml").read_text() == 'calling_aes = ["CT1"]'


def test_the_audit_trail_goes_on_after_a_restore(store: Store, tmp_path: Path) -> None:
    trail = open_trail(store.settings, store.queue.engine, by="listener")
    trail.record(Kind.APPLICATION_ACTIVITY, activity="start")
    trail.close()
    back_up(store.settings, tmp_path / "backup")
    there = elsewhere(tmp_path)
    restore(there, tmp_path / "backup")
    engine = open_engine(there)
    assert known_head(engine).number == 1
    assert first_fault(there.audit_dir, known_head(engine)) == ""
    trail = open_trail(there, engine, by="listener")
    trail.record(Kind.APPLICATION_ACTIVITY, activity="stop")
    trail.close()
    assert known_head(engine).number == 2
    assert first_fault(there.audit_dir, known_head(engine)) == ""
    engine.dispose()


def test_a_backup_begins_in_an_empty_folder(store: Store, tmp_path: Path) -> None:
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "letter").touch()
    with pytest.raises(ConfigurationError, match="is not empty"):
        back_up(store.settings, tmp_path / "backup")


def test_a_file_that_the_ledger_names_and_nobody_has_is_counted(store: Store, tmp_path: Path) -> None:
    store.receive("1.1")
    next(iter(store.spool.root.rglob("*.dcm"))).unlink()
    assert back_up(store.settings, tmp_path / "backup").missing == 1


def test_a_restore_refuses_a_folder_with_data_and_says_if_a_node_runs_there(store: Store, tmp_path: Path) -> None:
    back_up(store.settings, tmp_path / "backup")
    with pytest.raises(ConfigurationError, match="is not empty"):
        restore(store.settings, tmp_path / "backup")
    with (
        FileLock(store.settings.data_dir / "run.lock"),
        pytest.raises(ConfigurationError, match="A node runs on"),
    ):
        restore(store.settings, tmp_path / "backup")


@pytest.mark.parametrize("harm", ["change", "remove", "no manifest", "half a manifest", "outside"])
def test_a_backup_that_is_not_whole_restores_nothing(store: Store, tmp_path: Path, harm: str) -> None:
    store.receive("1.1")
    backup = tmp_path / "backup"
    back_up(store.settings, backup)
    file, manifest = next(iter(backup.rglob("*.dcm"))), backup / "manifest.json"
    if harm == "change":
        file.write_bytes(file.read_bytes()[:-1] + b"!")
    elif harm == "remove":
        file.unlink()
    elif harm == "no manifest":
        manifest.unlink()
    elif harm == "half a manifest":
        manifest.write_text(manifest.read_text()[:50])
    else:
        (tmp_path / "stolen").write_bytes(b"")
        said = json.loads(manifest.read_text())
        manifest.write_text(json.dumps({**said, "sha256": {**said["sha256"], "../stolen": "0"}}))

    with pytest.raises(NoBackup):
        restore(elsewhere(tmp_path), backup)

    assert not elsewhere(tmp_path).data_dir.exists()


def test_a_damaged_database_is_not_backed_up_as_if_it_were_whole(store: Store, tmp_path: Path) -> None:
    store.queue.close()
    (store.settings.data_dir / "covid-xnet.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(DatabaseDamaged, match="covid-xnet restore"):
        back_up(store.settings, tmp_path / "backup")
    assert not (tmp_path / "backup" / "manifest.json").exists()


def test_the_commands_say_what_they_did(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.receive("1.1")
    taken = CliRunner().invoke(app, ["backup", str(tmp_path / "backup")])
    monkeypatch.setenv("COVIDXNET_DATA_DIR", str(tmp_path / "elsewhere"))
    restored = CliRunner().invoke(app, ["restore", str(tmp_path / "backup")])

    assert (taken.exit_code, restored.exit_code) == (0, 0)
    assert taken.output.startswith("2 files, ")
    assert "What is pending goes on." in restored.output
