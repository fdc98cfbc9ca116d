"""One node, two PACS that ask for different objects in different forms, and a radiograph that cannot be read."""

from pathlib import Path

import pytest
from pydicom import Dataset, dcmwrite
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from dicom_node.demo.node import running_node
from dicom_node.demo.orthanc import free_port, running_orthanc
from dicom_node.peers import Peer
from dicom_node.wire import (
    COMPREHENSIVE_3D_SR,
    COMPREHENSIVE_SR,
    KEY_OBJECT_SELECTION,
    PRESENTATION_STATE,
    SECONDARY_CAPTURE,
    SEGMENTATION,
)
from tests.conformance.validators import complaints
from tests.peers.dcmtk import storescu
from tests.peers.modality import Modality
from tests.peers.pacs import wait_for
from tests.phantom import encapsulated, make_cr, make_dx

CLASSES = {
    "overlay": SECONDARY_CAPTURE,
    "report": COMPREHENSIVE_SR,
    "segmentation": SEGMENTATION,
    "presentation-state": PRESENTATION_STATE,
    "key-object": KEY_OBJECT_SELECTION,
}


@pytest.fixture
def node_peer() -> Peer:
    return Peer("COVIDXNET", "127.0.0.1", free_port())


def classes(objects: list[Dataset]) -> list[str]:
    return sorted(str(dataset.SOPClassUID) for dataset in objects)


def texts(dataset: Dataset) -> str:
    return " ".join(str(element.value) for element in dataset.iterall() if element.keyword == "TextValue")


def test_two_destinations_get_different_objects_of_one_reading(tmp_path: Path, node_peer: Peer) -> None:
    good = make_cr(orientation=("L", "F"))
    damaged = encapsulated(make_dx(seed=1), b"\xff\x4f\xff\x51 no codestream", JPEG2000Lossless)
    with (
        running_orthanc(tmp_path / "pacs", ae_title="PACS") as pacs,
        running_orthanc(tmp_path / "archive", ae_title="ARCHIVE", modalities=[node_peer]) as archive,
    ):
        everything = ["overlay", "report", "segmentation", "presentation-state", "key-object"]
        settings = {
            "ae_title": node_peer.ae_title,
            "port": node_peer.port,
            "workers": 1,
            "report_failures": True,
            "destinations": [
                {
                    "peer": str(pacs.peer),
                    "objects": ["overlay"],
                    "overlay_layout": "side-by-side",
                    "overlay_compression": ["jpeg-2000"],
                },
                {
                    "peer": str(archive.peer),
                    "objects": everything,
                    "overlay_size": "1024",
                    "overlay_compression": ["jpeg-ls"],
                    "report_class": "comprehensive",
                },
            ],
        }
        with running_node(tmp_path / "node", settings) as node:
            Modality(node.peer).send([good, damaged])
            # Overlay, report and presentation state there are always, and the report on the failure.
            wait_for(archive, 4)
            rows = {row["sop_instance_uid"]: row for row in node.status()["objects"]}
            positive = rows[good.SOPInstanceUID]["reading"]["verdict"] == "positive"
            kinds = {r["kind"] for r in rows[good.SOPInstanceUID]["returns"] if r["destination"] == str(archive.peer)}
            assert kinds >= {"overlay", "report", "presentation-state"}
            assert ("key-object" in kinds) is positive
            expected = [*(CLASSES[kind] for kind in kinds), COMPREHENSIVE_SR]
            at_archive, at_pacs = wait_for(archive, len(expected)), wait_for(pacs, 1)
            assert classes(at_archive) == sorted(expected)
            assert classes(at_pacs) == [SECONDARY_CAPTURE]

            for instance in archive.instances():  # as by a routing rule that sends all to the node
                archive.rest(f"/modalities/{node_peer.ae_title}/store", instance, method="POST")
            assert len(wait_for(archive, len(expected), settle=3)) == len(expected)
            again = {row["sop_instance_uid"]: row["reason"] for row in node.status()["objects"]}
            assert {again[ds.SOPInstanceUID] for ds in at_archive} == {"own result"}

    failure = rows[damaged.SOPInstanceUID]["reading"]["failure"]
    assert failure
    about_failure = [ds for ds in at_archive if failure in texts(ds)]
    assert [ds.StudyInstanceUID for ds in about_failure] == [damaged.StudyInstanceUID]
    others = [ds for ds in at_archive if ds not in about_failure]
    assert {ds.StudyInstanceUID for ds in (*others, *at_pacs)} == {good.StudyInstanceUID}
    small = next(ds for ds in others if ds.SOPClassUID == SECONDARY_CAPTURE)
    (wide,) = at_pacs
    assert wide.SOPInstanceUID != small.SOPInstanceUID
    assert wide.Columns > 2 * 700 > small.Columns
    assert wide.file_meta.TransferSyntaxUID == JPEG2000Lossless
    assert small.file_meta.TransferSyntaxUID == JPEGLSLossless
    assert {r["transfer_syntax_uid"] for r in rows[good.SOPInstanceUID]["returns"] if r["kind"] == "overlay"} == {
        JPEG2000Lossless,
        JPEGLSLossless,
    }
    returned = {(r["destination"], r["kind"]) for r in rows[good.SOPInstanceUID]["returns"]}
    assert (str(pacs.peer), "overlay") in returned
    assert (str(pacs.peer), "report") not in returned
    for number, dataset in enumerate((*at_archive, *at_pacs)):
        path = tmp_path / f"result-{number}.dcm"
        dcmwrite(path, dataset, enforce_file_format=True)
        assert complaints(path) == []


def test_what_failed_and_is_read_again_in_vain_brings_no_second_report(tmp_path: Path, node_peer: Peer) -> None:
    damaged = encapsulated(make_cr(), b"\xff\x4f\xff\x51 no codestream", JPEG2000Lossless)
    file = tmp_path / "damaged.dcm"
    dcmwrite(file, damaged, enforce_file_format=True)
    with running_orthanc(tmp_path / "pacs", ae_title="PACS") as pacs:
        settings = {
            "ae_title": node_peer.ae_title,
            "port": node_peer.port,
            "workers": 1,
            "report_failures": True,
            "destinations": [str(pacs.peer)],
        }
        with running_node(tmp_path / "node", settings) as node:
            storescu(node.peer, [file], "-xv")
            (report,) = wait_for(pacs, 1)
            assert report.SOPClassUID == COMPREHENSIVE_3D_SR
            node.command("retry", "--failed")
            again = wait_for(pacs, 1, settle=6)
            (row,) = node.status()["objects"]
    assert [ds.SOPInstanceUID for ds in again] == [report.SOPInstanceUID]
    assert [(r["kind"], r["state"], r["sop_instance_uid"]) for r in row["returns"]] == [
        ("report", "delivered", report.SOPInstanceUID)
    ]
