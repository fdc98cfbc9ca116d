"""Start and stop DBOS in a process that works on journeys."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa
from dbos import DBOS, DBOSPortableJSONSerializer, error
from filelock import FileLock

from dicom_node.journey.clock import become_the_newest, hasten
from dicom_node.journey.runs import APPLICATION, JOURNEY_VERSION, READING_QUEUE, RETURN_QUEUE
from dicom_node.logs import log
from dicom_node.settings import Settings

POLL_SECONDS: Final = 0.1
RETURNS_AT_ONCE: Final = 4
"""Associations that one returner keeps to one destination."""
LAST_WORK_SECONDS: Final = 20
LOOK_SECONDS: Final = 15.0
"""How often an executor looks for runs that it was given and has lost."""

_present: Final[set[str]] = set()


@contextmanager
def working_on(
    queue: str,
    *,
    name: str,
    settings: Settings,
    engine: sa.Engine,
    first: Callable[[], None] = lambda: None,
    longest_wait: float = 0.0,
) -> Iterator[None]:
    """Take journeys from `queue` until the block ends; what is running then gets time to come to its end.

    name: of this executor. It resumes the journeys that an executor of the same name left when it died, so no two may
    run at once: a second one waits here until the first is gone.
    first: what to do when the name is ours, before a journey is resumed. longest_wait: seconds after which the latest
    run of the queue is due when it is enqueued.
    """
    with FileLock(settings.data_dir / f"{name}.lock", mode=0o600):
        first()
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_engine": engine,
                "serializer": DBOSPortableJSONSerializer(),
                "application_version": JOURNEY_VERSION,
                "executor_id": name,
                "log_level": "WARNING",
                "run_migrations": False,
                "notification_listener_polling_interval_sec": 1.0,
            }
        )
        DBOS.listen_queues([queue])
        DBOS.launch()
        become_the_newest(engine)
        if queue == READING_QUEUE:
            # One radiograph at a time: a process is one core.
            DBOS.register_queue(
                READING_QUEUE, worker_concurrency=1, polling_interval_sec=POLL_SECONDS, on_conflict="always_update"
            )
        else:
            DBOS.register_queue(
                RETURN_QUEUE,
                partition_worker_concurrency=RETURNS_AT_ONCE,
                polling_interval_sec=POLL_SECONDS,
                on_conflict="always_update",
            )
        log.info("working", queue=queue, name=name)
        end = threading.Event()
        look = threading.Thread(target=_look_after, args=(engine, queue, name, longest_wait, end), daemon=True)
        look.start()
        try:
            yield
        finally:
            end.set()
            look.join()
            DBOS.destroy(workflow_completion_timeout_sec=LAST_WORK_SECONDS)
            log.info("stopped", queue=queue, name=name)


@contextmanager
def present() -> Iterator[None]:
    """Decorates a workflow: while it runs, it is not taken for lost."""
    run = str(DBOS.workflow_id)
    _present.add(run)
    try:
        yield
    finally:
        _present.discard(run)


def _look_after(engine: sa.Engine, queue: str, name: str, longest_wait: float, end: threading.Event) -> None:
    """See to it that nothing in `queue` waits for ever, as long as this process works on it."""
    absent: set[str] = set()
    while not end.wait(LOOK_SECONDS):
        try:
            if hastened := hasten(engine, queue, longest_wait):
                log.warning("clock was set back", queue=queue, hastened=hastened)
            absent = _take_up_what_was_lost(queue, name, absent)
        except (sa.exc.SQLAlchemyError, error.DBOSException) as e:
            log.warning("not looked for what was lost", error=type(e).__name__)


def _take_up_what_was_lost(queue: str, name: str, suspects: set[str]) -> set[str]:
    """Give runs back to `queue` that this executor was given and that it does not run.

    If the database fails between the giving and the taking, or while the end of a run is written, the run breaks off
    and stands there as this executor's for ever: as long as it lives, nobody else recovers it.
    suspects: what was returned the last time: runs that are absent for the first time, perhaps just being begun.
    """
    given = DBOS.list_workflows(
        status="PENDING", executor_id=name, queue_name=queue, load_input=False, load_output=False
    )
    absent = {run.workflow_id for run in given} - _present
    for run in absent & suspects:
        DBOS.resume_workflow(run, queue_name=queue)
        log.warning("taken up again", run=run)
    return absent - suspects


def wait_for_the_end() -> None:
    """Wait until SIGTERM or SIGINT asks this process to end."""
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    asked.wait()
