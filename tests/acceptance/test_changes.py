"""Peers that come while a node runs: who is inside stays, who was a stranger enters, who is new gets results."""

from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.demo.node import RunningNode, running_node
from dicom_node.demo.orthanc import free_port, running_orthanc
from dicom_node.settings import CONFIG_VARIABLE
from tests.listening import wait_until
from tests.peers.pacs import ONE_OF_EACH, results_of, wait_for
from tests.phantom import make_cr

PATIENCE = 300
"""Seconds that nobody hangs up on an association without a message, however slow this machine is."""


def call(node: RunningNode, calling_ae: str) -> Association:
    entity = AE(ae_title=calling_ae)
    entity.network_timeout = PATIENCE
    entity.add_requested_context(Verification)
    radiograph = make_cr()
    entity.add_requested_context(radiograph.SOPClassUID, radiograph.file_meta.TransferSyntaxUID)
    return entity.associate(node.peer.host, node.peer.port, ae_title=node.peer.ae_title)


def may_enter(node: RunningNode, calling_ae: str) -> bool:
    association = call(node, calling_ae)
    entered: bool = association.is_established
    if entered:
        association.release()
    return entered


def peers(*arguments: str) -> None:
    result = CliRunner().invoke(app, ["peers", *arguments])
    assert result.exit_code == 0, result.exception


def store(association: Association, radiograph: Dataset) -> None:
    assert association.is_established
    assert association.send_c_store(radiograph).Status == 0x0000


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_peers_come_and_go_while_the_node_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = (make_cr(seed=seed) for seed in range(3))
    settings = {
        "ae_title": "COVIDXNET",
        "port": free_port(),
        "workers": 1,
        "calling_aes": ["DEMO", "CT1"],
        "network_timeout": PATIENCE,
    }
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "node" / "covid-xnet.toml"))
    with (
        running_orthanc(tmp_path / "pacs", ae_title="PACS") as pacs,
        running_node(tmp_path / "node", settings) as node,
    ):
        opened_before = call(node, "CT1")
        store(opened_before, first)
        assert not may_enter(node, "CT2")
        wait_until(lambda: node.log.read_text().count('event="radiograph read"') == 1, 120)

        peers("add", "--sender", "CT2")
        peers("add", str(pacs.peer))
        peers("remove", "--sender", "CT1")
        # Listener, worker and returner say each that they go by it; the steps may come as one.
        wait_until(lambda: _taken_up(node, "destinations") == 3, 60)
        wait_until(lambda: not may_enter(node, "CT1"), 60)

        store(opened_before, second)  # it was let in, and stays
        opened_before.release()
        newcomer = call(node, "CT2")
        store(newcomer, third)
        newcomer.release()

        results = results_of(wait_for(pacs, 4))
        assert results == {str(each.SOPInstanceUID): ONE_OF_EACH for each in (second, third)}
        rows = {o["sop_instance_uid"]: o["returns"] for o in node.status()["objects"]}
        assert rows[str(first.SOPInstanceUID)] == []
        log = node.log.read_text()
        assert "event=died" not in log
        assert log.count("event=started") == 3


def _taken_up(node: RunningNode, name: str) -> int:
    """How many processes of the node have taken up a setting."""
    lines = node.log.read_text().splitlines()
    return sum('event="settings taken up"' in line and name in line for line in lines)
