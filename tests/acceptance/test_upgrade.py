"""An upgrade in the middle of queued journeys: of the node, and of its networks."""

import json
import shutil
import sqlite3
import tarfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from dicom_node.demo.node import RunningNode, running_node
from dicom_node.demo.orthanc import free_port, running_orthanc
from dicom_node.peers import Peer
from dicom_node.wire import COMPREHENSIVE_3D_SR
from models.registry import MANIFEST, SHIPPED
from tests.listening import wait_until
from tests.peers.modality import Modality
from tests.peers.pacs import ONE_OF_EACH, results_of, wait_for
from tests.phantom import make_cr

OLD = Path(__file__).parents[1] / "fixtures" / "journeys-1.tar.xz"
"""Its journeys.sql says how it was made."""
OLD_PACS = "PACS@127.0.0.1:11999"
OLD_SENT = 5

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def unpack_old(data: Path, pacs: Peer) -> set[str]:
    """Make the data folder that the old version left; returns the SOP Instance UIDs of the radiographs."""
    with tarfile.open(OLD) as archive:
        archive.extractall(data, filter="data")
    script = data / "journeys.sql"
    with closing(sqlite3.connect(data / "covid-xnet.sqlite")) as database:
        database.executescript(script.read_text().replace(OLD_PACS, str(pacs)))
        script.unlink()
        return {uid for (uid,) in database.execute("SELECT sop_instance_uid FROM received")}


def differences(node: RunningNode) -> list[Any]:
    found: list[Any] = json.loads(node.command("verify", "--digests", "--json"))["differences"]
    return found


def test_a_new_version_finishes_the_journeys_of_an_old_one_once_each(tmp_path: Path) -> None:
    with running_orthanc(tmp_path / "pacs", ae_title="PACS") as pacs:
        sent = unpack_old(tmp_path / "node" / "data", pacs.peer)
        assert len(sent) == OLD_SENT
        settings = {
            "ae_title": "COVIDXNET",
            "port": free_port(),
            "workers": 2,
            "destinations": [{"peer": str(pacs.peer), "objects": ["report"]}],
            "retry_seconds": 0.5,
        }
        with running_node(tmp_path / "node", settings) as node:
            got = results_of(wait_for(pacs, OLD_SENT, seconds=200))
            wait_until(lambda: node.status()["counts"]["returned"] == OLD_SENT, seconds=60)
            assert differences(node) == []
    assert got == {uid: Counter({COMPREHENSIVE_3D_SR: 1}) for uid in sent}


def networks(folder: Path, version: str) -> Path:
    """The shipped networks under another version, as a new training would bring them."""
    shutil.copytree(SHIPPED, folder)
    entries = json.loads((folder / MANIFEST).read_text())
    for entry in entries:
        if entry["name"] == "covid_xnet":
            entry["version"], entry["operating_point"]["threshold"] = version, 0.5
    (folder / MANIFEST).write_text(json.dumps(entries))
    return folder


def model_in(result: Dataset) -> str:
    (version,) = (text for text in result.SoftwareVersions if text.startswith("COVID-XNet"))
    return str(version)


def test_new_networks_read_what_is_not_read_yet_and_results_of_the_old_ones_go_as_they_are(tmp_path: Path) -> None:
    before, after = ([make_cr(size=256, seed=seed) for seed in seeds] for seeds in ((1, 2), (3, 4)))
    port, away = free_port(), Peer("PACS", "127.0.0.1", free_port())
    settings = {
        "ae_title": "COVIDXNET",
        "port": port,
        "workers": 1,
        "destinations": [str(away)],
        "retry_seconds": 0.5,
        "weights_dir": str(networks(tmp_path / "old", "7.0.0")),
    }
    with running_node(tmp_path / "node", settings) as node:
        Modality(node.peer).send(before)
        wait_until(lambda: node.status()["counts"]["read"] == len(before), seconds=120)
    with running_node(tmp_path / "node", settings, role=("listen",)) as node:
        Modality(node.peer).send(after)
    shutil.rmtree(tmp_path / "old")
    settings["weights_dir"] = str(networks(tmp_path / "new", "8.0.0"))
    with (
        running_node(tmp_path / "node", settings) as node,
        running_orthanc(tmp_path / "pacs", ae_title=away.ae_title, port=away.port) as pacs,
    ):
        got = wait_for(pacs, 2 * len([*before, *after]), seconds=200)
        wait_until(lambda: node.status()["counts"]["returned"] == len(got), seconds=60)
        rows = {row["sop_instance_uid"]: row["reading"] for row in node.status()["objects"]}
        assert differences(node) == []

    assert results_of(got) == {str(ds.SOPInstanceUID): ONE_OF_EACH for ds in (*before, *after)}
    for sent, model in ((before, "COVID-XNet 7.0.0"), (after, "COVID-XNet 8.0.0")):
        uids = {str(ds.SOPInstanceUID) for ds in sent}
        results = [ds for ds in got if uids & {str(e.value) for e in ds.iterall() if e.keyword.endswith("InstanceUID")}]
        assert [model_in(ds) for ds in results] == [model] * 2 * len(sent)
        assert {rows[uid]["model"] for uid in uids} == {model}
