"""Poison against the node as processes: refused, or failed in a worker that is bounded in memory and time."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from pydicom import Dataset, dcmwrite
from pynetdicom import AE, _config

from dicom_node.demo.node import RunningNode, running_node
from dicom_node.demo.orthanc import free_port
from dicom_node.peers import Peer
from tests.listening import wait_until
from tests.phantom import make_cr
from tests.poison import POISON, many_numbers, write

LISTENER_MEGABYTES: Final = 300
WORKER_MEGABYTES: Final = 1000


class Peaks:
    """The largest resident memory of the processes of each role, in MB, sampled while the block runs."""

    def __init__(self, node: RunningNode) -> None:
        self.megabytes: dict[str, float] = {}
        self._node = psutil.Process(node.process.pid)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._end.wait(0.02):
            for child in self._node.children():
                with suppress(psutil.NoSuchProcess, psutil.ZombieProcess, OSError, IndexError):
                    role = child.cmdline()[3]
                    status = Path(f"/proc/{child.pid}/status").read_text()
                    peak = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024 / 1e6
                    self.megabytes[role] = max(self.megabytes.get(role, 0.0), peak)

    @contextmanager
    def watched(self) -> Iterator[None]:
        self._thread.start()
        yield
        self._end.set()
        self._thread.join()


def store(peer: Peer, source: Dataset, path: Path) -> int:
    """Send a file bit for bit; returns the status."""
    entity = AE(ae_title="MODALITY")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 120
    entity.add_requested_context(source.SOPClassUID, source.file_meta.TransferSyntaxUID)
    association = entity.associate(peer.host, peer.port, ae_title=peer.ae_title)
    assert association.is_established
    try:
        return int(association.send_c_store(path).Status)
    finally:
        association.release()


@pytest.fixture
def bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)


def settings(**changes: Any) -> dict[str, Any]:
    return {"ae_title": "COVIDXNET", "port": free_port(), "workers": 1, "retry_seconds": 0.5, **changes}


def found(node: RunningNode) -> dict[str, str]:
    """SOP Instance UID -> why it was refused or could not be read, "read", or "waiting"."""
    status = node.status()
    reasons = {row["sop_instance_uid"]: row["reason"] for row in status["rejected"]}
    for row in status["objects"]:
        reading = row["reading"]
        waiting = "waiting" if row["journey"] else row["reason"]
        reasons[row["sop_instance_uid"]] = waiting if reading is None else reading["failure"] or "read"
    return reasons


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("bit_for_bit")
def test_poison_is_refused_or_set_aside_and_its_neighbours_are_read(tmp_path: Path) -> None:
    expected: dict[str, tuple[str, str]] = {}
    neighbours = []
    with running_node(tmp_path / "node", settings()) as node:
        peaks = Peaks(node)
        with peaks.watched():
            for number, (name, poison) in enumerate(POISON.items()):
                source, body = poison.make()
                write(tmp_path / "poison.dcm", source, body)
                assert store(node.peer, source, tmp_path / "poison.dcm") == poison.status, name
                expected[str(source.SOPInstanceUID)] = (name, poison.reason or "read")
                if number % 4 == 0:
                    chest = make_cr(seed=number % 8)
                    dcmwrite(tmp_path / "chest.dcm", chest, enforce_file_format=True)
                    assert store(node.peer, chest, tmp_path / "chest.dcm") == 0x0000
                    neighbours.append(str(chest.SOPInstanceUID))
            wait_until(lambda: node.status()["counts"]["waiting to be read"] == 0, seconds=600)
        reasons = found(node)
        log = node.log.read_text()

    assert {uid: reasons[uid] for uid in neighbours} == dict.fromkeys(neighbours, "read")
    assert [
        (name, reasons[uid]) for uid, (name, begins) in expected.items() if not reasons[uid].startswith(begins)
    ] == []
    assert log.count("worker ended by a radiograph") == 2 * sum("Set aside" in p.reason for p in POISON.values())
    print("peak RSS in MB:", {role: round(peak) for role, peak in peaks.megabytes.items()})
    assert peaks.megabytes["listen"] <= LISTENER_MEGABYTES
    assert peaks.megabytes["work"] <= WORKER_MEGABYTES


@pytest.mark.slow
@pytest.mark.usefixtures("bit_for_bit")
def test_a_radiograph_that_computes_too_long_is_ended_and_set_aside(tmp_path: Path) -> None:
    source, body = many_numbers(5_000_000)
    write(tmp_path / "endless.dcm", source, body)
    chest = make_cr()
    dcmwrite(tmp_path / "chest.dcm", chest, enforce_file_format=True)
    limits = {"maximum_reading_seconds": 3, "maximum_worker_megabytes": 4000}
    with running_node(tmp_path / "node", settings(**limits)) as node:
        store(node.peer, source, tmp_path / "endless.dcm")
        store(node.peer, chest, tmp_path / "chest.dcm")
        wait_until(lambda: node.status()["counts"]["waiting to be read"] == 0, seconds=200)
        reasons = found(node)
    assert reasons[str(source.SOPInstanceUID)] == "Set aside: it needed more than 3 s of computing, 2 times."
    assert reasons[str(chest.SOPInstanceUID)] == "read"


@pytest.mark.slow
def test_the_largest_radiograph_that_is_taken_fits_the_worker(tmp_path: Path) -> None:
    source = make_cr(size=(8000, 8000))
    dcmwrite(tmp_path / "large.dcm", source, enforce_file_format=True)
    with running_node(tmp_path / "node", settings()) as node:
        peaks = Peaks(node)
        with peaks.watched():
            assert store(node.peer, source, tmp_path / "large.dcm") == 0x0000
            wait_until(lambda: node.status()["counts"]["waiting to be read"] == 0, seconds=200)
        assert found(node) == {str(source.SOPInstanceUID): "read"}
    print("peak RSS in MB:", {role: round(peak) for role, peak in peaks.megabytes.items()})
    assert peaks.megabytes["listen"] <= LISTENER_MEGABYTES
    assert peaks.megabytes["work"] <= WORKER_MEGABYTES
