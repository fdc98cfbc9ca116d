"""Work on a real queue in the test's own process."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dbos import DBOS

from dicom_node.journey.database import open_engine
from dicom_node.journey.engine import working_on
from dicom_node.settings import Settings


@contextmanager
def listed(settings: Settings, queue: str, workflow: str) -> Iterator[list[str]]:
    """Work on a queue with a workflow that does nothing but take down its first argument."""
    ran: list[str] = []
    # DBOS keeps what its process had when it first was used: a standard error that another test has closed,
    logging.getLogger("dbos").handlers.clear()
    # and each workflow by its name.
    DBOS.destroy(destroy_registry=True)

    @DBOS.workflow(name=workflow)
    def take_down(journey: str, *rest: object) -> str:
        ran.append(journey)
        time.sleep(0.05)
        return "read"

    try:
        with working_on(queue, name="test", settings=settings, engine=open_engine(settings)):
            yield ran
    finally:
        DBOS.destroy(destroy_registry=True)
