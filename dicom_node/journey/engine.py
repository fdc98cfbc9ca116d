"""Start and stop DBOS in a process that works on journeys."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa
from dbos import DBOS, DBOSPortableJSONSerializer
from filelock import FileLock

from dicom_node.journey.queue import APPLICATION, READING_QUEUE, RETURN_QUEUE
from dicom_node.logs import log
from dicom_node.settings import Settings

JOURNEY_VERSION: Final = "1"
"""Order of the steps in workflow.py. Raise it when a pending journey could not go on with the new order."""

POLL_SECONDS: Final = 0.1
RETURNS_AT_ONCE: Final = 4
"""Associations that one returner keeps to one destination."""
LAST_WORK_SECONDS: Final = 20


@contextmanager
def working_on(
    queue: str, *, name: str, settings: Settings, engine: sa.Engine, first: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Take journeys from `queue` until the block ends; what is running then gets time to come to its end.

    name: of this executor. It resumes the journeys that an executor of the same name left when it died, so no two may
    run at once: a second one waits here until the first is gone.
    first: what to do when the name is ours, before a journey is resumed.
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
        try:
            yield
        finally:
            DBOS.destroy(workflow_completion_timeout_sec=LAST_WORK_SECONDS)
            log.info("stopped", queue=queue, name=name)


def wait_for_the_end() -> None:
    """Wait until SIGTERM or SIGINT asks this process to end."""
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    asked.wait()
