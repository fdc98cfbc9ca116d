"""The programs that the node is measured beside, each as a process of ours on a free port of the loopback address."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import dicom_node
from dicom_node.bench import sink
from dicom_node.demo.node import running_node
from dicom_node.demo.orthanc import free_port, running_orthanc
from dicom_node.errors import NodeError
from dicom_node.peers import Peer

_START_SECONDS: Final = 60.0
NAIVE: Final = Path(dicom_node.__file__).parents[1] / "bench" / "naive.py"
"""The yardstick, which only a checkout has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A program that takes objects. stored: how many it has; send: gives it files, so many associations at once."""

    name: str
    peer: Peer
    pid: int
    stored: Callable[[], int]
    send: Callable[[Sequence[Path], int], None]


@contextmanager
def covid_xnet(folder: Path) -> Iterator[Server]:
    """Our listener alone."""
    settings = {"ae_title": "COVIDXNET", "port": free_port()}
    with running_node(folder, settings, role=("listen",)) as node:
        yield Server(name="covid-xnet", peer=node.peer, pid=node.process.pid, stored=_none, send=to_peer(node.peer))


@contextmanager
def orthanc(folder: Path) -> Iterator[Server]:
    """Orthanc, which answers when an object is on disk."""
    with running_orthanc(folder, ae_title="PACS", SyncStorageArea=True) as found:
        yield Server(
            name=found.name,
            peer=found.peer,
            pid=found.process.pid,
            stored=lambda: len(found.instances()),
            send=to_peer(found.peer),
        )


@contextmanager
def storescp(folder: Path) -> Iterator[Server]:
    """DCMTK's storescp, which syncs nothing."""
    folder.mkdir(parents=True)
    peer = Peer("PACS", "127.0.0.1", free_port())
    command = [_program("storescp"), "-aet", peer.ae_title, "+B", "-pdu", "131072", "--fork", "-od", str(folder)]
    with _running([*command, str(peer.port)], peer.port, folder) as pid:
        yield Server(name="storescp", peer=peer, pid=pid, stored=lambda: files_in(folder), send=to_peer(peer))


@contextmanager
def raw(folder: Path) -> Iterator[Server]:
    """TCP into a file, with fsync: what no receiver can beat."""
    folder.mkdir(parents=True)
    with subprocess.Popen(
        [sys.executable, "-m", sink.__name__, str(folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        peer = Peer("SINK", "127.0.0.1", int(process.stdout.readline()))

        def send(files: Sequence[Path], associations: int) -> None:
            _at_once(files, associations, lambda part: sink.send(peer.host, peer.port, part))

        try:
            yield Server(name="raw TCP + fsync", peer=peer, pid=process.pid, stored=lambda: files_in(folder), send=send)
        finally:
            process.terminate()


@contextmanager
def naive(folder: Path, *, pacs: Peer | None = None) -> Iterator[Server]:
    """The naive build; it only stores if there is no `pacs`. Raises NodeError if it cannot be run here."""
    if why := no_naive():
        raise NodeError(f"The naive build cannot be measured: {why}.", hint="Measure in a checkout, after `make test`.")
    folder.mkdir(parents=True)
    peer = Peer("NAIVE", "127.0.0.1", free_port())
    command = [sys.executable, str(NAIVE), str(peer.port), str(folder), *([str(pacs)] if pacs else [])]
    with _running(command, peer.port, folder) as pid:
        yield Server(name="naive build", peer=peer, pid=pid, stored=lambda: files_in(folder), send=to_peer(peer))


def no_naive() -> str:
    """Why the naive build cannot be run here; empty if it can."""
    if not NAIVE.is_file():
        return "its program is only in a checkout"
    return "" if find_spec("tensorflow") else "TensorFlow is not installed"


def files_in(folder: Path) -> int:
    """How many objects lie in a folder."""
    return sum(not entry.name.endswith(".log") for entry in os.scandir(folder))


def _none() -> int:
    return 0


def _program(name: str) -> str:
    if found := shutil.which(name):
        return found
    raise NodeError(f"{name} is not installed.", hint="Install it: apt-get install dcmtk.")


def to_peer(peer: Peer) -> Callable[[Sequence[Path], int], None]:
    """Send with DCMTK's storescu, which costs little; each object gets a UID of its own every time."""
    command = [_program("storescu"), "+II", "-aec", peer.ae_title, peer.host, str(peer.port)]

    def storescu(files: list[Path]) -> None:
        done = subprocess.run(
            [*command, *map(str, files)],
            env={**os.environ, "TCP_NODELAY": "1"},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise NodeError(f"{peer} did not take an object: {done.stderr.strip()[-300:]}")

    return lambda files, associations: _at_once(files, associations, storescu)


def _at_once(files: Sequence[Path], associations: int, send: Callable[[list[Path]], None]) -> None:
    parts = [list(files[number::associations]) for number in range(associations)]
    with ThreadPoolExecutor(associations) as pool:
        list(pool.map(send, parts))


@contextmanager
def _running(command: Sequence[str], port: int, folder: Path) -> Iterator[int]:
    log = folder.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise NodeError(f"{command[0]} does not start.", hint=f"Its log says why: {log}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
