"""What processes cost: computing time, and memory at its peak, of a process and of all that it started."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import psutil

_SAMPLE_SECONDS: Final = 0.1


@dataclass(slots=True)
class Usage:
    """Of the time between two looks. cpu: seconds by the name of a process; peak: bytes resident, likewise."""

    cpu: dict[str, float] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)

    @property
    def cpu_seconds(self) -> float:
        """Of all processes."""
        return sum(self.cpu.values())

    @property
    def peak_megabytes(self) -> float:
        """Of all processes, pages that they share counted in each."""
        return sum(self.peak.values()) / 1e6

    def cpu_of(self, beginning: str) -> float:
        """Seconds of the processes whose names begin so."""
        return sum(seconds for name, seconds in self.cpu.items() if name.startswith(beginning))

    def peak_of(self, beginning: str) -> float:
        """Megabytes of the largest process whose name begins so."""
        return max((size for name, size in self.peak.items() if name.startswith(beginning)), default=0) / 1e6


@contextmanager
def watched(pid: int) -> Iterator[Usage]:
    """Watch the process `pid` and all below it; the usage is complete when the block has ended."""
    usage, end = Usage(), threading.Event()
    before = _cpu(pid)

    def sample() -> None:
        while True:
            for name, process in tree(pid).items():
                with suppress(psutil.Error):
                    usage.peak[name] = max(usage.peak.get(name, 0), process.memory_info().rss)
            if end.wait(_SAMPLE_SECONDS):
                return

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield usage
    finally:
        end.set()
        thread.join()
        after = _cpu(pid)
        usage.cpu = {name: max(0.0, seconds - before.get(name, 0.0)) for name, seconds in after.items()}


def tree(pid: int) -> Mapping[str, psutil.Process]:
    """A process and all below it, by names: of a role of the node, such as `worker-1`, else of the program."""
    found: dict[str, psutil.Process] = {}
    with suppress(psutil.Error):
        top = psutil.Process(pid)
        for process in [top, *top.children(recursive=True)]:
            with suppress(psutil.Error):
                name = _name(process)
                found[name if name not in found else f"{name} {process.pid}"] = process
    return found


def _cpu(pid: int) -> dict[str, float]:
    found = {}
    for name, process in tree(pid).items():
        with suppress(psutil.Error):
            times = process.cpu_times()
            # A child that has ended stands in its parent's account.
            found[name] = times.user + times.system + times.children_user + times.children_system
    return found


def _name(process: psutil.Process) -> str:
    words = process.cmdline()
    if "dicom_node.roles" in words:
        return words[words.index("dicom_node.roles") + 2]
    return process.name()
