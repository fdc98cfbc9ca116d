"""A node as a process of ours, with a configuration of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification

from dicom_node.errors import NodeError, PeerUnreachable
from dicom_node.peers import Peer
from dicom_node.returns.returner import associate
from dicom_node.settings import CONFIG_VARIABLE, PREFIX
from dicom_node.site_file import as_toml

_START_SECONDS: Final = 60.0
_END_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningNode:
    """A node that answers, and the environment in which its commands speak of it."""

    peer: Peer
    log: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes]

    def status(self) -> dict[str, Any]:
        """What `covid-xnet status --json` says of all objects."""
        found: dict[str, Any] = json.loads(self.command("status", "--json", "--limit", "0"))
        return found

    def command(self, *arguments: str) -> str:
        """Run a command of the node; returns its standard output. Raises CalledProcessError if it fails."""
        return subprocess.run(
            [sys.executable, "-m", "dicom_node", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout

    def end(self) -> int:
        """End it with SIGTERM; returns its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def write_configuration(folder: Path, settings: Mapping[str, Any]) -> Path:
    """Write the configuration of a node whose data lie in `folder`; returns the TOML file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "covid-xnet.toml"
    values = {"data_dir": str(folder / "data"), **settings}
    file.write_text("".join(f"{name} = {as_toml(value)}\n" for name, value in values.items()))
    return file


@contextmanager
def running_node(
    folder: Path, settings: Mapping[str, Any], *, role: tuple[str, ...] = ("run",)
) -> Iterator[RunningNode]:
    """Run a node until the end of the block; configuration, data and log go into `folder`.

    settings: those that differ from the defaults; must hold `ae_title` and `port`.
    role: its command line; one that listens.
    Raises NodeError if it does not start.
    """
    configuration = write_configuration(folder, settings)
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    environment[CONFIG_VARIABLE] = str(configuration)
    log = folder / "node.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "dicom_node", *role], env=environment, stdout=output, stderr=output
        )
    peer = Peer(settings["ae_title"], "127.0.0.1", settings["port"])
    node = RunningNode(peer=peer, log=log, environment=environment, process=process)
    try:
        _await(node)
        yield node
    finally:
        node.end()


def _await(node: RunningNode) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and node.process.poll() is None:
        try:
            associate(node.peer, [build_context(Verification)], calling_ae="DEMO", timeout=5).release()
        except PeerUnreachable:
            time.sleep(0.2)
        else:
            return
    raise NodeError("The node does not start.", hint=f"Its log says why: {node.log}")
