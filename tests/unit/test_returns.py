"""Results on their way to a real SCP that answers well, badly, or not at all."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification
from sqlalchemy.orm import Session

from dicom_node.destination import Destination
from dicom_node.errors import PeerUnreachable
from dicom_node.journey.database import prepare
from dicom_node.journey.desk import ReturnDesk
from dicom_node.journey.ledger import Proof, ReadingRow, ReturnRow, ReturnState, now
from dicom_node.journey.outcome import Returned
from dicom_node.journey.queue import JourneyQueue
from dicom_node.peers import Peer
from dicom_node.results.shelf import ResultShelf
from dicom_node.returns.returner import Sender, associate
from dicom_node.settings import Settings
from dicom_node.wire import COMPUTED_RADIOGRAPHY
from tests.peers.scripted_pacs import ScriptedPacs, scripted_pacs
from tests.phantom import make_cr

JOURNEY = "0123456789abcdef0123456789abcdef"
KINDS = ("overlay", "report")


@pytest.fixture
def pacs() -> Iterator[ScriptedPacs]:
    with scripted_pacs() as pacs:
        yield pacs


class Desk:
    """A desk with the two results of one journey that wait for `destination`."""

    def __init__(self, folder: Path, destination: Peer) -> None:
        self.settings = Settings(
            data_dir=folder / "data",
            destinations=(Destination(peer=destination),),
            return_attempts=3,
            network_timeout=2.0,
        )
        prepare(self.settings)
        self.queue = JourneyQueue(self.settings)
        self.engine = self.queue.engine
        self.desk = ReturnDesk(self.settings, self.queue)
        self.destination = str(destination)
        self.uids: list[str] = []
        with Session(self.engine) as session, session.begin():
            session.add(ReadingRow(journey=JOURNEY, read_at=now(), score=0.5, verdict="negative"))
            session.flush()
            for kind in KINDS:
                ds = make_cr()
                ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
                path = ResultShelf(self.settings.results_dir).path(JOURNEY, kind, ds.SOPInstanceUID)
                path.parent.mkdir(parents=True, exist_ok=True)
                ds.save_as(path, enforce_file_format=True)
                self.uids.append(ds.SOPInstanceUID)
                session.add(
                    ReturnRow(
                        journey=JOURNEY,
                        destination=self.destination,
                        kind=kind,
                        sop_class_uid=ds.SOPClassUID,
                        sop_instance_uid=ds.SOPInstanceUID,
                        changed_at=now(),
                    )
                )

    def attempt(self) -> Returned:
        return Returned(self.desk.return_results(JOURNEY, self.destination))

    def probe(self) -> bool:
        opening = self.desk.opening(self.destination)
        assert opening is not None
        return self.desk.probe(self.destination, opening)

    def rows(self) -> list[ReturnRow]:
        with Session(self.engine, expire_on_commit=False) as session:
            return list(session.scalars(sa.select(ReturnRow).order_by(ReturnRow.id)))

    def states(self) -> list[str]:
        return [row.state for row in self.rows()]


def test_delivered_results_are_closed_with_the_status_of_the_peer(tmp_path: Path, pacs: ScriptedPacs) -> None:
    desk = Desk(tmp_path, pacs.peer)
    assert desk.attempt() is Returned.CLOSED
    assert pacs.uids() == desk.uids
    assert [(r.state, r.status, r.proof) for r in desk.rows()] == [(ReturnState.DELIVERED, 0x0000, Proof.STATUS)] * 2


def test_what_is_delivered_is_not_sent_again(tmp_path: Path, pacs: ScriptedPacs) -> None:
    desk = Desk(tmp_path, pacs.peer)
    desk.attempt()
    assert desk.attempt() is Returned.CLOSED
    assert pacs.offered == desk.uids


def test_a_warning_is_a_delivery_and_the_ledger_keeps_its_status(tmp_path: Path, pacs: ScriptedPacs) -> None:
    pacs.answer = lambda _: 0xB000
    desk = Desk(tmp_path, pacs.peer)
    assert desk.attempt() is Returned.CLOSED
    assert [(r.state, r.status) for r in desk.rows()] == [(ReturnState.DELIVERED, 0xB000)] * 2


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC000, 0x0122])
def test_a_refused_object_is_offered_again_and_then_set_aside_with_its_reason(
    tmp_path: Path, pacs: ScriptedPacs, status: int
) -> None:
    desk = Desk(tmp_path, pacs.peer)
    poison = desk.uids[0]
    pacs.answer = lambda ds: status if ds.SOPInstanceUID == poison else 0x0000
    assert [desk.attempt() for _ in range(3)] == [Returned.LATER, Returned.LATER, Returned.CLOSED]
    aside, delivered = desk.rows()
    assert (aside.state, aside.status, aside.refusals) == (ReturnState.SET_ASIDE, status, 3)
    assert f"0x{status:04X}" in aside.reason
    assert (delivered.state, delivered.attempts) == (ReturnState.DELIVERED, 1)


def test_an_absent_destination_is_waited_for_as_long_as_it_takes(tmp_path: Path) -> None:
    with scripted_pacs() as gone:
        peer = gone.peer
    desk = Desk(tmp_path, peer)
    assert {desk.attempt() for _ in range(5)} == {Returned.PARKED}
    assert not any(desk.probe() for _ in range(5))
    assert [(r.state, r.refusals) for r in desk.rows()] == [(ReturnState.WAITING, 0)] * 2
    assert "does not answer" in desk.rows()[0].reason
    with scripted_pacs(port=peer.port):
        assert desk.probe()
    assert desk.states() == [ReturnState.DELIVERED] * 2
    assert desk.rows()[0].reason == ""


def test_a_destination_that_goes_away_in_the_middle_gets_the_rest_later(tmp_path: Path, pacs: ScriptedPacs) -> None:
    desk = Desk(tmp_path, pacs.peer)
    pacs.abort = True
    assert desk.attempt() is Returned.LATER
    assert desk.states() == [ReturnState.WAITING] * 2
    pacs.abort = False
    assert desk.attempt() is Returned.CLOSED
    assert sorted(pacs.uids()) == sorted(desk.uids)


def test_a_wrong_ae_title_is_named_in_the_reason(tmp_path: Path, pacs: ScriptedPacs) -> None:
    desk = Desk(tmp_path, Peer("WRONG", pacs.peer.host, pacs.peer.port))
    assert desk.attempt() is Returned.PARKED
    assert "Called AE title not recognised" in desk.rows()[0].reason


def test_an_object_of_a_kind_that_the_peer_does_not_take_is_said_so(pacs: ScriptedPacs) -> None:
    mammogram = make_cr()
    mammogram.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1.2")
    kinds = [(ds, ExplicitVRLittleEndian) for ds in (COMPUTED_RADIOGRAPHY, mammogram.SOPClassUID)]
    with Sender(pacs.peer, kinds, calling_ae="TEST", timeout=5.0) as sender:
        answer = sender.send(mammogram)
        assert (answer.delivered, answer.status) == (False, None)
        assert sender.send(make_cr()).delivered


def test_an_association_that_is_not_answered_raises_peer_unreachable() -> None:
    with scripted_pacs() as gone:
        peer = gone.peer
    with pytest.raises(PeerUnreachable, match="does not answer"):
        associate(peer, [build_context(Verification)], calling_ae="TEST", timeout=2.0)
