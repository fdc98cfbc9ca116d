"""DCMTK as a modality: what it is told to send goes over its own network code."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from dicom_node.peers import Peer


def storescu(peer: Peer, files: Sequence[Path], *options: str, calling_ae: str = "MODALITY") -> None:
    """Send with storescu; AssertionError with its words if one object is not stored."""
    _send("storescu", "-aet", calling_ae, "-aec", peer.ae_title, *options, peer.host, str(peer.port), *map(str, files))


def dcmsend(peer: Peer, files: Sequence[Path], *, calling_ae: str = "MODALITY") -> None:
    """Send with dcmsend, which negotiates every transfer syntax of the files by itself."""
    _send("dcmsend", "-aet", calling_ae, "-aec", peer.ae_title, peer.host, str(peer.port), *map(str, files))


def _send(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
