"""Several images of one study: each frontal one has its own reading and results, and all stand together."""

import json
from pathlib import Path

from pydicom.uid import generate_uid

from dicom_node.demo.node import running_node
from dicom_node.demo.orthanc import free_port, running_orthanc
from dicom_node.wire import RADIOGRAPHS
from tests.peers.modality import Modality
from tests.peers.pacs import ONE_OF_EACH, results_of, wait_for
from tests.phantom import make_cr


def test_each_frontal_of_a_study_has_its_own_results_in_the_study_of_the_source(tmp_path: Path) -> None:
    study, series, later = generate_uid(), generate_uid(), generate_uid()
    here = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
    first = make_cr(extra={**here, "InstanceNumber": 1})
    wrong_window = make_cr(seed=1, window=(100, 50), extra={**here, "InstanceNumber": 2})
    lateral = make_cr(view="LL", lateral=True, extra={**here, "InstanceNumber": 3})
    repeat = make_cr(extra={**here, "InstanceNumber": 4})  # the very pixels of the first
    corrected = make_cr(seed=1, window=(2048, 4096), extra={**here, "InstanceNumber": 2})
    late = make_cr(
        seed=2,
        view="AP",
        extra={
            "StudyInstanceUID": study, "SeriesInstanceUID": later, "SeriesNumber": 2, "SeriesTime": "111500",
            "AcquisitionTime": "111500", "ContentTime": "111500",
        },
    )  # fmt: skip
    stranger = make_cr(seed=3)
    with running_orthanc(tmp_path / "pacs", ae_title="PACS") as pacs:
        settings = {"ae_title": "COVIDXNET", "port": free_port(), "workers": 1, "destinations": [str(pacs.peer)]}
        with running_node(tmp_path / "node", settings) as node:
            Modality(node.peer).send([first, wrong_window, lateral, repeat, stranger])
            wait_for(pacs, 8)
            Modality(node.peer).send([corrected, late])
            returned = wait_for(pacs, 12)
            shown = json.loads(node.command("status", "--study", study, "--json"))["objects"]
            table = node.command("status", "--study", study)
        studies = {ds.StudyInstanceUID for ds in returned}
        assert len(json.loads(pacs.rest("/studies"))) == len(studies) == 2

    frontal = [first, wrong_window, repeat, corrected, late]
    results = [ds for ds in returned if ds.StudyInstanceUID == study]
    assert results_of(results) == {str(ds.SOPInstanceUID): ONE_OF_EACH for ds in frontal}
    assert results_of(returned).keys() - results_of(results).keys() == {str(stranger.SOPInstanceUID)}
    assert all(ds.SOPClassUID not in RADIOGRAPHS for ds in returned)

    # A series of its own for each result: no viewer mixes two readings, and none joins the modality's series.
    assert len({ds.SeriesInstanceUID for ds in results}) == len(results)
    assert not {ds.SeriesInstanceUID for ds in results} & {series, later}
    assert len({ds.SOPInstanceUID for ds in results}) == len(results)

    by_uid = {row["sop_instance_uid"]: row for row in shown}
    assert by_uid.keys() == {str(ds.SOPInstanceUID) for ds in [*frontal, lateral]}
    assert by_uid[lateral.SOPInstanceUID]["reason"] == "lateral view"
    assert by_uid[lateral.SOPInstanceUID]["reading"] is None
    score = {uid: row["reading"]["score"] for uid, row in by_uid.items() if row["reading"]}
    assert len(score) == len(frontal)
    assert score[first.SOPInstanceUID] == score[repeat.SOPInstanceUID]
    assert score[wrong_window.SOPInstanceUID] != score[corrected.SOPInstanceUID]
    assert stranger.SOPInstanceUID not in by_uid
    # Words, for in a narrow terminal UIDs and phrases are broken into lines.
    assert table.count("overlay") == table.count("report") == len(frontal)
    assert table.count("lateral") == 1
