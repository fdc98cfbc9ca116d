"""The whole node between real peers: DCMTK sends, Orthanc gets the results."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from pydicom import Dataset, dcmwrite
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from dicom_node.demo.node import RunningNode, running_node, write_configuration
from dicom_node.demo.orthanc import Orthanc, free_port, running_orthanc
from dicom_node.demo.radiographs import real_radiographs
from dicom_node.peers import Peer
from tests.conformance.validators import complaints
from tests.peers.dcmtk import dcmsend, storescu
from tests.peers.modality import Modality
from tests.peers.pacs import ONE_OF_EACH, results_of, wait_for
from tests.phantom import PATIENT_ID, PATIENT_NAME, encapsulated, make_cr, make_dx


@dataclass(frozen=True, slots=True, kw_only=True)
class Hospital:
    """A node between its peers, and a folder for what is sent."""

    node: RunningNode
    pacs: Orthanc
    folder: Path

    def write(self, **objects: Dataset) -> dict[str, Path]:
        for name, dataset in objects.items():
            dcmwrite(self.folder / f"{name}.dcm", dataset, enforce_file_format=True)
        return {name: self.folder / f"{name}.dcm" for name in objects}

    def row(self, dataset: Dataset) -> dict[str, Any]:
        """What the ledger says of an object."""
        found = [o for o in self.node.status()["objects"] if o["sop_instance_uid"] == dataset.SOPInstanceUID]
        assert len(found) == 1
        row: dict[str, Any] = found[0]
        return row


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    listens = Peer("COVIDXNET", "127.0.0.1", free_port())
    with running_orthanc(tmp_path / "pacs", ae_title="PACS", modalities=[listens]) as pacs:
        settings = {
            "ae_title": listens.ae_title,
            "port": listens.port,
            "workers": 1,
            "destinations": [str(pacs.peer)],
            "calling_aes": ["MODALITY", "PACS", "DEMO"],
        }
        with running_node(tmp_path / "node", settings) as node:
            yield Hospital(node=node, pacs=pacs, folder=tmp_path)


NOISE = np.random.default_rng(9).integers(0, 4096, (300, 300), dtype=np.uint16)


def test_frontal_radiographs_come_back_once_and_all_else_has_a_reason(hospital: Hospital) -> None:
    frontal = {
        "cr": make_cr(),
        "dx": make_dx(photometric="MONOCHROME1", seed=1),
        "jpeg_2000": make_cr(syntax=JPEG2000Lossless, seed=2),
        "jpeg_ls": make_dx(syntax=JPEGLSLossless, seed=3),
        "view_unknown": make_cr(view=None, seed=4),
        "ill_formed": make_cr(seed=8, extra={"PatientBirthDate": "1960 SECRET", "PatientAge": "SECRET"}),
    }
    other = {
        "lateral": make_cr(view="LL", lateral=True),
        "hand": make_cr(body_part="HAND", seed=5),
        "raw": make_dx(for_processing=True, seed=6),
        "noise": make_cr(pixels=NOISE, bits=12, view=None, body_part=""),
        "damaged": encapsulated(make_cr(seed=7), b"\xff\x4f\xff\x51 no codestream", JPEG2000Lossless),
    }
    chest, chest_in_jpeg_2000, shin = real_radiographs()
    dcmsend(hospital.node.peer, list(hospital.write(**frontal, **other).values()))
    storescu(hospital.node.peer, [chest, shin])
    storescu(hospital.node.peer, [chest_in_jpeg_2000], "-xv")

    got = wait_for(hospital.pacs, 2 * (len(frontal) + 2))

    results = results_of(got)
    assert {str(dataset.SOPInstanceUID) for dataset in frontal.values()} <= results.keys()
    assert list(results.values()) == [ONE_OF_EACH] * (len(frontal) + 2)
    for name, dataset in other.items():
        row = hospital.row(dataset)
        reading = row["reading"]
        assert reading["failure"] if name == "damaged" else row["reason"], name
        assert row["returns"] == []
    assert hospital.row(other["noise"])["detail"].startswith("From the pixels: ")
    seen = hospital.row(frontal["view_unknown"])
    assert (seen["view"], seen["evidence"], seen["flags"]) == ("frontal", "the pixels", [])
    counts = hospital.node.status()["counts"]
    # All of the others but the damaged one, and the shin.
    assert (counts["not read"], counts["waiting to be read"]) == (len(other), 0)
    everything = hospital.node.status()["objects"]
    assert len(everything) == len(frontal) + len(other) + 3
    returns = {(r["proof"], r["status"]) for o in everything for r in o["returns"]}
    assert returns == {("storage commitment", 0x0000)}

    log = hospital.node.log.read_text()
    assert "event=started" in log
    assert not [secret for secret in ("SECRET", PATIENT_NAME, PATIENT_ID, "CompressedSamples") if secret in log]

    for number, dataset in enumerate(got):
        path = hospital.folder / f"result-{number}.dcm"
        dcmwrite(path, dataset, enforce_file_format=True)
        assert complaints(path) == []


NAIVE_ROUTE = """
function OnStoredInstance(instanceId, tags, metadata, origin)
  SendToModality(instanceId, "COVIDXNET")
end
"""
"""A rule that a site should not write: all that comes is sent to the node, its own results, too."""


@pytest.mark.slow
def test_a_pacs_that_routes_everything_to_the_node_makes_a_loop_of_one_turn(tmp_path: Path) -> None:
    listens = Peer("COVIDXNET", "127.0.0.1", free_port())
    script = tmp_path / "naive.lua"
    script.write_text(NAIVE_ROUTE)
    with running_orthanc(
        tmp_path / "pacs", ae_title="PACS", modalities=[listens], LuaScripts=[str(script)], ExecuteLuaEnabled=True
    ) as pacs:
        settings = {
            "ae_title": listens.ae_title,
            "port": listens.port,
            "workers": 1,
            "destinations": [str(pacs.peer)],
        }
        with running_node(tmp_path / "node", settings) as node:
            radiograph = make_cr()
            dcmwrite(tmp_path / "cr.dcm", radiograph, enforce_file_format=True)
            storescu(pacs.peer, [tmp_path / "cr.dcm"])

            got = wait_for(pacs, 3, settle=8)

            assert len(got) == 3
            objects = {o["sop_instance_uid"]: o for o in node.status()["objects"]}
            assert objects.keys() == {str(dataset.SOPInstanceUID) for dataset in got}
            own = [o for uid, o in objects.items() if uid != radiograph.SOPInstanceUID]
            assert [(o["accepted"], o["reason"], o["journey"]) for o in own] == [(False, "own result", None)] * 2
            assert sum(o["times_received"] for o in objects.values()) == 3
            assert "is whole" in node.command("audit", "verify")
            trail = [json.loads(line) for line in node.command("audit", "show", "--json", "--limit", "0").splitlines()]
            moved = [entry for entry in trail if entry["event"] == "DICOM Instances Transferred"]
            assert {entry["action"] for entry in moved} == {"received", "sent"}
            sent = {uid for entry in moved if entry["action"] == "sent" for uid in entry["objects"]}
            assert sent == objects.keys() - {str(radiograph.SOPInstanceUID)}


def test_what_is_sent_again_and_what_comes_back_to_the_node_brings_nothing_new(hospital: Hospital) -> None:
    source = make_cr()
    files = list(hospital.write(source=source).values())
    storescu(hospital.node.peer, files)
    first = wait_for(hospital.pacs, 2)

    storescu(hospital.node.peer, files)
    for instance in hospital.pacs.instances():  # as by a routing rule that sends all to the node
        hospital.pacs.rest("/modalities/COVIDXNET/store", instance, method="POST")
    again = wait_for(hospital.pacs, 2, settle=4)

    assert {ds.SOPInstanceUID for ds in again} == {ds.SOPInstanceUID for ds in first}
    assert hospital.row(source)["times_received"] == 2
    assert [hospital.row(ds)["reason"] for ds in first] == ["own result"] * 2
    assert all(ds.StudyInstanceUID == source.StudyInstanceUID for ds in first)


def test_sigterm_ends_the_node_and_what_it_took_is_read_by_the_next(tmp_path: Path) -> None:
    objects = [make_cr(seed=seed) for seed in range(6)]
    with running_orthanc(tmp_path / "pacs", ae_title="PACS") as pacs:
        settings = {
            "ae_title": "COVIDXNET",
            "port": free_port(),
            "workers": 1,
            "destinations": [str(pacs.peer)],
        }
        with running_node(tmp_path / "node", settings) as node:
            family = psutil.Process(node.process.pid).children(recursive=True)
            assert len(family) == 3
            Modality(node.peer).send(objects)
            assert node.end() == 0
            assert not [process for process in family if process.is_running()]
        with running_node(tmp_path / "node", settings):
            results = results_of(wait_for(pacs, 2 * len(objects)))
    assert results == {str(ds.SOPInstanceUID): ONE_OF_EACH for ds in objects}


def test_each_role_can_be_started_alone(tmp_path: Path) -> None:
    source = make_cr()
    with running_orthanc(tmp_path / "pacs", ae_title="PACS") as pacs:
        settings = {"ae_title": "COVIDXNET", "port": free_port(), "destinations": [str(pacs.peer)]}
        with running_node(tmp_path / "node", settings, role=("listen",)) as node, ExitStack() as others:
            for role in ("work", "return"):
                process = subprocess.Popen([sys.executable, "-m", "dicom_node", role], env=dict(node.environment))
                others.callback(process.wait, timeout=30)
                others.callback(process.terminate)
            Modality(node.peer).send([source])
            results = results_of(wait_for(pacs, 2))
    assert results == {str(source.SOPInstanceUID): ONE_OF_EACH}


def test_a_port_that_is_taken_ends_the_node_with_one_line_and_exit_code_2(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = {"ae_title": "COVIDXNET", "port": taken.getsockname()[1], "workers": 1}
        configuration = write_configuration(tmp_path, settings)
        done = subprocess.run(
            [sys.executable, "-m", "dicom_node", "-c", str(configuration), "run"],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert str(settings["port"]) in done.stderr
