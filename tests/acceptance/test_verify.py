"""`covid-xnet verify` on a node that runs beside a PACS."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from dicom_node.demo.node import RunningNode, running_node
from dicom_node.demo.orthanc import free_port, running_orthanc
from tests.peers.modality import Modality
from tests.peers.pacs import wait_for
from tests.phantom import make_cr, make_dx


def verify(node: RunningNode, *options: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "dicom_node", "verify", "--json", *options],
        env=node.environment,
        stdout=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def test_a_node_and_its_pacs_agree_until_the_pacs_loses_a_result(tmp_path: Path) -> None:
    with running_orthanc(tmp_path / "pacs", ae_title="PACS", DicomAlwaysAllowFind=True) as pacs:
        settings = {
            "ae_title": "COVIDXNET",
            "port": free_port(),
            "workers": 1,
            "destinations": [str(pacs.peer), f"GONE@127.0.0.1:{free_port()}"],
            "retry_seconds": 0.5,
            "minimum_free_megabytes": 0,
        }
        with running_node(tmp_path / "node", settings) as node:
            Modality(node.peer).send([make_cr(size=256), make_cr(size=256, seed=1), make_dx(view="LL")])
            objects = wait_for(pacs, 4)
            code, said = verify(node, "--digests")
            assert (code, said["differences"]) == (0, [])
            assert said["consistent"]
            (asked,) = said["destinations"]  # nothing was delivered to the one that is gone
            assert (asked["destination"], asked["asked"], asked["unasked"]) == (str(pacs.peer), 4, "")

            lost = objects[0].SOPInstanceUID
            (found,) = json.loads(
                pacs.rest("/tools/find", {"Level": "Instance", "Query": {"SOPInstanceUID": str(lost)}})
            )
            pacs.rest(f"/instances/{found}", method="DELETE")
            code, said = verify(node)
            assert code == 1
            assert [(d["kind"], d["subject"]) for d in said["differences"]] == [
                ("result missing at its destination", str(lost))
            ]
