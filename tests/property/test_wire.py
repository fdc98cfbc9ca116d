"""Whatever bytes a peer sends, the listener lives, keeps nothing of it, and serves the next."""

import shutil
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import A_ASSOCIATE_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification
from pynetdicom.presentation import build_context

from dicom_node.journey.database import prepare
from dicom_node.journey.queue import JourneyQueue
from dicom_node.reception.listener import Listener
from dicom_node.spool import Spool
from tests.listening import Node, assert_serves, settings_in, wait_until
from tests.phantom import as_bytes, make_cr


def descriptors() -> int:
    """Open files and sockets of this process, but for those of the database, whose connections are kept."""
    process = psutil.Process()
    return process.num_fds() - sum("sqlite" in file.path for file in process.open_files())


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    configuration = settings_in(tmp_path_factory.mktemp("wire")).model_copy(update={"network_timeout": 2.0})
    prepare(configuration)
    spool = Spool(configuration.spool_dir, minimum_free_bytes=0)
    queue = JourneyQueue(configuration)
    with Listener(configuration, queue, spool) as listener:
        node = Node(settings=configuration, port=listener.port, spool=spool)
        assert_serves(node)
        before = descriptors()
        yield node
        assert_serves(node)
        wait_until(lambda: descriptors() <= before + 3, seconds=60)
        assert not any(path.suffix == ".part" for path in node.files)
    queue.close()
    shutil.rmtree(configuration.data_dir)


def conversation() -> list[bytes]:
    """What a modality sends to store one small radiograph: a request, a command, pieces of a data set, a release."""
    source = make_cr(size=(128, 128))
    request = A_ASSOCIATE()
    request.application_context_name = "1.2.840.10008.3.1.1.1"
    request.calling_ae_title, request.called_ae_title = "FUZZ", "COVIDXNET"
    context = build_context(source.SOPClassUID, ExplicitVRLittleEndian)
    context.context_id = 1
    request.presentation_context_definition_list = [context]
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received, implementation.implementation_class_uid = 16384, "1.2.3"
    request.user_information = [length, implementation]
    ask = A_ASSOCIATE_RQ()
    ask.from_primitive(request)
    store = C_STORE()
    store.MessageID, store.Priority = 1, 2
    store.AffectedSOPClassUID, store.AffectedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    file = as_bytes(source)
    begin = 132 + 12 + struct.unpack_from("<L", file, 140)[0]
    store.DataSet = BytesIO(file[begin:])
    message = C_STORE_RQ()
    message.primitive_to_message(store)
    pdus = []
    for piece in message.encode_msg(1, 8192):
        pdu = P_DATA_TF()
        pdu.from_primitive(piece)
        pdus.append(pdu.encode())
    return [ask.encode(), *pdus, struct.pack(">BBLL", 5, 0, 4, 0)]


PDUS = conversation()

random_pdu = st.builds(
    lambda kind, length, body: struct.pack(">BBL", kind, 0, len(body) if length is None else length) + body,
    st.integers(0, 9),
    st.none() | st.integers(0, 2**32 - 1),
    st.binary(max_size=300),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """The conversation with bytes changed, cut, put in, and PDUs left out, doubled or in another order."""
    chosen = draw(st.lists(st.sampled_from(PDUS), max_size=6)) if draw(st.booleans()) else list(PDUS)
    said = bytearray(b"".join(chosen if draw(st.booleans()) else [PDUS[0], *chosen]))
    for _ in range(draw(st.integers(0, 6))):
        if not said:
            break
        at = draw(st.integers(0, len(said) - 1))
        match draw(st.sampled_from(["change", "cut", "insert", "early"])):
            case "change":
                said[at] = draw(st.integers(0, 255))
            case "early":  # where lengths and commands stand
                said[at % min(len(said), 500)] = draw(st.integers(0, 255))
            case "cut":
                del said[at : at + draw(st.integers(1, 2000))]
            case "insert":
                said[at:at] = draw(st.binary(max_size=50))
    return bytes(said)


def say(node: Node, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", node.port), timeout=10) as peer, suppress(OSError):
        if said.startswith(PDUS[0]):  # no modality goes on before it was accepted
            peer.sendall(PDUS[0])
            peer.recv(65536)
            said = said[len(PDUS[0]) :]
        peer.sendall(said)
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(65536):
            pass


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(random_pdu, max_size=4).map(b"".join) | st.binary(max_size=500))
def test_random_pdus_end_their_connection_only(node: Node, said: bytes) -> None:
    say(node, said)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(random_pdu, min_size=1, max_size=4).map(b"".join))
def test_pdus_that_do_not_wait_for_the_association_end_it_only(node: Node, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", node.port), timeout=10) as peer, suppress(OSError):
        peer.sendall(PDUS[0] + said)
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(65536):
            pass


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(random_pdu, max_size=4).map(b"".join))
def test_random_pdus_within_an_association_end_it_only(node: Node, said: bytes) -> None:
    say(node, PDUS[0] + said)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(mutated())
def test_a_store_with_anything_wrong_in_it_ends_its_association_at_most(node: Node, said: bytes) -> None:
    say(node, said)


def test_a_store_that_is_overtaken_by_its_release_leaves_nothing(node: Node) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", node.port), timeout=20) as peer, suppress(OSError):
            peer.sendall(PDUS[0])
            assert peer.recv(65536)
            peer.sendall(b"".join([*PDUS[1:-1], *PDUS[1:-1], PDUS[-1]]))
    wait_until(lambda: not any(path.suffix == ".part" for path in node.files), seconds=30)


def test_the_conversation_that_is_mutated_is_a_store_that_succeeds(node: Node) -> None:
    stored = "select coalesce(sum(times_received), 0) from received where calling_ae = 'FUZZ'"
    ((before,),) = node.rows(stored)

    with socket.create_connection(("127.0.0.1", node.port), timeout=20) as peer:
        for said in (PDUS[0], b"".join(PDUS[1:-1]), PDUS[-1]):
            peer.sendall(said)
            assert peer.recv(65536)

    assert node.rows(stored) == [(before + 1,)]
