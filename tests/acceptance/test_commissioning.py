"""A node in shadow reads a site's radiographs, the site commissions it from its ledger, and results say so."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from dicom_node.demo.node import RunningNode, running_node
from dicom_node.demo.orthanc import free_port
from tests.listening import wait_until
from tests.peers.modality import Modality
from tests.phantom import make_cr

UNLABELLED, LABELLED = 50, 10


def read_by(node: RunningNode, count: int) -> list[dict[str, Any]]:
    """The objects of the ledger when `count` have been read, in the order of arrival."""
    wait_until(lambda: node.log.read_text().count('event="radiograph read"') == count, 240)
    objects: list[dict[str, Any]] = node.status()["objects"][::-1]
    return objects


def texts_of(folder: Path, journey: str) -> str:
    """What the report on a journey, which no destination got, says."""
    (file,) = (folder / "data" / "results").glob(f"*/{journey}/report-*.dcm")
    return json.dumps(dcmread(file).to_json_dict(), ensure_ascii=False, default=str)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_node_is_commissioned_from_what_it_read_in_shadow(tmp_path: Path) -> None:
    settings = {"ae_title": "COVIDXNET", "port": free_port(), "workers": 1}
    radiographs: list[Dataset] = [make_cr(seed=n) for n in range(UNLABELLED + LABELLED)]
    with running_node(tmp_path, settings) as node:
        Modality(node.peer).send(radiographs)
        before = read_by(node, len(radiographs))
        assert all(o["reading"]["commissioning"] is None and o["returns"] == [] for o in before)
        assert "not commissioned at this site" in texts_of(tmp_path, before[0]["journey"])

        table = tmp_path / "labels.csv"
        with table.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["sop_instance_uid", "label"])
            # Who has the higher scores is called ill here, so that there is something to find.
            by_score = sorted(before[:LABELLED], key=lambda o: o["reading"]["score"])
            rows.writerows(
                [o["sop_instance_uid"], "covid" if place >= LABELLED // 2 else "other"]
                for place, o in enumerate(by_score)
            )
        said = node.command("commission", "--labels", str(table), "--calling-ae", "MODALITY", "--by", "Ada Example")
        assert f"on {UNLABELLED} unlabelled and {LABELLED} labelled" in " ".join(said.split())
        signed = json.loads(node.command("commission", "show", "--json"))

        # Running workers take it up.
        wait_until(lambda: "event=commissioned " in node.log.read_text(), 60)
        late = make_cr(seed=1000)
        Modality(node.peer).send([late])
        objects = read_by(node, len(radiographs) + 1)
        reading = objects[-1]["reading"]
        assert reading["commissioning"]["by"] == "Ada Example"
        assert reading["commissioning"]["at"] == signed["at"]
        assert (reading["commissioning"]["unlabelled"], reading["commissioning"]["labelled"]) == (UNLABELLED, LABELLED)
        assert 0 <= reading["probability"] <= 1
        texts = texts_of(tmp_path, objects[-1]["journey"])
        assert f"commissioned at this site on {signed['at'][:10]} by Ada Example, on 50 unlabelled and 10" in texts
        assert "not commissioned" not in texts
        # What was read before stays as it was.
        assert objects[:-1] == before
        node.command("commission", "undo")

        wait_until(lambda: node.log.read_text().count('event="not commissioned"') == 2, 60)
        Modality(node.peer).send([make_cr(seed=1001)])
        assert read_by(node, len(radiographs) + 2)[-1]["reading"]["commissioning"] is None
    log = (tmp_path / "node.log").read_text()
    assert [log.count(f"event={event} ") for event in ('"not commissioned"', "commissioned")] == [2, 1]
