"""How long a role takes from its command to its first answer."""

import os
import subprocess
import sys
import time
from pathlib import Path

from pynetdicom.presentation import build_context

from dicom_node.bench.peers import answers
from dicom_node.bench.report import Section, Value, median
from dicom_node.bench.usage import tree
from dicom_node.demo.node import write_configuration
from dicom_node.demo.orthanc import free_port
from dicom_node.errors import NodeError, PeerUnreachable
from dicom_node.peers import Peer
from dicom_node.returns.returner import associate
from dicom_node.settings import CONFIG_VARIABLE
from dicom_node.wire import VERIFICATION

_LONGEST: float = 60.0


def starts(folder: Path, rounds: int) -> Section:
    """Start listener and worker in turn; first of all a start that makes the database."""
    peer = Peer("COVIDXNET", "127.0.0.1", free_port())
    configuration = write_configuration(folder, {"ae_title": peer.ae_title, "port": peer.port})
    environment = {**os.environ, CONFIG_VARIABLE: str(configuration)}
    first = _start(environment, folder, peer, "listen")
    found: dict[str, list[tuple[float, float, float]]] = {"listen": [], "work": []}
    for _ in range(rounds):
        for role, times in found.items():
            times.append(_start(environment, folder, peer, role))
    rows: list[dict[str, Value]] = [
        {"role": "listen, with a new database", "seconds": first[0], "CPU s": first[1], "RSS MB": first[2]}
    ]
    for role, times in found.items():
        seconds, cpu, resident = (median(values) for values in zip(*times, strict=True))
        rows.append({"role": role, "seconds": seconds, "CPU s": cpu, "RSS MB": resident})
    return Section(
        title="Start",
        note="From the command to the answer to a C-ECHO, or to the log line that it works; medians. RSS when idle.",
        rows=rows,
    )


def _start(environment: dict[str, str], folder: Path, peer: Peer, role: str) -> tuple[float, float, float]:
    log = folder / f"{role}.log"
    with log.open("wb") as output:
        begin = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "dicom_node", role], env=environment, stdout=output, stderr=output
        )
    try:
        while not (_echoes(peer) if role == "listen" else b"event=working" in log.read_bytes()):
            if process.poll() is not None or time.perf_counter() - begin > _LONGEST:
                raise NodeError(f"covid-xnet {role} does not start: {log.read_text()[-300:]}")
            time.sleep(0.01)
        seconds = time.perf_counter() - begin
        (found,) = tree(process.pid).values()
        times = found.cpu_times()
        return seconds, times.user + times.system, found.memory_info().rss / 1e6
    finally:
        process.terminate()
        process.wait()


def _echoes(peer: Peer) -> bool:
    if not answers(peer.port):
        return False
    try:
        association = associate(peer, [build_context(VERIFICATION)], calling_ae="BENCH", timeout=5)
    except PeerUnreachable:
        return False
    status = association.send_c_echo()
    association.release()
    return "Status" in status and status.Status == 0
