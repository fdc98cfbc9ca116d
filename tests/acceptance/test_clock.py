"""The clock is set, forward by a day and back by an hour, while journeys wait: nothing is lost, doubled, or stuck."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from dicom_node.demo.node import RunningNode, running_node
from dicom_node.demo.orthanc import free_port, running_orthanc
from dicom_node.journey.ledger import CircuitState, Proof, ReturnState
from tests.clock import Clock, settable_clock
from tests.peers.modality import Modality
from tests.peers.pacs import ONE_OF_EACH, results_of, wait_for
from tests.peers.scripted_pacs import scripted_pacs
from tests.phantom import make_cr
from tests.returning import Ward, returner

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEPS = pytest.mark.parametrize("step", [timedelta(days=1), -timedelta(hours=1)], ids=["forward", "back"])
SOON = 240.0
"""Far less than an hour."""


def wait_until(condition: Callable[[], bool], seconds: float = SOON) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)


@STEPS
def test_a_circuit_that_is_open_when_the_clock_is_set_closes_as_soon_as_the_destination_is_back(
    tmp_path: Path, step: timedelta
) -> None:
    with scripted_pacs() as gone:
        peer = gone.peer
    ward = Ward(tmp_path, peer, retry_seconds=1.0)
    for _ in range(5):
        ward.add_reading()
    for journey in ward.journeys:
        ward.enqueue(journey, peer)
    with settable_clock(tmp_path) as clock, returner(ward, tmp_path):
        wait_until(lambda: all(row.attempts for row in ward.rows()) and ward.circuit().state != CircuitState.CLOSED)
        clock.set(step)
        with scripted_pacs(port=peer.port) as back:
            wait_until(lambda: ward.states() == [ReturnState.DELIVERED] * 10)
            assert sorted(back.uids()) == sorted(row.sop_instance_uid for row in ward.rows())
    assert ward.circuit().state == CircuitState.CLOSED
    ward.close()


def test_results_that_a_destination_refuses_when_the_clock_is_set_back_are_offered_again(tmp_path: Path) -> None:
    with scripted_pacs() as busy, settable_clock(tmp_path) as clock:
        busy.answer = lambda _: 0xA700
        ward = Ward(tmp_path, busy.peer, retry_seconds=1.0, return_attempts=100)
        for _ in range(3):
            ward.add_reading()
        for journey in ward.journeys:
            ward.enqueue(journey, busy.peer)
        with returner(ward, tmp_path):
            wait_until(lambda: all(row.refusals for row in ward.rows()))
            clock.set(-timedelta(hours=1))
            busy.answer = lambda _: 0x0000
            wait_until(lambda: ward.states() == [ReturnState.DELIVERED] * 6)
        assert sorted(busy.uids()) == sorted(row.sop_instance_uid for row in ward.rows())
        ward.close()


@STEPS
def test_storage_commitment_that_is_awaited_when_the_clock_is_set_is_asked_for_again(
    tmp_path: Path, step: timedelta
) -> None:
    with scripted_pacs(commitment=True) as pacs, settable_clock(tmp_path) as clock:
        pacs.reports = False
        ward = Ward(tmp_path, pacs.peer, commitment_timeout=15.0)
        ward.add_reading()
        ward.enqueue(ward.journeys[0], pacs.peer)
        with returner(ward, tmp_path):
            wait_until(lambda: bool(pacs.requests) and all(row.transaction_uid for row in ward.rows()))
            clock.set(step)
            pacs.reports = True
            wait_until(lambda: ward.states() == [ReturnState.DELIVERED] * 2)
        assert ward.proofs() == [Proof.COMMITMENT] * 2
        assert len(pacs.uids()) == 2, "what is stored is not sent again"
        ward.close()


def kill(node: RunningNode, role: str) -> None:
    for child in psutil.Process(node.process.pid).children():
        if child.cmdline()[3:4] == [role]:
            child.kill()


@contextmanager
def postponed(node_folder: Path) -> Iterator[None]:
    """The disk takes no result: readings are postponed."""
    results = node_folder / "data" / "results"
    results.write_text("in the way")
    yield
    results.unlink()


def test_a_worker_that_starts_anew_after_the_clock_was_set_back_does_not_wait_for_it(tmp_path: Path) -> None:
    settings = {"ae_title": "COVIDXNET", "port": free_port(), "workers": 1, "retry_seconds": 30}
    with settable_clock(tmp_path) as clock, running_node(tmp_path / "node", settings) as node:
        with postponed(tmp_path / "node"):
            Modality(node.peer).send([make_cr(size=256)])
            wait_until(lambda: "reading postponed" in node.log.read_text())
            time.sleep(2)  # now it waits for its second try
            clock.set(-timedelta(hours=1))
            kill(node, "work")
        wait_until(lambda: node.status()["counts"]["read"] == 1)


def test_a_node_goes_through_steps_of_the_clock_and_changes_of_the_time_zone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    sent: list[str] = []

    def send(node: RunningNode, *seeds: int) -> None:
        modality = Modality(node.peer)
        modality.send([make_cr(size=256, seed=seed) for seed in seeds])
        sent.extend(modality.acknowledged)

    def life(clock: Clock, zone: str, *steps: timedelta) -> None:
        monkeypatch.setenv("TZ", zone)
        with running_node(tmp_path / "node", settings) as node:
            for number, step in enumerate(steps):
                send(node, number, number + 4)
                clock.set(step)  # while they are queued
            send(node, 3)
            wait_for(pacs, 2 * len(sent), seconds=SOON, settle=0)

    with running_orthanc(tmp_path / "pacs", ae_title="PACS") as pacs, settable_clock(tmp_path) as clock:
        settings = {
            "ae_title": "COVIDXNET",
            "port": port,
            "workers": 1,
            "destinations": [str(pacs.peer)],
            "retry_seconds": 0.5,
            "retention_days": 1,
        }
        life(clock, "America/New_York", timedelta(days=3), -timedelta(hours=1))
        life(clock, "Pacific/Auckland", timedelta(hours=2), timedelta(0))
        with running_node(tmp_path / "node", settings) as node:
            # By the calendar of the first life some are days old, and all of them are closed; the rest is not touched.
            assert json.loads(node.command("verify", "--digests", "--json"))["differences"] == []
            assert node.status()["counts"]["waiting to be returned"] == 0
        assert results_of(pacs.objects()) == dict.fromkeys(sent, ONE_OF_EACH)
