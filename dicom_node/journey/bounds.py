"""What bounds a worker: the memory and the time that one radiograph may take.

Decoders are C code that holds Python's lock, so no thread of Python could watch them. The kernel does: it gives no more
memory (RLIMIT_DATA), and it ends a process that computes too long (RLIMIT_CPU, SIGXCPU). A file names the radiograph
that is being read; a handler in C (faulthandler) adds how the process died, if it died of that radiograph, and the next
worker of the name reads these last words. SIGKILL adds nothing: whoever sends it does not mean the radiograph.
"""

import faulthandler
import math
import os
import re
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from dicom_node.errors import ConfigurationError

ROOM_MEGABYTES: Final = 200
"""What a radiograph of usual size takes beside the networks."""

_STALLED: Final = 20
"""Times the limit after which a process that does not even compute is ended: a dead lock, a disk that hangs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWords:
    """Of a worker that died of a radiograph. reason: without a full stop; stack: of each thread, names no patient."""

    journey: str
    reason: str
    stack: str


class Bounds:
    """The limits of this process, and the file in which it says what it reads. One per worker."""

    def __init__(self, file: Path, *, megabytes: int, seconds: int) -> None:
        """megabytes: of memory, resident, in all; seconds: of computing for one radiograph."""
        self._path = file
        self._megabytes = megabytes
        self._seconds = seconds

    def last_words(self) -> LastWords | None:
        """How the last process with this file died, if it died of a radiograph. Raises OSError."""
        try:
            journey, _, rest = self._path.read_text(encoding="utf-8", errors="replace").partition("\n")
        except FileNotFoundError:
            return None
        if not journey or not rest:
            return None
        if said := re.match(r"Fatal Python error: (.+)", rest):
            reason = f"it crashed the worker ({said[1]})"
        elif rest.startswith("memory\n"):
            reason = f"it needed more than {self._megabytes} MB of memory"
        else:
            reason = f"it needed more than {self._seconds} s of computing"
        return LastWords(journey=journey, reason=reason, stack=rest.removeprefix("memory\n").strip())

    def set_up(self) -> None:
        """Begin to keep the file; only after `last_words`, and only while no other process has it.

        Raises OSError, or ConfigurationError if there is no room for a radiograph beside the networks.
        """
        _, resident = _memory()
        if resident + ROOM_MEGABYTES * 10**6 > self._megabytes * 10**6:
            raise ConfigurationError(
                f"maximum_worker_megabytes = {self._megabytes} is too little: the networks take {resident // 10**6}.",
                hint=f"Set {resident // 10**6 + ROOM_MEGABYTES} or more.",
            )
        self._file = self._path.open("wb", buffering=0)
        self._path.chmod(0o600)
        # A core dump would be a patient's radiograph in a file that nobody guards.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        faulthandler.enable(self._file)
        faulthandler.register(signal.SIGXCPU, self._file, all_threads=True, chain=True)
        self._nowhere = Path(os.devnull).open("wb")  # noqa: SIM115

    @contextmanager
    def around(self, journey: str) -> Iterator[None]:
        """Hold the limits while `journey` is read; that of memory stays until the next one.

        Raises OSError if its name cannot be written.
        """
        self._note(f"{journey}\n")
        data, resident = _memory()
        # What is mapped now counts as resident already, so that nothing but the radiograph can fill the rest.
        _limit(resource.RLIMIT_DATA, data + max(0, self._megabytes * 10**6 - resident))
        _limit(resource.RLIMIT_CPU, math.ceil(time.process_time() + self._seconds))
        faulthandler.dump_traceback_later(_STALLED * self._seconds, exit=True, file=self._nowhere)
        try:
            yield
        except MemoryError:
            self._end(journey)
        finally:
            faulthandler.cancel_dump_traceback_later()
            _limit(resource.RLIMIT_CPU, resource.RLIM_INFINITY)
            self._note("")

    def _end(self, journey: str) -> NoReturn:
        # Other threads may have missed memory as well, and no longer be what they were: begin anew.
        self._note(f"{journey}\nmemory\n")
        signal.raise_signal(signal.SIGXCPU)
        raise AssertionError("SIGXCPU is ignored")

    def _note(self, text: str) -> None:
        self._file.truncate(0)
        self._file.seek(0)
        self._file.write(text.encode())


def _memory() -> tuple[int, int]:
    """Private memory that is mapped, and what is resident, in bytes. Source: proc(5), /proc/pid/status."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    data, resident = (re.search(rf"^{key}:\s+(\d+) kB$", status, re.MULTILINE) for key in ("VmData", "VmRSS"))
    assert data is not None
    assert resident is not None
    return int(data[1]) * 1024, int(resident[1]) * 1024


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
