"""What bounds a worker: each kind of death in a process of its own, and what the next worker learns of it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dicom_node.errors import ConfigurationError
from dicom_node.journey.bounds import Bounds, LastWords

PROGRAM = """
import os, re, signal, sys
from pathlib import Path
from dicom_node.journey.bounds import Bounds

bounds = Bounds(Path(sys.argv[1]), megabytes=400, seconds=3)
bounds.set_up()
if sys.argv[2] != "between":
    with bounds.around("before"):
        pass
    with bounds.around("j1"):
        exec(sys.argv[2])
os.kill(os.getpid(), signal.SIGKILL)
"""
CRASH = "import ctypes; ctypes.string_at(0)"
LONG = "re.match('(a+)+$', 'a' * 60 + 'b')"
"""In C, with Python's lock held."""


def last_words(folder: Path, does: str) -> tuple[int, LastWords | None]:
    file = folder / "worker.reading"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(file), does], capture_output=True, timeout=60, check=False
    )
    said = Bounds(file, megabytes=400, seconds=3).last_words()
    assert said is None or said.journey == "j1"
    return done.returncode, said


@pytest.mark.parametrize(
    ("does", "signal_number", "reason"),
    [
        ("held = bytearray(10**9)", signal.SIGXCPU, "it needed more than 400 MB of memory"),
        (LONG, signal.SIGXCPU, "it needed more than 3 s of computing"),
        (CRASH, signal.SIGSEGV, "it crashed the worker (Segmentation fault)"),
        ("os.abort()", signal.SIGABRT, "it crashed the worker (Aborted)"),
    ],
)
def test_who_dies_of_a_radiograph_says_which_and_why(
    tmp_path: Path, does: str, signal_number: int, reason: str
) -> None:
    code, said = last_words(tmp_path, does)

    assert code == -signal_number
    assert said is not None
    assert said.reason == reason
    assert "most recent call first" in said.stack


@pytest.mark.parametrize("does", ["os.kill(os.getpid(), signal.SIGKILL)", "pass", "os._exit(1)", "between"])
def test_who_is_killed_or_ends_says_nothing(tmp_path: Path, does: str) -> None:
    assert last_words(tmp_path, does)[1] is None


def test_the_first_worker_of_a_name_has_no_last_words(tmp_path: Path) -> None:
    assert Bounds(tmp_path / "worker.reading", megabytes=400, seconds=3).last_words() is None


def test_a_radiograph_within_the_bounds_is_left_alone_and_the_file_is_private(tmp_path: Path) -> None:
    file = tmp_path / "worker.reading"
    program = PROGRAM.replace("os.kill(os.getpid(), signal.SIGKILL)", "pass")
    subprocess.run([sys.executable, "-c", program, str(file), "held = bytearray(10**8)"], timeout=60, check=True)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_bytes() == b""


def test_a_bound_that_leaves_no_room_for_a_radiograph_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="maximum_worker_megabytes = 100 is too little"):
        Bounds(tmp_path / "worker.reading", megabytes=100, seconds=1).set_up()
    assert list(tmp_path.iterdir()) == []
