"""A wall clock for processes of a test that can be set while they run."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_name("clock.c")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Not of the test's own process, which has the right time."""

    file: Path

    def set(self, wrong_by: timedelta) -> None:
        """Set it, for every process that has it, at once."""
        with self.file.open("r+b") as file:
            os.pwrite(file.fileno(), int(wrong_by.total_seconds()).to_bytes(8, "little", signed=True), 0)


@contextmanager
def settable_clock(folder: Path) -> Iterator[Clock]:
    """Processes that are started in the block have this clock; it is right at first."""
    compiler = shutil.which("gcc")
    assert compiler, "gcc is missing: install the Debian packages gcc and libc6-dev"
    library = folder / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-o", library, _SOURCE], check=True)
    file = folder / "clock"
    file.write_bytes(bytes(8))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CLOCK_FILE", str(file))
        environment.setenv("LD_PRELOAD", str(library))
        yield Clock(file=file)
