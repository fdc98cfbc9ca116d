"""A PACS, a node beside it, and the means to kill: what the fault suite works on."""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from dicom_node.demo.node import RunningNode, running_node
from dicom_node.demo.orthanc import Orthanc, free_port, running_orthanc
from dicom_node.errors import NodeError
from dicom_node.faultpoints import VARIABLE, Point
from dicom_node.peers import Peer

ROLES: Final = ("listen", "work", "return")
SUPERVISOR: Final = "run"


@dataclass(kw_only=True)
class Ward:
    """What survives every kill is on disk below `folder`; `node` and `pacs` are the processes of the moment."""

    folder: Path
    workers: int = 1
    kills: dict[str, int] = field(default_factory=dict)
    peak_rss: dict[str, int] = field(default_factory=dict)
    """Role -> the most memory that one process of it ever had resident, in bytes."""
    starts: list[float] = field(default_factory=list)
    """Seconds from each start of the node until it answered."""
    node: RunningNode = field(init=False)
    pacs: Orthanc = field(init=False)

    def __post_init__(self) -> None:
        self._ports = free_port(), free_port()
        self._returned = 0
        self._pacs_stack, self._node_stack = ExitStack(), ExitStack()
        self.armed = self.folder / "armed"
        self.armed.mkdir(parents=True)
        os.environ[VARIABLE] = str(self.armed)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "ae_title": "COVIDXNET",
            "port": self._ports[0],
            "workers": self.workers,
            "destinations": [f"PACS@127.0.0.1:{self._ports[1]}"],
            "retry_seconds": 0.5,
            "commitment_timeout": 5,
            "minimum_free_megabytes": 0,
        }

    def open_pacs(self) -> None:
        self.pacs = self._pacs_stack.enter_context(
            # It knows the node, so that it answers C-FIND and reports storage commitment.
            running_orthanc(
                self.folder / "pacs",
                ae_title="PACS",
                port=self._ports[1],
                modalities=[Peer("COVIDXNET", "127.0.0.1", self._ports[0])],
            )
        )

    def close_pacs(self) -> None:
        self._pacs_stack.close()

    def revive(self) -> None:
        """Start the node if it does not run; it may die of a fault point while it starts."""
        while not hasattr(self, "node") or self.node.process.poll() is not None:
            with suppress(NodeError):
                self._node_stack.close()
                begun = time.monotonic()
                self.node = self._node_stack.enter_context(running_node(self.folder / "node", self.settings))
                self.starts.append(time.monotonic() - begun)

    def end(self) -> int:
        """End the node as an operator does."""
        return self.node.end()

    def close(self) -> None:
        del os.environ[VARIABLE]
        self._node_stack.close()
        self.close_pacs()

    @property
    def database(self) -> Path:
        return self.folder / "node" / "data" / "covid-xnet.sqlite"

    def parked(self) -> bool:
        """Whether the node has noticed that the PACS is not there."""
        with sqlite3.connect(self.database) as database:
            return bool(database.execute("SELECT 1 FROM circuits WHERE state != 'closed'").fetchall())

    def returned(self) -> int:
        """How many objects the PACS has, or had when it last answered."""
        with suppress(OSError):
            self._returned = int(json.loads(self.pacs.rest("/statistics"))["CountInstances"])
        return self._returned

    def kill(self, role: str) -> bool:
        """SIGKILL to one process of `role`, if there is one: it may have been killed before."""
        children = [process.pid for process in self.processes() if process.role == role]
        for pid in [self.node.process.pid] if role == SUPERVISOR else children[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.kills[role] = self.kills.get(role, 0) + 1
                return True
        return False

    def arm(self, point: Point) -> None:
        (self.armed / point).touch()

    def has_fired(self, point: Point) -> bool:
        return not (self.armed / point).exists()

    def wait_until(self, condition: Callable[[], bool], what: str, *, seconds: float = 300.0) -> None:
        """Wait, keep the node alive, and look how much memory its processes have."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}; the node's log is {self.node.log}"
            self.revive()
            self.look_at_memory()
            time.sleep(0.05)

    def look_at_memory(self) -> None:
        for process in self.processes():
            self.peak_rss[process.role] = max(self.peak_rss.get(process.role, 0), process.peak_rss)

    def processes(self) -> Iterator["RoleProcess"]:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.node.process.pid).children():
                with suppress(psutil.ZombieProcess, psutil.NoSuchProcess, OSError):
                    role = (child.cmdline()[3:4] or [""])[0]
                    if role in ROLES:
                        yield RoleProcess(pid=child.pid, role=role)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleProcess:
    """A process of the node."""

    pid: int
    role: str

    @property
    def peak_rss(self) -> int:
        """In bytes, over its life."""
        with suppress(OSError):
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return 0


@contextmanager
def open_ward(folder: Path, *, workers: int = 1) -> Iterator[Ward]:
    """A PACS and a node that run until the end of the block."""
    ward = Ward(folder=folder, workers=workers)
    try:
        ward.open_pacs()
        ward.revive()
        yield ward
    finally:
        ward.close()
