"""`covid-xnet check` beside a running node and Orthanc: well, and with a destination that is none."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dicom_node.demo.node import running_node
from dicom_node.demo.orthanc import free_port, running_orthanc
from dicom_node.peers import Peer
from dicom_node.wire import COMPREHENSIVE_3D_SR, SECONDARY_CAPTURE
from tests.listening import wait_until


def test_the_test_radiograph_goes_to_the_pacs_and_back_and_a_dead_destination_is_told(tmp_path: Path) -> None:
    listens = Peer("COVIDXNET", "127.0.0.1", free_port())
    with running_orthanc(tmp_path / "pacs", ae_title="PACS", modalities=[listens]) as pacs:
        settings: dict[str, Any] = {
            "ae_title": listens.ae_title,
            "port": listens.port,
            "workers": 1,
            "destinations": [str(pacs.peer)],
            "calling_aes": ["MODALITY", "DEMO"],
            "minimum_free_megabytes": 1,
            "log_format": "json",
        }
        with running_node(tmp_path / "node", settings) as node:
            wait_until(lambda: node.log.read_text().count('"event": "working"') == 2, seconds=120)
            said = json.loads(node.command("check", "--json"))
            checks = {check["name"]: check for check in said["checks"]}
            assert said["well"] is True
            assert "answers as COVIDXNET calls" in checks[f"{pacs.peer} echo"]["detail"]
            assert checks[f"{pacs.peer} contexts"]["detail"] == "takes overlay, report"
            assert checks[f"{pacs.peer} proof"]["detail"] == "storage commitment"
            assert checks["test radiograph"]["detail"].startswith("read as ")
            expected = "has overlay by storage commitment, report by storage commitment"
            assert checks[f"{pacs.peer} results"]["detail"] == expected
            got = pacs.objects()
            assert {dataset.SOPClassUID for dataset in got} == {SECONDARY_CAPTURE, COMPREHENSIVE_3D_SR}
            assert {dataset.PatientID for dataset in got} == {"COVIDXNET-TEST"}

            file = tmp_path / "node" / "covid-xnet.toml"
            nobody = f"GONE@127.0.0.1:{free_port()}"
            file.write_text(file.read_text().replace(str(pacs.peer), nobody))
            with pytest.raises(subprocess.CalledProcessError) as told:
                node.command("check", "--no-send")
            assert told.value.returncode == 1
            assert "NOT WELL" in told.value.stdout
            assert "does not answer" in " ".join(told.value.stdout.split())


def test_a_configuration_that_cannot_be_read_is_a_line_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as told:
        node_command(tmp_path, "check", "--json")
    assert told.value.returncode == 1
    (check,) = json.loads(told.value.stdout)["checks"]
    assert (check["name"], check["remedy"]) == ("configuration", "Did you mean destinations?")


def node_command(folder: Path, *arguments: str) -> str:
    (folder / "covid-xnet.toml").write_text('destination = ["PACS@10.1.2.3:104"]\n')
    return subprocess.run(
        [sys.executable, "-m", "dicom_node", *arguments],
        env={**os.environ},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
