"""What is sent as it lies arrives as it lies, whatever length of PDU the peer takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.dsutils import split_dataset
from pynetdicom.sop_class import ComputedRadiographyImageStorage

from dicom_node.errors import PeerUnreachable
from dicom_node.peers import Peer
from dicom_node.returns.returner import Sender
from tests.phantom import make_cr


@contextmanager
def peer_that_takes(maximum_pdu: int, took: list[bytes], *, abort: bool = False) -> Iterator[Peer]:
    def store(event: evt.Event) -> int:
        if abort:
            event.assoc.abort()
        took.append(event.request.DataSet.getvalue())
        return 0x0000

    entity = AE()
    entity.maximum_pdu_size = maximum_pdu
    entity.add_supported_context(ComputedRadiographyImageStorage, ExplicitVRLittleEndian)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        yield Peer("ANY", "127.0.0.1", server.server_address[1])
    finally:
        server.shutdown()


def sender_to(peer: Peer, dataset: Dataset) -> Sender:
    kinds = [(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)]
    return Sender(peer, kinds, calling_ae="TEST", timeout=20)


@pytest.mark.parametrize("maximum_pdu", [4096, 16_382, 131_072, 0])
def test_a_file_arrives_byte_for_byte(tmp_path: Path, maximum_pdu: int) -> None:
    file, took = tmp_path / "file.dcm", list[bytes]()
    dataset = make_cr(size=(701, 403))
    dataset.save_as(file, enforce_file_format=True)
    _, begin = split_dataset(file)
    with peer_that_takes(maximum_pdu, took) as peer, sender_to(peer, dataset) as sender:
        assert [sender.send(dataset, file=file).status for _ in range(2)] == [0x0000] * 2
    assert took == [file.read_bytes()[begin:]] * 2


def test_files_and_data_sets_take_turns_on_one_association(tmp_path: Path) -> None:
    file, took = tmp_path / "file.dcm", list[bytes]()
    dataset = make_cr()
    dataset.save_as(file, enforce_file_format=True)
    with peer_that_takes(16_382, took) as peer, sender_to(peer, dataset) as sender:
        assert sender.send(dataset, file=file).delivered
        assert sender.send(dataset).delivered
        assert sender.send(dataset, file=file).delivered
    assert len(set(took)) == 1


def test_a_peer_that_aborts_is_unreachable(tmp_path: Path) -> None:
    file = tmp_path / "file.dcm"
    dataset = make_cr()
    dataset.save_as(file, enforce_file_format=True)
    with peer_that_takes(16_382, [], abort=True) as peer, sender_to(peer, dataset) as sender:
        with pytest.raises(PeerUnreachable):
            sender.send(dataset, file=file)
        with pytest.raises(PeerUnreachable):
            sender.send(dataset, file=file)


def test_a_file_that_vanished_is_not_an_answer_of_the_peer(tmp_path: Path) -> None:
    dataset = make_cr()
    with (
        peer_that_takes(16_382, []) as peer,
        sender_to(peer, dataset) as sender,
        pytest.raises((PeerUnreachable, OSError)),
    ):
        sender.send(dataset, file=tmp_path / "nowhere.dcm")
