"""Backup under load, restore elsewhere, an upgrade in mid work, and a database that somebody holds locked."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.demo.node import running_node, write_configuration
from dicom_node.demo.orthanc import free_port, running_orthanc
from dicom_node.spool import Spool
from tests.listening import wait_until
from tests.peers.modality import Modality
from tests.peers.pacs import ONE_OF_EACH, results_of, wait_for
from tests.phantom import as_bytes, make_cr

OLD = Path(__file__).parents[1] / "fixtures" / "ledger-0001.sql"


def settings(**changes: Any) -> dict[str, Any]:
    return {"ae_title": "COVIDXNET", "port": free_port(), "workers": 1, "retry_seconds": 0.5, **changes}


@pytest.mark.slow
def test_a_backup_under_load_goes_on_elsewhere_and_doubles_nothing(tmp_path: Path) -> None:
    objects = [make_cr(seed=seed % 8) for seed in range(14)]
    with running_orthanc(tmp_path / "pacs", ae_title="PACS") as pacs:
        to_pacs = settings(destinations=[str(pacs.peer)])
        with running_node(tmp_path / "first", to_pacs) as node:
            modality = Modality(node.peer)
            modality.send(objects[:6])
            wait_until(lambda: len(pacs.instances()) >= 2, seconds=120)
            sending = modality.send_in_background(objects[6:])
            said = node.command("backup", str(tmp_path / "backup"))
            assert "are in" in said
            assert "not on disk" not in said
            sending.join()
            lost = modality.acknowledged
        # The machine burns down; what came after the backup is sent again by whoever still has it.
        there = write_configuration(tmp_path / "second", to_pacs)
        restore = [sys.executable, "-m", "dicom_node", "-c", str(there), "restore", str(tmp_path / "backup")]
        subprocess.run(restore, check=True, timeout=120)
        with running_node(tmp_path / "second", to_pacs) as node:
            known = {o["sop_instance_uid"] for o in node.status()["objects"]}
            assert {str(ds.SOPInstanceUID) for ds in objects[:6]} <= known
            Modality(node.peer).send([ds for ds in objects if str(ds.SOPInstanceUID) in lost])
            wait_until(lambda: node.status()["counts"]["returned"] == 2 * len(objects), seconds=200)
            results = results_of(wait_for(pacs, 2 * len(objects)))
    assert results == {str(ds.SOPInstanceUID): ONE_OF_EACH for ds in objects}


def test_a_journey_that_an_older_version_left_is_walked_to_its_end(tmp_path: Path) -> None:
    source = make_cr(extra={"SOPInstanceUID": "1.2.3.4.1", "StudyInstanceUID": "1.2.3.4"})
    data = tmp_path / "node" / "data"
    spool = Spool(data / "spool", minimum_free_bytes=0)
    temporary = spool.receive(transfer_syntax_uid=ExplicitVRLittleEndian, prefix=b"")
    temporary.write(as_bytes(source))
    kept = spool.keep(temporary)
    with closing(sqlite3.connect(data / "covid-xnet.sqlite")) as connection:
        connection.executescript(OLD.read_text())
        connection.execute("UPDATE received SET digest = ? WHERE sop_instance_uid = '1.2.3.4.1'", (kept.digest,))
        connection.commit()
    with running_node(tmp_path / "node", settings()) as node:
        wait_until(lambda: node.status()["counts"]["waiting to be read"] == 0, seconds=200)
        rows = {row["sop_instance_uid"]: row["reading"] for row in node.status()["objects"]}
    assert rows["1.2.3.4.1"]["failure"] == ""
    assert rows["1.2.3.4.1"]["score"] is not None
    assert rows["1.2.3.4.2"]["score"] == 0.25


@pytest.mark.slow
def test_a_run_that_a_living_worker_lost_is_taken_up_again(tmp_path: Path) -> None:
    with running_node(tmp_path / "node", settings()) as node:
        Modality(node.peer).send([make_cr()])
        wait_until(lambda: node.status()["counts"]["read"] == 1, seconds=120)
        with closing(sqlite3.connect(tmp_path / "node" / "data" / "covid-xnet.sqlite", timeout=60)) as database:
            query = "SELECT count(*) FROM workflow_status WHERE status = 'SUCCESS'"
            wait_until(lambda: database.execute(query).fetchone() == (1,), seconds=60)
            # As it stands when the database fails between the giving and the taking.
            database.execute("UPDATE workflow_status SET status = 'PENDING', executor_id = 'worker-1'")
            database.commit()
            wait_until(lambda: database.execute(query).fetchone() == (1,), seconds=120)
        assert 'event="taken up again"' in node.log.read_text()


@contextmanager
def locked(database: Path) -> Iterator[None]:
    with closing(sqlite3.connect(database, isolation_level=None, timeout=60)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.slow
def test_a_database_that_is_locked_longer_than_anybody_waits_loses_nothing(tmp_path: Path) -> None:
    objects = [make_cr(seed=seed) for seed in range(6)]
    with (
        running_orthanc(tmp_path / "pacs", ae_title="PACS") as pacs,
        running_node(tmp_path / "node", settings(destinations=[str(pacs.peer)])) as node,
    ):
        modality = Modality(node.peer)
        modality.send(objects[:3])
        with locked(tmp_path / "node" / "data" / "covid-xnet.sqlite"):
            sending = modality.send_in_background(objects[3:])
            time.sleep(40)
            assert len(modality.acknowledged) == 3
        sending.join()
        results = results_of(wait_for(pacs, 2 * len(objects), seconds=250))
        assert node.process.poll() is None
    assert results == {str(ds.SOPInstanceUID): ONE_OF_EACH for ds in objects}
