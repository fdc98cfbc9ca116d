"""Orthanc as a process of ours: Debian's, on free ports of the loopback address, with its REST API."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from pydicom import Dataset, dcmread

from dicom_node.errors import NodeError
from dicom_node.peers import Peer

_START_SECONDS: Final = 30.0


def program() -> str | None:
    """The path of Orthanc, or None if it is not installed."""
    # Debian puts it where the PATH of an ordinary user does not look.
    return shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """A TCP port of the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True, kw_only=True)
class Orthanc:
    """A running Orthanc."""

    name: str
    peer: Peer
    http_port: int
    process: subprocess.Popen[bytes]

    def rest(self, path: str, body: object = None, *, method: str | None = None) -> bytes:
        """Ask its REST API; `body` is sent as JSON. Raises URLError."""
        request = Request(
            f"http://127.0.0.1:{self.http_port}{path}",
            None if body is None else json.dumps(body).encode(),
            method=method,
        )
        # No proxy: it runs on this machine.
        with build_opener(ProxyHandler({})).open(request, timeout=60) as answer:
            content: bytes = answer.read()
        return content

    def instances(self) -> list[str]:
        """Its own identifiers of all that it has stored."""
        found: list[str] = json.loads(self.rest("/instances"))
        return found

    def objects(self) -> list[Dataset]:
        """All that it has stored."""
        return [dcmread(BytesIO(self.rest(f"/instances/{instance}/file"))) for instance in self.instances()]


@contextmanager
def running_orthanc(
    folder: Path, *, ae_title: str, port: int | None = None, modalities: Sequence[Peer] = (), **options: Any
) -> Iterator[Orthanc]:
    """Run Orthanc until the end of the block; configuration, storage and log go into `folder`.

    port: of DICOM; None: any that is free. modalities: peers that it may send to, named by their AE titles.
    options: more of its configuration, such as OverwriteInstances.
    Raises NodeError if it is not installed or does not start.
    """
    found = program()
    if found is None:
        raise NodeError("Orthanc is not installed.", hint="Install it: apt-get install orthanc.")
    folder.mkdir(parents=True, exist_ok=True)
    dicom_port, http_port = port or free_port(), free_port()
    configuration = {
        "Name": ae_title,
        "DicomAet": ae_title,
        "DicomPort": dicom_port,
        "HttpPort": http_port,
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "UnknownSopClassAccepted": True,
        "DicomModalities": {peer.ae_title: [peer.ae_title, peer.host, peer.port] for peer in modalities},
        "Plugins": [],
        **options,
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration, indent=2))
    log = folder / "orthanc.log"
    with log.open("ab") as output:
        process = subprocess.Popen([found, str(folder / "orthanc.json")], stdout=output, stderr=output)
    orthanc = Orthanc(
        name="Orthanc", peer=Peer(ae_title, "127.0.0.1", dicom_port), http_port=http_port, process=process
    )
    try:
        version = _await(orthanc, log)
        yield Orthanc(name=f"Orthanc {version}", peer=orthanc.peer, http_port=http_port, process=process)
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(orthanc: Orthanc, log: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and orthanc.process.poll() is None:
        try:
            return str(json.loads(orthanc.rest("/system"))["Version"])
        except (URLError, OSError):
            time.sleep(0.1)
    raise NodeError("Orthanc does not start.", hint=f"Its log says why: {log}")
