"""Ledger and queue on PostgreSQL: the same node, killed in mid work, and a destination that refuses at first."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dicom_node.demo.node import running_node
from dicom_node.demo.orthanc import free_port
from tests.peers.modality import Modality
from tests.peers.postgresql import running_postgresql
from tests.peers.scripted_pacs import scripted_pacs
from tests.phantom import make_cr


def wait_until(condition: Callable[[], bool], seconds: float = 200.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.5)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_node_on_postgresql_that_is_killed_goes_on_and_finds_no_difference(tmp_path: Path) -> None:
    with running_postgresql() as url, scripted_pacs(query=True) as pacs:
        pacs.answer = lambda ds: 0xA700 if pacs.offered.count(str(ds.SOPInstanceUID)) == 1 else 0x0000
        settings = {
            "ae_title": "COVIDXNET",
            "port": free_port(),
            "workers": 1,
            "destinations": [str(pacs.peer)],
            "database_url": url,
            "retry_seconds": 0.5,
        }
        with running_node(tmp_path / "node", settings) as node:
            Modality(node.peer).send([make_cr(size=256, seed=seed) for seed in range(3)])
            node.process.kill()
            node.process.wait()
        with running_node(tmp_path / "node", settings) as node:
            Modality(node.peer).send([make_cr(size=256, seed=4)])
            wait_until(lambda: node.status()["counts"]["returned"] == 8)
            said = json.loads(node.command("verify", "--digests", "--json"))
    assert said["differences"] == []
    assert [destination["unasked"] for destination in said["destinations"]] == [""]
    assert len(pacs.uids()) == len(set(pacs.uids())) == 8
