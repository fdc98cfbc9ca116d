"""One dead destination costs one visit at a time, and delays nobody; one bad object delays no other."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydicom import Dataset

from dicom_node.journey.ledger import CircuitState, ReturnState
from dicom_node.journey.outcome import Returned
from dicom_node.journey.workflow import wait_after
from dicom_node.peers import Peer
from tests.peers.scripted_pacs import ScriptedPacs, scripted_pacs
from tests.returning import Ward


@pytest.fixture
def ward_of(tmp_path: Path) -> Iterator[Callable[..., Ward]]:
    """Makes a ward with readings for the peers that are given."""
    with ExitStack() as stack:

        def make(*peers: Peer, readings: int = 3) -> Ward:
            ward = Ward(tmp_path, *peers, network_timeout=5.0)
            stack.callback(ward.close)
            for _ in range(readings):
                ward.add_reading()
            return ward

        yield make


@pytest.fixture
def pacs() -> Iterator[ScriptedPacs]:
    with scripted_pacs() as pacs:
        yield pacs


def a_peer_that_is_down() -> Peer:
    with scripted_pacs() as gone:
        return gone.peer


def test_waits_double_up_to_a_minute_and_are_cut_by_chance_to_half_at_most() -> None:
    for attempt, whole in ((1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (1000, 60)):
        waits = {wait_after(attempt, 5.0) for _ in range(200)}
        assert all(whole / 2 <= wait <= whole for wait in waits)
        assert len(waits) > 100, "they do not come back together"


def test_the_first_visit_without_an_association_opens_the_circuit_and_the_others_wait(
    ward_of: Callable[..., Ward],
) -> None:
    ward = ward_of(a_peer_that_is_down())
    assert [ward.visit(journey) for journey in range(3)] == [Returned.PARKED] * 3
    circuit = ward.circuit()
    assert (circuit.state, circuit.failures, circuit.openings) == (CircuitState.OPEN, 1, 1), "one visit, not three"
    assert "does not answer" in circuit.last_error
    assert all("does not answer" in row.reason for row in ward.rows())


def test_a_probe_that_comes_to_its_end_closes_the_circuit_and_sends_out_all_that_waits(
    ward_of: Callable[..., Ward],
) -> None:
    peer = a_peer_that_is_down()
    ward = ward_of(peer)
    ward.visit(0)
    assert not ward.probe()
    assert (ward.circuit().state, ward.circuit().openings) == (CircuitState.OPEN, 1)
    with scripted_pacs(port=peer.port) as back:
        assert ward.probe()
        assert len(back.stored) == 2, "one return finds out"
        assert ward.circuit().state == CircuitState.CLOSED
        released = ward.desk.release(str(peer), 1)
        assert len(released) == 2
        assert {turn for _, _, turn in released} == {2}
        assert [ward.visit(ward.journeys.index(journey)) for journey, _, _ in released] == [Returned.CLOSED] * 2
    assert ward.states() == [ReturnState.DELIVERED] * 6
    assert ward.circuit().last_contact_at is not None


def test_a_visit_of_an_earlier_run_ends_at_once(ward_of: Callable[..., Ward], pacs: ScriptedPacs) -> None:
    ward = ward_of(pacs.peer, readings=1)
    pacs.answer = lambda _: 0xA700
    for _ in range(3):
        ward.visit(turn=1)
    assert ward.states() == [ReturnState.SET_ASIDE] * 2
    assert ward.queue.retry_returns() == 2
    assert ward.visit(turn=1) is Returned.CLOSED
    assert ward.states() == [ReturnState.WAITING] * 2
    pacs.answer = lambda _: 0x0000
    assert ward.visit(turn=2) is Returned.CLOSED
    assert ward.states() == [ReturnState.DELIVERED] * 2


def test_refusals_and_warnings_leave_the_circuit_closed(ward_of: Callable[..., Ward], pacs: ScriptedPacs) -> None:
    ward = ward_of(pacs.peer)
    for journey, status in enumerate((0xA700, 0xC000, 0xB000)):
        pacs.answer = lambda _, status=status: status  # type: ignore[misc]
        ward.visit(journey)
    assert (ward.circuit().state, ward.circuit().failures) == (CircuitState.CLOSED, 0)


def test_who_accepts_no_context_at_all_is_there_and_has_refused(ward_of: Callable[..., Ward]) -> None:
    with scripted_pacs(storage=False) as pacs:
        ward = ward_of(pacs.peer, readings=1)
        assert [ward.visit() for _ in range(3)] == [Returned.LATER, Returned.LATER, Returned.CLOSED]
    assert ward.states() == [ReturnState.SET_ASIDE] * 2
    assert "no presentation context for this object" in ward.rows()[0].reason
    assert ward.circuit().state == CircuitState.CLOSED


def test_three_visits_in_a_row_that_break_off_open_the_circuit(
    ward_of: Callable[..., Ward], pacs: ScriptedPacs
) -> None:
    ward = ward_of(pacs.peer)
    pacs.abort = True
    assert [ward.visit(journey) for journey in range(3)] == [Returned.LATER, Returned.LATER, Returned.PARKED]
    assert ward.circuit().state == CircuitState.OPEN
    pacs.abort = False
    assert ward.probe()
    assert ward.circuit().state == CircuitState.CLOSED


def test_an_object_that_brings_the_destination_down_is_set_aside_while_its_neighbours_pass(
    ward_of: Callable[..., Ward], pacs: ScriptedPacs
) -> None:
    ward = ward_of(pacs.peer, readings=6)
    poison = ward.rows()[0].sop_instance_uid

    def answer(ds: Dataset) -> int:
        if ds.SOPInstanceUID == poison:
            pacs.abort = True
        return 0x0000

    class Offered(list[str]):
        """Aborts at the poison alone."""

        def append(self, uid: str) -> None:
            super().append(uid)
            pacs.abort = uid == poison

    pacs.offered, pacs.answer = Offered(), answer
    for journey in range(1, 6):
        ward.visit(0)
        assert ward.visit(journey) is Returned.CLOSED, "a neighbour"
    bad = ward.rows()[0]
    assert (bad.state, bad.refusals) == (ReturnState.SET_ASIDE, 3)
    assert "went away before it answered" in bad.reason
    assert ward.states()[1:] == [ReturnState.DELIVERED] * 11
    assert ward.circuit().state == CircuitState.CLOSED


def test_a_probe_takes_what_was_tried_least(ward_of: Callable[..., Ward], pacs: ScriptedPacs) -> None:
    ward = ward_of(pacs.peer, readings=2)
    pacs.abort = True
    for _ in range(3):
        ward.visit(0)
    assert ward.circuit().state == CircuitState.OPEN
    pacs.abort = False
    assert ward.probe()
    assert ward.states() == [ReturnState.WAITING] * 2 + [ReturnState.DELIVERED] * 2


def test_a_probe_with_nothing_to_send_asks_by_association_alone(ward_of: Callable[..., Ward]) -> None:
    peer = a_peer_that_is_down()
    ward = ward_of(peer, readings=1)
    ward.visit(0)
    for row in ward.rows():
        row.state = ReturnState.SET_ASIDE
        with ward.queue.engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE returns SET state = 'set aside' WHERE id = {row.id}")
    assert not ward.probe()
    with scripted_pacs(port=peer.port) as back:
        assert ward.probe()
    assert (back.associations, back.offered) == (1, [])


def test_a_result_whose_file_is_gone_is_set_aside_and_its_neighbour_passes(
    ward_of: Callable[..., Ward], pacs: ScriptedPacs
) -> None:
    ward = ward_of(pacs.peer, readings=1)
    next(ward.settings.results_dir.rglob("overlay-*.dcm")).unlink()
    assert [ward.visit() for _ in range(3)] == [Returned.LATER, Returned.LATER, Returned.CLOSED]
    gone, passed = ward.rows()
    assert (gone.state, passed.state) == (ReturnState.SET_ASIDE, ReturnState.DELIVERED)
    assert "Its file cannot be read" in gone.reason


def test_returns_are_brought_back_for_one_study_or_journey(ward_of: Callable[..., Ward], pacs: ScriptedPacs) -> None:
    from dicom_node.journey.ledger import ReceivedObject

    ward = ward_of(pacs.peer, readings=2)
    pacs.answer = lambda _: 0xC000
    for journey in (0, 1):
        for _ in range(3):
            ward.visit(journey)
    assert ward.queue.retry_returns(only=ReceivedObject.journey == "nobody's") == 0
    assert ward.queue.retry_returns(only=ReceivedObject.journey == ward.journeys[1]) == 2
    assert ward.states() == [ReturnState.SET_ASIDE] * 2 + [ReturnState.WAITING] * 2
