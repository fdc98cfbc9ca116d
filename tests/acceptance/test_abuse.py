"""The listener as a process under abuse: who behaves gets in all the while, and afterwards it is as small as before."""

import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from itertools import repeat
from pathlib import Path
from typing import Any

import psutil
import pytest
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification

from dicom_node.demo.orthanc import free_port
from dicom_node.spool import Spool
from dicom_node.wire import COMPUTED_RADIOGRAPHY
from tests.listening import Node, associate, run_listener, send, settings_in, wait_until
from tests.phantom import make_cr

PEAK_MEGABYTES = 300
PLACES_FOR_ONE_ADDRESS = 40
"""All that a stranger's address may have."""


class Victim:
    """The listener, and what it takes from the machine."""

    def __init__(self, node: Node, process: subprocess.Popen[str]) -> None:
        self.node = node
        self.system = psutil.Process(process.pid)
        self.descriptors = self.system.num_fds()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.node.port), timeout=20)

    def assert_serves(self) -> None:
        """A modality that behaves stores an object, on the first try."""
        assert send(self.node, make_cr()).Status == 0x0000

    def assert_recovers(self) -> None:
        self.assert_serves()
        assert self.system.memory_info().rss / 1e6 < PEAK_MEGABYTES
        wait_until(lambda: self.system.num_fds() <= self.descriptors + 5, seconds=60)
        wait_until(lambda: self.system.num_threads() <= 6, seconds=60)
        wait_until(lambda: not any(path.suffix == ".part" for path in self.node.files), seconds=60)


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Iterator[Victim]:
    settings = settings_in(tmp_path_factory.mktemp("abuse")).model_copy(update={"port": free_port()})
    shutil.copytree(prepared, settings.data_dir)
    log = settings.data_dir / "log"
    with log.open("w") as file:
        process = run_listener(settings, stderr=file, environment={"COVIDXNET_NETWORK_TIMEOUT": "6"})
        try:
            wait_until(lambda: "event=listening" in log.read_text(), seconds=60)
            spool = Spool(settings.spool_dir, minimum_free_bytes=0)
            victim = Victim(Node(settings=settings, port=settings.port, spool=spool), process)
            victim.assert_serves()
            yield victim
            print(f"RSS at the end {victim.system.memory_info().rss / 1e6:.0f} MB")
            assert process.poll() is None
            assert "Traceback" not in log.read_text()
        finally:
            process.kill()
            process.wait()


def store_command() -> bytes:
    """A P-DATA-TF with a C-STORE-RQ on presentation context 1."""
    elements = (
        (0x0002, b"1.2.840.10008.5.1.4.1.1.1\0"), (0x0100, b"\x01\x00"), (0x0110, b"\x01\x00"), (0x0700, b"\x02\x00"),
        (0x0800, b"\x01\x00"), (0x1000, b"1.2.3\0"),
    )  # fmt: skip
    command = b"".join(struct.pack("<HHL", 0, tag, len(value)) + value for tag, value in elements)
    command = struct.pack("<HHLL", 0, 0, 4, len(command)) + command
    return struct.pack(">BBLLBB", 4, 0, len(command) + 6, len(command) + 2, 1, 3) + command


def association_request(sop_class: str = Verification) -> bytes:
    request = A_ASSOCIATE()
    request.application_context_name = "1.2.840.10008.3.1.1.1"
    request.calling_ae_title, request.called_ae_title = "FLOOD", "COVIDXNET"
    context = build_context(sop_class)
    context.context_id = 1
    request.presentation_context_definition_list = [context]
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received, implementation.implementation_class_uid = 16384, "1.2.3"
    request.user_information = [length, implementation]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(request)
    return bytes(pdu.encode())


def is_cut_off(peer: socket.socket, pieces: Iterable[bytes], *, pause: float = 0.0) -> bool:
    """Send `pieces` until the other side does not want them any more."""
    try:
        for piece in pieces:
            peer.sendall(piece)
            time.sleep(pause)
    except OSError:
        return True
    return False


def test_two_hundred_and_more_silent_connections_keep_nobody_out(victim: Victim) -> None:
    with ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(victim.connect())
        victim.assert_serves()
        assert victim.system.num_threads() < 20
        assert victim.system.num_fds() < 250
    victim.assert_recovers()


@pytest.mark.slow
def test_a_connection_that_asks_for_nothing_is_closed_when_its_time_is_over(victim: Victim) -> None:
    with victim.connect() as silent:
        assert silent.recv(10) == b""


@pytest.mark.slow
@pytest.mark.parametrize("already", [b"", association_request()[:40]], ids=["from the beginning", "in the middle"])
def test_a_request_that_comes_a_byte_now_and_then_is_cut_off_when_its_time_is_over(
    victim: Victim, already: bytes
) -> None:
    begin = time.monotonic()
    rest = (bytes([byte]) for byte in association_request()[len(already) :])
    with victim.connect() as slow:
        slow.sendall(already)
        assert is_cut_off(slow, rest, pause=0.3)
    assert time.monotonic() - begin < 20
    victim.assert_recovers()


def test_a_flood_of_associations_that_then_do_nothing_keeps_nobody_out(victim: Victim) -> None:
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(victim.connect()).sendall(association_request())
        for _ in range(3):
            victim.assert_serves()
        assert victim.system.num_threads() < 120
    victim.assert_recovers()


def test_stores_that_come_a_byte_now_and_then_are_ended_and_leave_nothing(victim: Victim) -> None:
    with ExitStack() as stack:
        slow = []
        for _ in range(PLACES_FOR_ONE_ADDRESS):
            peer = stack.enter_context(victim.connect())
            peer.sendall(association_request())
            header = peer.recv(6)
            assert header[0] == 2
            peer.recv(struct.unpack(">L", header[2:])[0])
            # A P-DATA-TF of 1000 bytes, of which no more than the beginning comes.
            peer.sendall(struct.pack(">BBL", 4, 0, 1000) + struct.pack(">LBB", 996, 1, 3))
            slow.append(peer)
        for _ in range(3):
            victim.assert_serves()
            for peer in slow:
                with suppress(OSError):
                    peer.sendall(b"\0")
    victim.assert_recovers()


def test_stores_of_which_half_has_come_make_room_for_one_that_goes_on(victim: Victim) -> None:
    command = store_command()
    with ExitStack() as stack:
        for _ in range(PLACES_FOR_ONE_ADDRESS):
            peer = stack.enter_context(victim.connect())
            peer.sendall(association_request(COMPUTED_RADIOGRAPHY))
            header = peer.recv(6)
            peer.recv(struct.unpack(">L", header[2:])[0])
            peer.sendall(command + struct.pack(">BBLLBB", 4, 0, 1006, 1002, 1, 0) + bytes(1000))
        wait_until(lambda: sum(path.suffix == ".part" for path in victim.node.files) >= PLACES_FOR_ONE_ADDRESS - 5)
        for _ in range(3):
            victim.assert_serves()
    victim.assert_recovers()


@pytest.mark.slow
def test_messages_in_many_small_pieces_over_minutes_are_ended(victim: Victim) -> None:
    with victim.connect() as peer:
        peer.sendall(association_request())
        header = peer.recv(6)
        peer.recv(struct.unpack(">L", header[2:])[0])
        begin = time.monotonic()
        # Complete P-DATA-TF with one byte of a command set that never ends.
        assert is_cut_off(peer, repeat(struct.pack(">BBLLBB", 4, 0, 7, 3, 1, 1) + b"\0", 60), pause=0.5)
        assert time.monotonic() - begin < 20
    victim.assert_recovers()


def test_a_peer_that_does_not_wait_for_answers_is_ended(victim: Victim) -> None:
    with victim.connect() as peer:
        peer.sendall(association_request())
        header = peer.recv(6)
        peer.recv(struct.unpack(">L", header[2:])[0])
        elements = (
            (0x0002, b"1.2.840.10008.1.1\0"), (0x0100, b"\x30\x00"), (0x0110, b"\x01\x00"), (0x0800, b"\x01\x01")
        )  # fmt: skip
        command = b"".join(struct.pack("<HHL", 0, tag, len(value)) + value for tag, value in elements)
        command = struct.pack("<HHLL", 0, 0, 4, len(command)) + command
        echo = struct.pack(">BBLLBB", 4, 0, len(command) + 6, len(command) + 2, 1, 3) + command
        assert is_cut_off(peer, repeat(echo * 20, 3000))
    victim.assert_recovers()


def test_half_stores_whose_peers_vanish_leave_no_descriptor_and_no_file(victim: Victim) -> None:
    source = make_cr(size=(512, 512))
    for _ in range(10):
        association = associate(victim.node)
        connection = association.dul.socket.socket
        association._reactor_checkpoint.clear()
        context = next(c for c in association.accepted_contexts if c.abstract_syntax == source.SOPClassUID)
        # A data set piece without its command, and then nothing but a closed connection.
        connection.sendall(struct.pack(">BBLLBB", 4, 0, 1006, 1002, context.context_id, 0) + bytes(1000))
        connection.shutdown(socket.SHUT_RDWR)
        association.kill()
    victim.assert_recovers()


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
        struct.pack(">BBL", 1, 0, 0xFFFFFFFF) + bytes(1000),
        struct.pack(">BBL", 1, 0, 10) + bytes(10),
        struct.pack(">BBL", 1, 0, 2000) + bytes(2000),
        association_request()[:74] + b"\x10\x00\xff\xff" + bytes(200),
        association_request()[:10] + b"\xff" * 32 + association_request()[42:],
        struct.pack(">BBLL", 4, 0, 4, 0),
        struct.pack(">BBLL", 7, 0, 4, 0),
    ],
    ids=["TLS", "4 GB", "short", "zeros", "lying item", "no title", "data first", "abort first"],
)
def test_what_is_no_association_is_answered_or_cut_off_at_once(victim: Victim, said: bytes) -> None:
    peers = [victim.connect() for _ in range(20)]
    for peer in peers:
        peer.sendall(said)
    victim.assert_serves()
    for peer in peers:
        peer.close()
    victim.assert_recovers()


def test_the_peak_of_the_memory_is_in_its_limit(victim: Victim) -> None:
    status: Any = Path(f"/proc/{victim.system.pid}/status").read_text()
    peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1000
    print(f"peak RSS {peak:.0f} MB")
    assert peak < PEAK_MEGABYTES
