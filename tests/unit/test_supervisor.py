"""How soon a process that died is started again, and what is seen to meanwhile."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node import supervisor
from dicom_node.peers import Peer
from dicom_node.roles import Role
from dicom_node.supervisor import LONGEST_PAUSE_AFTER_KILL, Child
from tests.returning import Ward


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child(role=Role.WORK, name="worker-1")
    yield child
    if child.process is not None:
        child.process.kill()
        child.process.wait()


def deaths(child: Child, times: int) -> list[float]:
    """The pauses after so many deaths, without waiting for them."""
    pauses = []
    for _ in range(times):
        assert child.process is not None
        child.process.wait()
        child.started -= child.pause
        child.watch()
        pauses.append(child.pause)
        child.start()
    return pauses


def test_what_is_killed_again_and_again_is_back_within_a_second(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = f"import os; os.kill(os.getpid(), {signal.SIGKILL.value})"
    monkeypatch.setattr(supervisor, "command_line", lambda *_, **__: [sys.executable, "-c", killed])
    child.start()
    assert deaths(child, 4) == [0.25, 0.5, LONGEST_PAUSE_AFTER_KILL, LONGEST_PAUSE_AFTER_KILL]


def test_what_ends_by_itself_again_and_again_is_started_more_and_more_slowly(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "command_line", lambda *_, **__: [sys.executable, "-c", "raise SystemExit(1)"])
    child.start()
    assert deaths(child, 4) == [0.25, 0.5, 1.0, 2.0]


def test_what_the_queue_has_forgotten_is_found_while_the_node_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "MEND_SECONDS", 0.1)
    ward, end = Ward(tmp_path, Peer("PACS", "127.0.0.1", 104)), threading.Event()
    mending = threading.Thread(target=supervisor._keep_mended, args=(ward.settings, end))
    mending.start()
    time.sleep(0.5)
    assert ward.queued() == []
    ward.add_reading()
    deadline = time.monotonic() + 60
    while not ward.queued():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    end.set()
    mending.join()
    assert len(ward.queued()) == 1, "and once it is under way, it is left alone"
    ward.close()
