"""Processes killed at any moment: what was acknowledged is in the PACS in the end, each result once."""

import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydicom import Dataset

from dicom_node.demo.node import RunningNode, running_node
from dicom_node.demo.orthanc import Orthanc, free_port, running_orthanc
from tests.peers.modality import Modality
from tests.peers.pacs import ONE_OF_EACH, results_of, wait_for
from tests.phantom import make_cr


@dataclass(frozen=True, slots=True, kw_only=True)
class Ward:
    """A PACS that stays, and a node that can be started again on the same data."""

    pacs: Orthanc
    folder: Path
    settings: Mapping[str, Any]

    @contextmanager
    def node(self) -> Iterator[RunningNode]:
        with running_node(self.folder / "node", self.settings) as node:
            yield node


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    with running_orthanc(tmp_path / "pacs", ae_title="PACS") as pacs:
        settings = {
            "ae_title": "COVIDXNET",
            "port": free_port(),
            "workers": 1,
            "destinations": [str(pacs.peer)],
            "retry_seconds": 0.5,
        }
        yield Ward(pacs=pacs, folder=tmp_path, settings=settings)


def chests(count: int) -> list[Dataset]:
    return [make_cr(seed=seed % 8) for seed in range(count)]


def once_each(objects: list[Dataset]) -> dict[str, Any]:
    return {str(dataset.SOPInstanceUID): ONE_OF_EACH for dataset in objects}


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def kill(node: RunningNode, role: str) -> None:
    """SIGKILL to the process of a role, as soon as there is one: it may have been killed before."""

    def killed() -> bool:
        for child in psutil.Process(node.process.pid).children():
            with suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
                if child.cmdline()[3:4] == [role]:
                    child.kill()
                    return True
        return False

    wait_until(killed)


def test_workers_listener_and_returner_killed_in_mid_work_lose_and_double_nothing(ward: Ward) -> None:
    objects = chests(12)
    with ward.node() as node:
        modality = Modality(node.peer)
        sending = modality.send_in_background(objects)
        wait_until(lambda: len(modality.acknowledged) >= 3)
        kill(node, "listen")  # in the middle of sending
        wait_until(lambda: len(ward.pacs.instances()) >= 2)
        kill(node, "work")  # in the middle of reading
        wait_until(lambda: len(ward.pacs.instances()) >= 8)
        kill(node, "return")  # in the middle of returning
        kill(node, "work")
        got = wait_for(ward.pacs, 2 * len(objects))
        sending.join()
        assert results_of(got) == once_each(objects)
        assert modality.attempts > len(objects), "the listener was killed too late to matter"
        assert node.log.read_text().count("event=died") == 4


def test_a_node_killed_with_all_its_processes_goes_on_where_it_was(ward: Ward) -> None:
    objects = chests(8)
    with ward.node() as node:
        modality = Modality(node.peer)
        modality.send(objects)
        wait_until(lambda: len(ward.pacs.instances()) >= 3)
        family = psutil.Process(node.process.pid).children(recursive=True)
        node.process.send_signal(signal.SIGKILL)  # its children end by themselves: nobody is left on the port
        psutil.wait_procs(family, timeout=30)
        assert not any(process.is_running() for process in family)
    assert len(ward.pacs.instances()) < 2 * len(objects), "it was killed too late to matter"
    with ward.node():
        got = wait_for(ward.pacs, 2 * len(objects))
    assert results_of(got) == once_each(objects)


def test_results_wait_for_a_pacs_that_is_down(ward: Ward) -> None:
    objects = chests(3)
    down = free_port()
    with running_node(ward.folder / "node", {**ward.settings, "destinations": [f"LATER@127.0.0.1:{down}"]}) as node:
        Modality(node.peer).send(objects)
        wait_until(lambda: node.status()["counts"]["waiting to be returned"] == 2 * len(objects))
        wait_until(lambda: all(r["attempts"] for o in node.status()["objects"] for r in o["returns"]))
        with running_orthanc(ward.folder / "later", ae_title="LATER", port=down) as pacs:
            got = wait_for(pacs, 2 * len(objects))
        assert node.status()["counts"]["returned"] == 2 * len(objects)
    assert results_of(got) == once_each(objects)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
def test_random_kills_lose_and_double_nothing(ward: Ward, seed: int) -> None:
    moments = random.Random(seed)
    objects = chests(60)
    sending = None
    modality = None
    for _ in range(3):
        with ward.node() as node:
            modality = modality or Modality(node.peer)
            sending = sending or modality.send_in_background(objects)
            for _ in range(4):
                time.sleep(moments.uniform(0.1, 2.5))
                kill(node, moments.choice(["listen", "work", "return"]))
            time.sleep(moments.uniform(0.1, 2.5))
            node.process.send_signal(signal.SIGKILL)
    with ward.node():
        assert sending is not None
        sending.join()
        got = wait_for(ward.pacs, 2 * len(objects), seconds=300)
    assert results_of(got) == once_each(objects)
