"""The returner as a process: sick destinations beside healthy ones, and a dead one that comes back."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dicom_node.journey.ledger import CircuitState, ReturnState
from dicom_node.peers import Peer
from tests.peers.scripted_pacs import scripted_pacs
from tests.returning import Ward, returner


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)


@contextmanager
def silent_peer() -> Iterator[tuple[Peer, list[socket.socket]]]:
    """Accepts connections and never says a word."""
    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            try:
                while True:
                    connections.append(server.accept()[0])
            except OSError:
                return

        threading.Thread(target=accept, daemon=True).start()
        yield Peer("SILENT", "127.0.0.1", server.getsockname()[1]), connections
        server.shutdown(socket.SHUT_RDWR)
    for connection in connections:
        connection.close()


def test_a_destination_that_hangs_delays_no_other(tmp_path: Path) -> None:
    with silent_peer() as (silent, connections), scripted_pacs() as healthy:
        ward = Ward(tmp_path, silent, healthy.peer, network_timeout=30.0)
        for _ in range(12):
            ward.add_reading()
        for journey in ward.journeys:
            for peer in (silent, healthy.peer):
                ward.enqueue(journey, peer)
        with returner(ward, tmp_path):
            wait_until(lambda: bool(connections))
            wait_until(lambda: len(healthy.stored) == 24)
            wait_until(lambda: ward.states(healthy.peer) == [ReturnState.DELIVERED] * 24)
            assert set(ward.states(silent)) == {ReturnState.WAITING}
        ward.close()


def test_a_dead_destination_costs_a_visit_at_a_time_and_gets_all_when_it_is_back(tmp_path: Path) -> None:
    with scripted_pacs() as gone:
        peer = gone.peer
    ward = Ward(tmp_path, peer, retry_seconds=0.5)
    for _ in range(20):
        ward.add_reading()
    for journey in ward.journeys:
        ward.enqueue(journey, peer)
    with returner(ward, tmp_path):
        wait_until(lambda: all(row.attempts for row in ward.rows()))
        wait_until(lambda: ward.circuit().failures >= 3)  # the visit that opened it, and probes
        assert ward.circuit().state != CircuitState.CLOSED
        assert ward.circuit().openings == 1
        probes = [name for name in ward.queued() if name.startswith("probe/")]
        visits = [name for name in ward.queued() if not name.startswith("probe/")]
        assert len(visits) == 20, "nobody else is on the way"
        assert len(probes) <= ward.circuit().failures + 1
        with scripted_pacs(port=peer.port) as back:
            wait_until(lambda: ward.states() == [ReturnState.DELIVERED] * 40)
            assert sorted(set(back.uids())) == sorted(row.sop_instance_uid for row in ward.rows())
    assert ward.circuit().state == CircuitState.CLOSED
    ward.close()


def test_what_a_destination_refuses_when_it_is_just_back_is_offered_again(tmp_path: Path) -> None:
    with scripted_pacs() as gone:
        peer = gone.peer
    ward = Ward(tmp_path, peer, retry_seconds=0.2, return_attempts=100)
    for _ in range(4):
        ward.add_reading()
    for journey in ward.journeys:
        ward.enqueue(journey, peer)
    with returner(ward, tmp_path):
        wait_until(lambda: all(row.attempts for row in ward.rows()))
        with scripted_pacs(port=peer.port) as back:
            back.answer = lambda ds: 0xA700 if back.offered.count(str(ds.SOPInstanceUID)) <= 2 else 0x0000
            wait_until(lambda: ward.states() == [ReturnState.DELIVERED] * 8)
            assert sorted(back.uids()) == sorted(row.sop_instance_uid for row in ward.rows())
            assert len(back.offered) == 3 * 8
    ward.close()


def test_a_returner_killed_while_a_circuit_is_open_goes_on_probing(tmp_path: Path) -> None:
    with scripted_pacs() as gone:
        peer = gone.peer
    ward = Ward(tmp_path, peer, retry_seconds=0.5)
    for _ in range(3):
        ward.add_reading()
    for journey in ward.journeys:
        ward.enqueue(journey, peer)
    with returner(ward, tmp_path):
        wait_until(lambda: all(row.attempts for row in ward.rows()))
    with scripted_pacs(port=peer.port), returner(ward, tmp_path):
        wait_until(lambda: ward.states() == [ReturnState.DELIVERED] * 6)
    ward.close()
