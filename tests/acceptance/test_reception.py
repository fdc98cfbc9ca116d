"""The listener on real sockets: what a peer is answered, and what is durable then."""

import socket
import struct
from contextlib import suppress
from io import BytesIO
from typing import Any

import psutil
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.presentation import build_context

from dicom_node.journey.database import open_engine
from dicom_node.wire import RADIOGRAPHS, TRANSFER_SYNTAXES
from tests.listening import Node, assert_serves, associate, send, wait_until
from tests.phantom import as_bytes, encapsulated, make_cr, make_dx


def send_as(node: Node, dataset: Dataset, *, sop_instance_uid: str, cut: int | None = None) -> int:
    """C-STORE with a UID in the command that pynetdicom would not send by itself; returns the status."""
    association = associate(node)
    request = C_STORE()
    request.MessageID = 1
    request.AffectedSOPClassUID = dataset.SOPClassUID
    request.AffectedSOPInstanceUID = sop_instance_uid
    request.Priority = 2
    body = encode(dataset, False, True)
    assert body is not None
    request.DataSet = BytesIO(body[:cut])
    context = next(c for c in association.accepted_contexts if c.abstract_syntax == dataset.SOPClassUID)
    association._reactor_checkpoint.clear()
    association.dimse.send_msg(request, context.context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    association.release()
    assert answer is not None
    status: int = answer.Status
    return status


def test_an_acknowledged_frontal_chest_is_in_the_spool_the_ledger_and_the_queue(start: Any) -> None:
    node = start()
    source = make_cr()

    assert send(node, source).Status == 0x0000

    (file,) = node.files
    assert dcmread(file).PixelData == source.PixelData
    assert node.rows("select sop_instance_uid, digest, accepted, view, calling_ae from received") == [
        (source.SOPInstanceUID, file.stem, 1, "PA", "MODALITY")
    ]
    assert node.rows("select name, status from workflow_status") == [("read_radiograph", "ENQUEUED")]


def test_a_lateral_view_is_recorded_but_never_queued(start: Any) -> None:
    node = start()

    assert send(node, make_dx(view="LL")).Status == 0x0000

    assert node.rows("select accepted, reason from received") == [(0, "lateral view")]
    assert node.rows("select * from workflow_status") == []


def test_real_radiographs_are_received_as_they_are(start: Any) -> None:
    node = start()
    for name in ("RG1_UNCR.dcm", "RG1_J2KR.dcm", "RG3_UNCR.dcm"):
        assert send(node, dcmread(str(get_testdata_file(name)))).Status == 0x0000

    assert node.rows("select accepted, reason from received order by rowid") == [
        (1, ""),
        (1, ""),
        (0, "not a chest"),
    ]


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless],
)
def test_an_object_is_kept_in_the_transfer_syntax_in_which_it_came(start: Any, syntax: UID) -> None:
    node = start()

    assert send(node, make_cr(syntax=syntax)).Status == 0x0000

    (file,) = node.files
    assert dcmread(file).file_meta.TransferSyntaxUID == syntax
    assert node.rows("select transfer_syntax_uid from received") == [(syntax,)]


@pytest.mark.parametrize("sop_class", RADIOGRAPHS)
def test_every_transfer_syntax_is_accepted_for_every_radiograph(start: Any, sop_class: UID) -> None:
    node = start()
    entity = AE()
    # One context for each, for of a context with many the acceptor takes one.
    entity.requested_contexts = [build_context(sop_class, syntax) for syntax in TRANSFER_SYNTAXES]

    association = entity.associate("127.0.0.1", node.port, ae_title="COVIDXNET")

    assert [context.transfer_syntax[0] for context in association.accepted_contexts] == list(TRANSFER_SYNTAXES)
    association.release()


def test_the_same_object_sent_twice_is_recorded_once(start: Any) -> None:
    node = start()
    source = make_cr()

    assert [send(node, source).Status, send(node, source).Status] == [0, 0]

    assert len(node.files) == 1
    assert node.rows("select times_received from received") == [(2,)]
    assert len(node.rows("select * from workflow_status")) == 1


def changed(source: Dataset) -> Dataset:
    """Other content under the same UID."""
    other = dcmread(BytesIO(as_bytes(source)))
    other.PixelData = bytes(len(source.PixelData))
    return other


def test_other_content_under_a_known_uid_is_taken_kept_apart_and_not_read(start: Any) -> None:
    node = start()
    source = make_cr()

    assert [send(node, dataset).Status for dataset in (source, changed(source), changed(source))] == [0, 0, 0]

    assert len(node.files) == 2
    assert node.rows("select accepted, reason, times_received from received order by id") == [
        (1, "", 1),
        (0, "other content under a known SOP Instance UID", 2),
    ]
    assert len(node.rows("select * from workflow_status")) == 1


def test_other_content_under_a_known_uid_is_refused_and_leaves_nothing_where_the_settings_say_so(start: Any) -> None:
    node = start(duplicate_policy="refuse")
    source = make_cr()

    assert [send(node, dataset).Status for dataset in (source, changed(source), source)] == [0, 0x0111, 0]

    assert len(node.files) == 1
    assert node.rows("select status from rejected") == [(0x0111,)]


def test_a_store_of_high_priority_is_recorded_as_stat_and_has_an_earlier_place(start: Any) -> None:
    node = start()
    association = associate(node)
    for priority in (0, 1, 2):
        assert association.send_c_store(make_cr(), priority=priority).Status == 0x0000
    association.release()

    rows = node.rows("select urgency, urgency_evidence from received order by id")
    assert rows == [("routine", ""), ("stat", "priority of the C-STORE request"), ("routine", "")]
    ((first,),) = node.rows("select workflow_uuid from workflow_status order by priority limit 1")
    assert node.rows("select journey from received where urgency = 'stat'") == [(first,)]


def test_verification_is_answered(start: Any) -> None:
    association = associate(start())

    assert association.send_c_echo().Status == 0x0000
    association.release()


def test_strangers_are_rejected_by_the_titles_they_call_with_and_call(start: Any) -> None:
    node = start(calling_aes=("CR1", "ROUTER"))

    stranger = associate(node, calling="STRANGER")
    assert stranger.is_rejected
    # PS3.8 9.3.4: rejected-permanent, by the service user, calling AE title not recognised.
    assert (stranger.acceptor.primitive.result, stranger.acceptor.primitive.diagnostic) == (1, 3)
    lost = associate(node, calling="CR1", called="OTHER")
    assert lost.is_rejected
    assert (lost.acceptor.primitive.result, lost.acceptor.primitive.diagnostic) == (1, 7)
    known = associate(node, calling="ROUTER")
    assert known.is_established
    known.release()


@pytest.mark.parametrize(
    ("source", "status"),
    [
        (make_cr(extra={"Rows": 100}), 0xA900),
        (make_cr(extra={"Rows": None}), 0xA900),
        (make_cr(extra={"PixelData": None}), 0xA900),
        (encapsulated(make_cr(extra={"Rows": 65535, "Columns": 65535}), b"\xff\x4f\xff\x51", JPEG2000), 0xA900),
    ],
    ids=["lying Rows", "no Rows", "no pixels", "bomb"],
)
def test_a_refused_object_gets_its_status_and_a_record_and_the_next_is_served(
    start: Any, source: Dataset, status: int
) -> None:
    node = start()

    answer = send(node, source)

    assert answer.Status == status
    assert 0 < len(answer.ErrorComment) <= 64
    assert node.rows("select sop_instance_uid, status from rejected") == [(source.SOPInstanceUID, status)]
    assert node.files == []
    assert_serves(node)


def test_a_truncated_data_set_is_not_understood(start: Any) -> None:
    node = start()
    source = make_cr()

    assert send_as(node, source, sop_instance_uid=source.SOPInstanceUID, cut=-1000) == 0xC000

    assert node.files == []
    assert_serves(node)


@pytest.mark.parametrize("uid", ["../../../tmp/evil", "1.2/3", "1.2.3.4"])
def test_a_command_with_another_uid_than_its_data_set_does_not_match_and_names_no_file(start: Any, uid: str) -> None:
    node = start()

    assert send_as(node, make_cr(), sop_instance_uid=uid) == 0xA900

    assert node.files == []
    assert node.rows("select sop_instance_uid from rejected") == [(uid,)]
    assert_serves(node)


def test_a_low_disk_makes_the_sender_keep_the_object(start: Any) -> None:
    node = start(minimum_free_megabytes=1e12)

    assert send(node, make_cr()).Status == 0xA700

    assert node.files == []


def test_an_object_above_the_size_limit_is_refused(start: Any) -> None:
    node = start(maximum_object_megabytes=0.1)

    assert send(node, make_cr()).Status == 0xA900

    assert node.files == []


def test_a_database_that_cannot_take_the_object_makes_the_sender_keep_it(start: Any) -> None:
    node = start()
    with open_engine(node.settings).begin() as connection:
        connection.exec_driver_sql("alter table received rename to elsewhere")

    assert send(node, make_cr()).Status == 0xA700

    with open_engine(node.settings).begin() as connection:
        connection.exec_driver_sql("alter table elsewhere rename to received")
    assert_serves(node)


def half_a_store(node: Node, source: Dataset) -> Association:
    """Begin a C-STORE and send the command and a part of the data set only."""
    association = associate(node)
    context = next(c for c in association.accepted_contexts if c.abstract_syntax == source.SOPClassUID)
    association._reactor_checkpoint.clear()
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    request.DataSet = BytesIO(encode(source, False, True) or b"")
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    pieces = list(message.encode_msg(context.context_id, 16382))
    for piece in pieces[: len(pieces) // 2]:
        association.dul.send_pdu(piece)
    wait_until(lambda: any(path.suffix == ".part" for path in node.files))
    return association


def test_a_peer_that_aborts_in_the_middle_of_a_store_leaves_nothing(start: Any) -> None:
    node = start()

    half_a_store(node, make_cr()).abort()

    wait_until(lambda: node.files == [])
    assert node.rows("select * from received") == []
    assert_serves(node)


def test_a_peer_that_vanishes_in_the_middle_of_a_store_leaves_nothing(start: Any) -> None:
    node = start()
    association = half_a_store(node, make_cr())

    association.dul.socket.socket.shutdown(socket.SHUT_RDWR)

    wait_until(lambda: node.files == [])
    assert_serves(node)
    association.kill()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: node\r\n\r\n",
        b"\x01\x00\xff\xff\xff\xff" + b"A" * 1000,
        b"\x04\x00" + struct.pack(">L", 20) + b"\x00" * 20,
        b"\x00" * 5000,
        b"\x01",
    ],
    ids=["http", "four gigabytes", "data first", "zeros", "one byte"],
)
def test_garbage_ends_its_connection_only(start: Any, garbage: bytes) -> None:
    node = start()

    with socket.create_connection(("127.0.0.1", node.port)) as stranger:
        stranger.sendall(garbage)
        stranger.shutdown(socket.SHUT_WR)
        stranger.settimeout(5)
        with suppress(ConnectionResetError):
            while stranger.recv(4096):
                pass

    assert_serves(node)


def test_a_command_set_of_garbage_ends_its_association_only(start: Any) -> None:
    node = start()
    association = associate(node)
    piece = P_DATA()
    piece.presentation_data_value_list = [[association.accepted_contexts[0].context_id, b"\x03" + b"\xfe" * 100]]
    association.dul.send_pdu(piece)

    wait_until(lambda: not association.is_established)
    assert_serves(node)


def test_many_associations_in_a_row_leave_no_thread_behind(start: Any) -> None:
    node = start()
    association = associate(node)
    association.release()
    before = psutil.Process().num_fds()

    for _ in range(30):
        association = associate(node)
        assert association.send_c_echo().Status == 0
        association.release()

    assert_serves(node)
    wait_until(lambda: psutil.Process().num_fds() <= before + 5)
