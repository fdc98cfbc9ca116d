"""A new site with a real PACS, where nothing arrives before its sender is on; second networks read beside."""

import json
from pathlib import Path

import pytest

from dicom_node.demo.node import running_node
from dicom_node.demo.orthanc import free_port, running_orthanc
from dicom_node.peers import Peer
from tests.listening import wait_until
from tests.peers.modality import Modality
from tests.peers.pacs import ONE_OF_EACH, results_of, wait_for
from tests.phantom import make_cr
from tests.unit.test_compare import other_weights


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_new_site_sends_nothing_until_its_sender_is_switched_on(tmp_path: Path) -> None:
    listens = Peer("COVIDXNET", "127.0.0.1", free_port())
    with running_orthanc(tmp_path / "pacs", ae_title="PACS", modalities=[listens]) as pacs:
        settings = {
            "ae_title": listens.ae_title, "port": listens.port, "workers": 1, "destinations": [str(pacs.peer)],
            "shadow_until_commissioned": True, "shadow_weights_dir": str(other_weights(tmp_path / "weights")),
        }  # fmt: skip
        with running_node(tmp_path / "node", settings) as node:
            before, after = make_cr(seed=1), make_cr(seed=2)
            Modality(node.peer).send([before])
            wait_until(lambda: node.status()["counts"]["in shadow"] == 1, 240)
            node.command("commission", "on", "MODALITY", "--by", "Ada Example")
            Modality(node.peer).send([after])
            arrived = results_of(wait_for(pacs, 2, seconds=240))
            assert arrived == {after.SOPInstanceUID: ONE_OF_EACH}
            objects = {o["sop_instance_uid"]: o for o in node.status()["objects"]}
            assert objects[before.SOPInstanceUID]["reading"]["shadow"] is True
            assert objects[before.SOPInstanceUID]["returns"] == []
            # A reading has the statistics that drift is told by, and both networks gave a score.
            assert objects[after.SOPInstanceUID]["reading"]["statistics"]["lung share"] > 0
            wait_until(lambda: json.loads(node.command("compare", "--json"))["both"] == 2, 120)
            compared = json.loads(node.command("compare", "--json"))
            assert compared["second"].endswith("9.9.9")
            assert compared["failed"] == 0
            assert compared["pearson"] is None  # of two
            assert "No difference." in node.command("verify")
