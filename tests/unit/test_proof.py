"""How a destination proves that it keeps a result: storage commitment, C-FIND, or nothing but its C-STORE status."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom import Dataset
from pynetdicom import AE, build_role
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance
from sqlalchemy.orm import Session

from dicom_node.destination import Commitment
from dicom_node.journey.ledger import CommitmentRow, ReturnRow, ReturnState, now
from dicom_node.journey.outcome import Returned
from dicom_node.peers import Peer
from dicom_node.reception.listener import Listener
from dicom_node.spool import Spool
from tests.peers.scripted_pacs import ScriptedPacs, scripted_pacs, send_report
from tests.returning import Ward

COMMITTED, FOUND, STATUS = "storage commitment", "C-FIND", "C-STORE status"


@pytest.fixture
def ward_of(tmp_path: Path) -> Iterator[Callable[..., Ward]]:
    """Makes a ward with one reading for a PACS."""
    with ExitStack() as stack:

        def make(
            pacs: ScriptedPacs, commitment: Commitment = Commitment.AUTO, commitment_peer: Peer | None = None
        ) -> Ward:
            ward = Ward(tmp_path, pacs.peer, commitment=commitment, commitment_peer=commitment_peer)
            stack.callback(ward.close)
            ward.add_reading()
            return ward

        yield make


@contextmanager
def listening(ward: Ward) -> Iterator[Peer]:
    spool = Spool(ward.settings.spool_dir, minimum_free_bytes=0)
    with Listener(ward.settings, ward.queue, spool) as listener:
        yield Peer(ward.settings.ae_title, "127.0.0.1", listener.port)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def let_time_out(ward: Ward) -> None:
    """Let as much time pass as the node waits for a report."""
    with Session(ward.queue.engine) as session, session.begin():
        session.execute(sa.update(ReturnRow).values(asked_at=now() - timedelta(seconds=121)))


def test_results_that_are_committed_on_the_same_association_are_closed(ward_of: Callable[..., Ward]) -> None:
    with scripted_pacs(commitment=True, query=True) as pacs:
        ward = ward_of(pacs)
        assert ward.visit() is Returned.CLOSED
        wait_until(lambda: pacs.reported == [0x0000])
    assert ward.states() == [ReturnState.DELIVERED] * 2
    assert ward.proofs() == [COMMITTED] * 2
    assert (pacs.associations, len(pacs.requests), pacs.queries) == (1, 1, [])


def test_a_request_for_commitment_names_each_object_by_class_and_instance(ward_of: Callable[..., Ward]) -> None:
    with scripted_pacs(commitment=True) as pacs:
        ward = ward_of(pacs)
        ward.visit()
    (request,) = pacs.requests
    assert request.TransactionUID.startswith("2.25.")
    assert [(i.ReferencedSOPClassUID, i.ReferencedSOPInstanceUID) for i in request.ReferencedSOPSequence] == [
        (ds.SOPClassUID, ds.SOPInstanceUID) for ds in pacs.stored
    ]


def test_results_that_are_committed_on_an_association_of_its_own_are_closed(ward_of: Callable[..., Ward]) -> None:
    with scripted_pacs(commitment=True) as pacs:
        ward = ward_of(pacs)
        with listening(ward) as node:
            pacs.report_to = node
            assert not pacs.reported
            ward.visit()
            wait_until(lambda: pacs.reported == [0x0000])
            assert ward.proofs() == [COMMITTED] * 2
            assert ward.circuit().reports_apart, "nobody has to wait for it on our association any more"
            ward.add_reading()
            ward.visit(1)
            wait_until(lambda: pacs.reported == [0x0000] * 2)
            assert ward.proofs() == [COMMITTED] * 4


def test_what_the_destination_has_lost_is_sent_again(ward_of: Callable[..., Ward]) -> None:
    with scripted_pacs(commitment=True) as pacs:
        ward = ward_of(pacs)
        lost = ward.rows()[1].sop_instance_uid
        pacs.failure = lambda uid: 0x0112 if uid == lost and pacs.uids().count(uid) == 1 else None
        ward.visit()
        wait_until(lambda: len(pacs.reported) == 1)
        kept, again = ward.rows()
        assert (kept.state, kept.proof) == (ReturnState.DELIVERED, COMMITTED)
        assert (again.state, again.failure_reason, again.refusals) == (ReturnState.WAITING, 0x0112, 1)
        assert "0x0112, no such object instance" in again.reason
        assert any(name.startswith(f"{ward.journeys[0]}/report/") for name in ward.queued())
        ward.visit()
        wait_until(lambda: len(pacs.reported) == 2)
        assert ward.proofs() == [COMMITTED] * 2
        assert pacs.uids() == [kept.sop_instance_uid, lost, lost]


@pytest.mark.parametrize("reason", [0x0110, 0x0119, 0x0122, 0x0131, 0x0213, 0xC123])
def test_what_the_destination_does_not_commit_is_asked_for_again_and_then_set_aside(
    ward_of: Callable[..., Ward], reason: int
) -> None:
    with scripted_pacs(commitment=True) as pacs:
        ward = ward_of(pacs)
        uncommitted = ward.rows()[0].sop_instance_uid
        pacs.failure = lambda uid: reason if uid == uncommitted else None
        for visits in (1, 2, 3):
            ward.visit()
            wait_until(lambda visits=visits: len(pacs.reported) == visits)  # type: ignore[misc]
        aside, kept = ward.rows()
    assert (aside.state, aside.refusals, aside.failure_reason) == (ReturnState.SET_ASIDE, 3, reason)
    assert f"0x{reason:04X}" in aside.reason
    assert kept.state == ReturnState.DELIVERED
    assert len(pacs.stored) == 2, "it is asked for, not sent again"


def test_after_three_requests_without_a_report_a_weaker_proof_counts(ward_of: Callable[..., Ward]) -> None:
    with scripted_pacs(commitment=True, query=True) as pacs:
        pacs.reports = False
        ward = ward_of(pacs)
        for _ in range(3):
            assert ward.visit() is Returned.AWAITED
            assert ward.visit() is Returned.AWAITED, "it is not asked again before the time is over"
            let_time_out(ward)
        assert ward.visit() is Returned.CLOSED
    assert len({request.TransactionUID for request in pacs.requests}) == len(pacs.requests) == 3
    assert ward.proofs() == [FOUND] * 2
    assert len(pacs.stored) == 2


def test_a_late_report_replaces_a_weaker_proof(ward_of: Callable[..., Ward]) -> None:
    with scripted_pacs(commitment=True) as pacs:
        pacs.reports = False
        ward = ward_of(pacs)
        for _ in range(4):
            ward.visit()
            let_time_out(ward)
        assert ward.proofs() == [STATUS] * 2
        with listening(ward) as node:
            pacs.report_to = node
            assert pacs.report(pacs.requests[0]) == 0x0000
    assert ward.proofs() == [COMMITTED] * 2


def test_a_late_report_of_a_failure_is_out_of_date(ward_of: Callable[..., Ward]) -> None:
    with scripted_pacs(commitment=True) as pacs:
        pacs.reports = False
        ward = ward_of(pacs)
        ward.visit()
        let_time_out(ward)
        ward.visit()
        with listening(ward) as node:
            pacs.report_to = node
            pacs.failure = lambda _: 0x0112
            assert pacs.report(pacs.requests[0]) == 0x0000
            assert ward.states() == [ReturnState.STORED] * 2
            pacs.failure = lambda _: None
            assert pacs.report(pacs.requests[1]) == 0x0000
    assert ward.proofs() == [COMMITTED] * 2


def test_a_report_that_comes_twice_is_success_and_changes_nothing(ward_of: Callable[..., Ward]) -> None:
    with scripted_pacs(commitment=True) as pacs:
        pacs.reports = False
        ward = ward_of(pacs)
        ward.visit()
        with listening(ward) as node:
            pacs.report_to = node
            lost = ward.rows()[0].sop_instance_uid
            pacs.failure = lambda uid: 0x0112 if uid == lost else None
            assert [pacs.report(pacs.requests[0]) for _ in range(3)] == [0x0000] * 3
    waiting, kept = ward.rows()
    assert (waiting.state, waiting.refusals) == (ReturnState.WAITING, 1)
    assert kept.state == ReturnState.DELIVERED
    assert len([name for name in ward.queued() if "/report/" in name]) == 1


def test_reports_for_others_are_answered_and_harmless(ward_of: Callable[..., Ward]) -> None:
    with scripted_pacs(commitment=True) as pacs:
        pacs.reports = False
        ward = ward_of(pacs)
        ward.visit()
        before = [(row.state, row.proof, row.transaction_uid) for row in ward.rows()]
        ours = pacs.report_on(pacs.requests[0])
        unknown = pacs.report_on(pacs.requests[0])
        unknown.TransactionUID = "2.25.1"
        nameless = pacs.report_on(pacs.requests[0])
        del nameless.TransactionUID
        reasonless = pacs.report_on(pacs.requests[0])
        reasonless.FailedSOPSequence = [Dataset()]
        with listening(ward) as node:
            assert send_report(node, unknown, calling_ae=pacs.peer.ae_title) == 0x0115
            assert send_report(node, ours, calling_ae="STRANGER") == 0x0115
            assert send_report(node, nameless, calling_ae=pacs.peer.ae_title) == 0x0115
            assert send_report(node, reasonless, calling_ae=pacs.peer.ae_title) == 0x0115
            assert send_report(node, ours, calling_ae=pacs.peer.ae_title, event_type=3) == 0x0113
            assert [(row.state, row.proof, row.transaction_uid) for row in ward.rows()] == before
            strangers = pacs.report_on(pacs.requests[0])
            for item in strangers.ReferencedSOPSequence:
                item.ReferencedSOPInstanceUID = "2.25.2"
            assert send_report(node, strangers, calling_ae=pacs.peer.ae_title) == 0x0000
            assert [(row.state, row.proof, row.transaction_uid) for row in ward.rows()] == before
            assert send_report(node, ours, calling_ae=pacs.peer.ae_title, roles=False) == 0x0000
    assert ward.proofs() == [COMMITTED] * 2


def test_a_report_that_cannot_be_written_down_is_to_be_sent_again(ward_of: Callable[..., Ward]) -> None:
    with scripted_pacs(commitment=True) as pacs:
        pacs.reports = False
        ward = ward_of(pacs)
        ward.visit()
        with listening(ward) as node:
            pacs.report_to = node
            with ward.queue.engine.begin() as connection:
                connection.execute(sa.text("ALTER TABLE commitments RENAME TO hidden"))
            assert pacs.report(pacs.requests[0]) == 0x0213
            with ward.queue.engine.begin() as connection:
                connection.execute(sa.text("ALTER TABLE hidden RENAME TO commitments"))
            assert pacs.report(pacs.requests[0]) == 0x0000
    assert ward.proofs() == [COMMITTED] * 2


def test_the_listener_commits_itself_to_nothing(ward_of: Callable[..., Ward]) -> None:
    with scripted_pacs() as pacs, listening(ward_of(pacs)) as node:
        ae = AE(ae_title="MODALITY")
        ae.add_requested_context(StorageCommitmentPushModel)
        as_user = [build_role(StorageCommitmentPushModel, scu_role=True, scp_role=False)]
        association = ae.associate(node.host, node.port, ae_title=node.ae_title, ext_neg=as_user)
        assert not association.accepted_contexts
        association = ae.associate(node.host, node.port, ae_title=node.ae_title)
        request = Dataset()
        request.TransactionUID = "2.25.3"
        request.ReferencedSOPSequence = []
        status, _ = association.send_n_action(
            request, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        assert status.Status == 0x0211
        association.release()


@pytest.mark.parametrize("status", [0x0110, 0x0122, 0x0211])
def test_who_takes_no_request_for_commitment_is_asked_by_c_find(ward_of: Callable[..., Ward], status: int) -> None:
    with scripted_pacs(commitment=True, query=True) as pacs:
        pacs.action = status
        ward = ward_of(pacs)
        assert ward.visit() is Returned.CLOSED
        ward.add_reading()
        assert ward.visit(1) is Returned.CLOSED
    assert ward.proofs() == [FOUND] * 4
    assert len(pacs.requests) == 1, "what it denies is not asked for each time"
    assert [
        (q.QueryRetrieveLevel, q.StudyInstanceUID, q.SeriesInstanceUID, q.SOPInstanceUID) for q in pacs.queries
    ] == [("IMAGE", ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID) for ds in pacs.stored]


def test_who_is_short_of_resources_is_asked_for_commitment_again(ward_of: Callable[..., Ward]) -> None:
    with scripted_pacs(commitment=True, query=True) as pacs:
        pacs.action = 0x0213
        ward = ward_of(pacs)
        assert ward.visit() is Returned.LATER
        pacs.action = 0x0000
        ward.visit()
        wait_until(lambda: pacs.reported == [0x0000])
    assert ward.proofs() == [COMMITTED] * 2
    assert len(pacs.stored) == 2


def test_who_aborts_at_each_question_but_is_there_has_given_its_answer(ward_of: Callable[..., Ward]) -> None:
    """Orthanc does so to a peer that is not among its DicomModalities."""
    with scripted_pacs(commitment=True, query=True) as pacs:
        pacs.action = None
        pacs.found = lambda _: None
        ward = ward_of(pacs)
        assert ward.visit() is Returned.CLOSED
        assert ward.proofs() == [STATUS] * 2
        assert (len(pacs.requests), len(pacs.queries), pacs.associations) == (2, 2, 5)
        ward.add_reading()
        assert ward.visit(1) is Returned.CLOSED
    assert (len(pacs.requests), len(pacs.queries), pacs.associations) == (2, 2, 6)
    assert ward.circuit().state == "closed"


def test_who_dies_when_it_is_asked_for_commitment_is_asked_again_when_it_is_back(ward_of: Callable[..., Ward]) -> None:
    with ExitStack() as life:
        pacs = life.enter_context(scripted_pacs(commitment=True))
        ward = ward_of(pacs)

        class Dying(list[Dataset]):
            """It ends while it is asked."""

            def append(self, request: Dataset) -> None:
                super().append(request)
                life.close()

        pacs.action = None
        pacs.requests = Dying()
        assert ward.visit() in (Returned.LATER, Returned.PARKED)
    assert ward.states() == [ReturnState.STORED] * 2
    with scripted_pacs(commitment=True, port=pacs.peer.port) as back:
        if ward.desk.opening(str(back.peer)) is not None:
            ward.probe()
        else:
            ward.visit()
        wait_until(lambda: ward.proofs() == [COMMITTED] * 2)
    assert back.stored == []


def test_what_a_query_does_not_find_is_sent_again_and_then_set_aside(ward_of: Callable[..., Ward]) -> None:
    with scripted_pacs(query=True) as pacs:
        ward = ward_of(pacs)
        missing = ward.rows()[0].sop_instance_uid
        pacs.found = lambda uid: uid != missing
        assert [ward.visit() for _ in range(3)] == [Returned.LATER, Returned.LATER, Returned.CLOSED]
    aside, kept = ward.rows()
    assert (aside.state, kept.state, kept.proof) == (ReturnState.SET_ASIDE, ReturnState.DELIVERED, FOUND)
    assert "does not find it by C-FIND" in aside.reason
    assert pacs.uids().count(missing) == 3


def test_where_commitment_is_required_nothing_else_closes_a_result(ward_of: Callable[..., Ward]) -> None:
    with scripted_pacs(query=True) as pacs:
        ward = ward_of(pacs, Commitment.REQUIRED)
        assert [ward.visit() for _ in range(3)] == [Returned.LATER, Returned.LATER, Returned.CLOSED]
    assert ward.states() == [ReturnState.SET_ASIDE] * 2
    assert "offers no storage commitment" in ward.rows()[0].reason
    assert (len(pacs.stored), pacs.queries) == (2, [])


def test_where_commitment_is_required_a_request_without_a_report_counts_as_a_refusal(
    ward_of: Callable[..., Ward],
) -> None:
    with scripted_pacs(commitment=True) as pacs:
        pacs.reports = False
        ward = ward_of(pacs, Commitment.REQUIRED)
        for _ in range(4):
            ward.visit()
            let_time_out(ward)
    assert ward.states() == [ReturnState.SET_ASIDE] * 2
    assert "did not report storage commitment within 120 s" in ward.rows()[0].reason
    assert len(pacs.requests) == 3


def test_who_commits_in_the_place_of_a_destination_is_asked_and_reports(ward_of: Callable[..., Ward]) -> None:
    with (
        scripted_pacs(query=True) as pacs,
        scripted_pacs(ae_title="COMMITS", storage=False, commitment=True) as committer,
    ):
        committer.reports = False
        ward = ward_of(pacs, commitment_peer=committer.peer)
        assert ward.visit() is Returned.AWAITED
        (request,) = committer.requests
        assert {item.ReferencedSOPInstanceUID for item in request.ReferencedSOPSequence} == set(pacs.uids())
        with listening(ward) as node:
            report = committer.report_on(request)
            assert send_report(node, report, calling_ae="SOMEBODY") != 0x0000
            assert ward.states() == [ReturnState.STORED] * 2
            assert send_report(node, report, calling_ae="COMMITS") == 0x0000
    assert ward.proofs() == [COMMITTED] * 2
    assert (pacs.requests, pacs.queries) == ([], [])


def test_who_commits_in_its_place_and_is_away_costs_a_destination_nothing_but_the_better_proof(
    ward_of: Callable[..., Ward],
) -> None:
    with scripted_pacs() as gone:
        away = gone.peer
    with scripted_pacs(query=True) as pacs:
        ward = ward_of(pacs, commitment_peer=away)
        for _ in range(3):
            assert ward.states() != [ReturnState.DELIVERED] * 2
            ward.visit()
        assert ward.circuit().state == "closed"
    assert ward.proofs() == [FOUND] * 2
    assert len(pacs.uids()) == 2


def test_who_takes_no_requests_in_the_place_of_a_destination_leaves_it_the_weaker_proof(
    ward_of: Callable[..., Ward],
) -> None:
    with scripted_pacs(query=True) as pacs, scripted_pacs(ae_title="COMMITS") as committer:
        ward = ward_of(pacs, commitment_peer=committer.peer)
        assert ward.visit() is Returned.CLOSED
    assert ward.proofs() == [FOUND] * 2


def test_where_commitment_is_required_who_commits_must_be_there(ward_of: Callable[..., Ward]) -> None:
    with scripted_pacs() as gone:
        away = gone.peer
    with scripted_pacs(query=True) as pacs:
        ward = ward_of(pacs, Commitment.REQUIRED, away)
        for _ in range(3):
            assert set(ward.states()) <= {ReturnState.WAITING, ReturnState.STORED}
            ward.visit()
    assert ward.states() == [ReturnState.SET_ASIDE] * 2
    assert str(away) in ward.rows()[0].reason


def test_where_commitment_is_off_nobody_is_asked(ward_of: Callable[..., Ward]) -> None:
    with scripted_pacs(commitment=True, query=True) as pacs:
        ward = ward_of(pacs, Commitment.OFF)
        assert ward.visit() is Returned.CLOSED
    assert ward.proofs() == [STATUS] * 2
    assert pacs.requests == pacs.queries == []


def test_every_request_stays_in_the_ledger_with_its_answer(ward_of: Callable[..., Ward]) -> None:
    with scripted_pacs(commitment=True) as pacs:
        ward = ward_of(pacs)
        ward.visit()
        wait_until(lambda: len(pacs.reported) == 1)
    with Session(ward.queue.engine) as session:
        row = session.scalars(sa.select(CommitmentRow)).one()
        assert row.transaction_uid == pacs.requests[0].TransactionUID
        assert (row.journey, row.destination) == (ward.journeys[0], str(pacs.peer))
        assert row.answered_at is not None
