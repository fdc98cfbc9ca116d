"""The durable journey of one radiograph. The only file that knows the order of the steps.

    read   spool -> decode -> networks -> Secondary Capture + SR on disk -> ledger      (a worker, queue "reading")
    return results -> C-STORE to one destination -> ledger                              (the returner, queue "return")

Each step is recorded when it ends, and may run twice if a process dies before that: steps are idempotent,
and the UIDs of results derive from the journey, so nothing can appear twice. What is STAT goes first in both queues;
`priority` is 0 in journeys that began before there were any.
"""

from typing import TYPE_CHECKING, Final

from dbos import DBOS

from dicom_node.faultpoints import Point, reach
from dicom_node.journey.outcome import Outcome, Returned
from dicom_node.journey.queue import READ_WORKFLOW, RETURN_WORKFLOW, return_options

if TYPE_CHECKING:  # a worker never sends, and the returner carries no networks
    from dicom_node.journey.desk import ReturnDesk
    from dicom_node.journey.reader import Reader

LONGEST_WAIT: Final = 60.0


def wait_after(attempt: int, first_wait: float) -> float:
    """Seconds until the next attempt: doubles each time up to a minute."""
    return float(min(first_wait * 2.0 ** min(attempt - 1, 10), LONGEST_WAIT))


def register_reading(reader: "Reader", *, retry_seconds: float) -> None:
    """Teach this process the first half of the journey."""

    # No limit of recoveries: how often a radiograph may be begun is the reader's decision.
    @DBOS.workflow(name=READ_WORKFLOW, max_recovery_attempts=None)
    def read_radiograph(journey: str, priority: int = 0) -> str:
        tries = 1
        while (outcome := Outcome(DBOS.run_step({"name": "read"}, reader.read, journey))) is Outcome.LATER:
            DBOS.sleep(wait_after(tries, retry_seconds))
            tries += 1
        reach(Point.RETURNS_DUE)
        # Also of one that failed, for its report. A second reading of a journey has an id of its own, and so have its
        # returns: else they would be taken for those of the first.
        for destination in DBOS.run_step({"name": "destinations"}, reader.destinations_of, journey):
            options = return_options(str(DBOS.workflow_id), destination, 1, priority=priority)
            DBOS.enqueue_workflow_with_options(options, journey, destination, 1, priority)
            reach(Point.RETURN_QUEUED)
        return outcome


def register_returns(desk: "ReturnDesk", *, retry_seconds: float) -> None:
    """Teach this process the second half of the journey."""

    @DBOS.workflow(name=RETURN_WORKFLOW, max_recovery_attempts=None)
    def return_results(journey: str, destination: str, attempt: int, priority: int = 0) -> str:
        outcome = Returned(DBOS.run_step({"name": "return"}, desk.return_results, journey, destination))
        if outcome is Returned.LATER:
            reach(Point.RETURN_POSTPONED)
            # A new run instead of a sleep in this one: whoever waits keeps no slot of the queue.
            options = return_options(
                journey, destination, attempt + 1, priority=priority, delay_seconds=wait_after(attempt, retry_seconds)
            )
            options["workflow_id"] = f"{str(DBOS.workflow_id).rpartition('/')[0]}/{attempt + 1}"
            DBOS.enqueue_workflow_with_options(options, journey, destination, attempt + 1, priority)
        return outcome
