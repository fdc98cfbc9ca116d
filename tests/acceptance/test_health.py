"""Health and metrics of a node that runs, over HTTP and on the command line."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import psutil
import pytest

from dicom_node.demo.node import running_node
from dicom_node.demo.orthanc import free_port
from tests.listening import wait_until
from tests.peers.modality import Modality
from tests.phantom import PATIENT_ID, make_cr


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as e:
        return e.code, e.read().decode()
    except OSError:
        return 0, ""


def test_a_node_tells_whether_it_is_well_until_its_listener_is_gone(tmp_path: Path) -> None:
    port = free_port()
    settings: dict[str, Any] = {
        "ae_title": "COVIDXNET", "port": free_port(), "workers": 1, "web_port": port, "minimum_free_megabytes": 1,
    }  # fmt: skip
    with running_node(tmp_path / "node", settings) as node:
        Modality(node.peer).send([make_cr()])
        wait_until(lambda: node.status()["counts"]["read"] == 1, seconds=120)
        wait_until(lambda: get(port, "/health/live")[0] == 200, seconds=60)
        assert get(port, "/health/ready")[0] == 200
        said = json.loads(node.command("health", "--json"))
        assert said["well"] is True
        assert said["checks"]["listener"]["detail"] == "answers C-ECHO"
        assert said["checks"]["workers"]["detail"] == "worker-1"
        code, metrics = get(port, "/metrics")
        assert code == 200
        assert 'covid_xnet_objects{state="read"} 1.0' in metrics
        assert PATIENT_ID not in metrics
        assert "Sign in" in get(port, "/")[1]
        assert "one-time password" in node.log.read_text()

        node.process.send_signal(signal.SIGSTOP)  # so that nobody starts it again
        listener = next(c for c in psutil.Process(node.process.pid).children() if c.cmdline()[3] == "listen")
        listener.kill()
        code, text = get(port, "/health/ready")
        assert code == 503
        assert json.loads(text)["checks"]["listener"]["well"] is False
        assert get(port, "/health/live")[0] == 200
        try:
            with pytest.raises(subprocess.CalledProcessError) as told:
                node.command("health")
        finally:
            node.process.send_signal(signal.SIGCONT)
        assert told.value.returncode == 1
        assert "NOT WELL listener" in told.value.stdout
        wait_until(lambda: get(port, "/health/ready")[0] == 200, seconds=60)
