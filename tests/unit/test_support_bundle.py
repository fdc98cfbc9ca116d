"""What goes to a developer names no patient and no secret, and comes from a broken node, too."""

import json
import zipfile
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.journey.ledger import RejectedObject, Row, now
from tests.unit.test_retention import DELIVERED, WAITING, Store, store

__all__ = ["store"]

SAFE = {"sop_class_uid", "transfer_syntax_uid"}
"""Columns that identify a kind of object, and none of them."""


def bundle_of(out: Path) -> dict[str, str]:
    result = CliRunner().invoke(app, ["support-bundle", "--out", str(out)])
    assert result.exit_code == 0, result.exception
    with zipfile.ZipFile(out) as bundle:
        return {name: bundle.read(name).decode() for name in bundle.namelist()}


def identifiers(store: Store) -> set[str]:
    """Every value of the ledger that could lead to one patient, study, series, object or journey."""
    found: set[str] = set()
    with Session(store.queue.engine) as session:
        for table in Row.metadata.sorted_tables:
            for column in table.columns:
                named = column.name.endswith(("_uid", "_id", "journey", "digest", "accession_number", "study_date"))
                if named and column.name not in SAFE and column.name != "id" and "model" not in column.name:
                    found |= {str(value) for value in session.scalars(sa.select(column)) if value not in (None, "")}
    return found


def fill(store: Store) -> None:
    person = {"patient": "PAT-4711-X", "accession_number": "ACC-0815-Y", "study_date": "19710203"}
    first = store.receive("1.2.826.0.77.1", **person)  # type: ignore[arg-type]
    store.read(first, DELIVERED, WAITING)
    store.read(store.receive("1.2.826.0.77.2", patient="PAT-4712-X"), failure="The pixels are damaged: 1.2.826.0.77.2")
    store.receive("1.2.826.0.77.3", accepted=False, reason="lateral view", detail="of PAT-4711-X")
    with Session(store.queue.engine) as session, session.begin():
        session.add(
            RejectedObject(
                sop_instance_uid="1.2.826.0.77.4", sop_class_uid="1.2", calling_ae="CT1", peer_address="10.1.2.3",
                status=0xC000, reason="of PAT-4711-X", rejected_at=now(),
            )
        )  # fmt: skip
    (store.settings.data_dir / "commissioning.json").write_text('{"by": "Dr. Ada Example", "threshold": 0.4}')


def test_no_identifier_of_the_ledger_is_in_it(store: Store, tmp_path: Path) -> None:
    fill(store)
    named = identifiers(store)
    assert {"PAT-4711-X", "PAT-4712-X", "ACC-0815-Y", "1.2.826.0.77.1", "1.2.826.0.77.4", "19710203"} <= named
    assert len(named) > 15

    files = bundle_of(tmp_path / "support.zip")

    found = [(name, each) for name, text in files.items() for each in named if each in text]
    assert found == []
    assert [name for name, text in files.items() if "Ada Example" in text] == []
    told = json.loads(files["counts.json"])
    assert (told["states"]["received"], told["states"]["rejected"], told["states"]["failed"]) == (3, 1, 1)
    assert told["gate"]["False | lateral view"] == 1
    assert json.loads(files["commissioning.json"]) == {"threshold": 0.4}
    assert json.loads(files["schema.json"])["found"] == json.loads(files["schema.json"])["needed"] != ""
    assert json.loads(files["queue.json"])
    assert "pydicom" in json.loads(files["versions.json"])["packages"]
    assert "covid_xnet_objects" in files["metrics.txt"]


@pytest.mark.filterwarnings("ignore:Query string:sqlalchemy.exc.SAWarning")
def test_no_secret_of_the_settings_is_in_it(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVIDXNET_ALERT_URLS", "mailto://user:TopSecret1@example.org")
    file = store.settings.data_dir / "covid-xnet.sqlite"
    monkeypatch.setenv("COVIDXNET_DATABASE_URL", f"sqlite:///{file}?password=TopSecret2")
    files = bundle_of(tmp_path / "support.zip")
    assert "data_dir" in files["settings.toml"]
    assert [name for name, text in files.items() if "TopSecret" in text] == []


def test_of_a_broken_node_it_holds_what_can_be_found_out(store: Store, tmp_path: Path) -> None:
    store.queue.close()
    (store.settings.data_dir / "covid-xnet.sqlite").write_bytes(b"no database" * 1000)
    files = bundle_of(tmp_path / "support.zip")
    assert "not found out" in json.loads(files["counts.json"])
    assert json.loads(files["health.json"])["database"]["well"] is False
    assert "python" in json.loads(files["versions.json"])


def test_a_file_that_is_there_is_not_overwritten(store: Store, tmp_path: Path) -> None:
    bundle_of(tmp_path / "support.zip")
    again = CliRunner().invoke(app, ["support-bundle", "--out", str(tmp_path / "support.zip")])
    assert "is there already" in str(again.exception)
