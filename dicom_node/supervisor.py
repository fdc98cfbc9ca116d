"""`covid-xnet run`: the whole node on one machine. Starts each role as a process of its own and keeps it alive."""

import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa
from filelock import FileLock, Timeout

from dicom_node.errors import ConfigurationError, NodeError
from dicom_node.faultpoints import Point, reach
from dicom_node.journey.database import check_integrity, prepare
from dicom_node.journey.mending import mend
from dicom_node.journey.queue import JourneyQueue
from dicom_node.logs import log
from dicom_node.roles import ONE_THREAD, Role, command_line
from dicom_node.settings import Settings

HEALTHY_SECONDS: Final = 10.0
"""A child that lived this long is started again at once."""
LONGEST_PAUSE: Final = 30.0
LONGEST_PAUSE_AFTER_KILL: Final = 1.0
"""Who was killed from outside, or by a radiograph that needs too much, does not die again when it starts."""
MEND_SECONDS: Final = 600.0
"""How often it is looked for what the ledger waits for and the queue has forgotten, beside the start."""
GRACE_SECONDS: Final = 40.0
"""How long children may take to end their work after SIGTERM."""


@dataclass(slots=True, kw_only=True)
class Child:
    """One role that is kept alive."""

    role: Role
    name: str
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = 0.0
    deaths: int = field(default=0)

    def start(self) -> None:
        """Start it as a process that ends with this one."""
        self.process = subprocess.Popen(
            command_line(self.role, self.name, supervisor=os.getpid()), env={**os.environ, **ONE_THREAD}
        )
        self.started = time.monotonic()
        log.info("started", role=self.role.value, name=self.name, pid=self.process.pid)
        reach(Point.ROLE_STARTED)

    def watch(self) -> None:
        """Start it again if it died: at once the first time, then more and more slowly while it keeps dying."""
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return
            if code == 2 and time.monotonic() - self.started < HEALTHY_SECONDS:
                raise ConfigurationError(f"{self.name} cannot start with this configuration; its message is above.")
            self.process = None
            self.deaths += 1
            lived = time.monotonic() - self.started
            longest = LONGEST_PAUSE_AFTER_KILL if code in (-signal.SIGKILL, -signal.SIGXCPU) else LONGEST_PAUSE
            self.pause = 0.0 if lived > HEALTHY_SECONDS else min(max(2 * self.pause, 0.25), longest)
            reach(Point.ROLE_DIED)
            log.error("died", role=self.role.value, name=self.name, code=code, restart_in=self.pause)
            self.started = time.monotonic()
        if time.monotonic() - self.started >= self.pause:
            self.start()


def supervise(settings: Settings) -> None:
    """Run the node until SIGTERM or SIGINT, then let each role end its work.

    Raises ConfigurationError if another node runs on the same data folder, or a role refuses the configuration,
    DatabaseDamaged if the database is not whole.
    """
    os.umask(0o077)
    prepare(settings)
    check_integrity(settings)
    reach(Point.DATABASE_PREPARED)
    lock = FileLock(settings.data_dir / "run.lock", mode=0o600)
    try:
        lock.acquire(timeout=1)
    except Timeout:
        raise ConfigurationError(
            f"Another node runs on data_dir {settings.data_dir}.",
            hint="Give each node a data_dir and a port of its own.",
        ) from None
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    children = [
        Child(role=Role.LISTEN, name="listener"),
        *(Child(role=Role.WORK, name=f"worker-{i + 1}") for i in range(settings.workers)),
        Child(role=Role.RETURN, name="returner"),
        *([Child(role=Role.WEB, name="web")] if settings.web_port else []),
    ]
    try:
        for child in children:
            child.watch()
        threading.Thread(target=_keep_mended, args=(settings, end), name="mending", daemon=True).start()
        while not end.is_set():
            for child in children:
                child.watch()
            end.wait(0.2)
    except NodeError as e:
        log.error("stopping", reason=str(e))
        raise
    finally:
        _end(children)
        lock.release()


def _keep_mended(settings: Settings, end: threading.Event) -> None:
    queue = JourneyQueue(settings)
    while not end.is_set():
        try:
            mend(settings, queue)
        except sa.exc.SQLAlchemyError as e:
            # The processes that need the database say so themselves, and try again.
            log.warning("not mended", reason=str(getattr(e, "orig", e)))
        end.wait(MEND_SECONDS)
    queue.close()


def _end(children: list[Child]) -> None:
    running = [c.process for c in children if c.process is not None and c.process.poll() is None]
    for process in running:
        process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for process in running:
        try:
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            # Its journeys are durable: the next start resumes them.
            log.warning("did not end in time, killed", pid=process.pid)
            process.kill()
            process.wait()
    log.info("all ended")
