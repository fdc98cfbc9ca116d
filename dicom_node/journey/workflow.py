"""The durable journey of one radiograph. The only file that knows the order of the steps.

    read    spool -> decode -> networks -> Secondary Capture + SR on disk -> ledger      (a worker, queue "reading")
            then, in shadow, second networks on the same radiograph -> ledger           (if there are any)
    return  C-STORE to one destination -> ledger -> proof that it has them -> ledger     (the returner, queue "return")
    probe   one return finds out whether a destination is back -> all the others set out (the returner, queue "return")

Each step is recorded when it ends, and may run twice if a process dies before that: steps are idempotent,
and the UIDs of results derive from the journey, so nothing can appear twice. What is STAT goes first in both queues;
`priority` is 0 in journeys that began before there were any.
"""

import random
import time
from typing import TYPE_CHECKING, Final

from dbos import DBOS, StepOptions

from dicom_node.faultpoints import Point, reach
from dicom_node.journey.engine import present
from dicom_node.journey.outcome import Outcome, Returned
from dicom_node.journey.runs import PROBE_WORKFLOW, READ_WORKFLOW, RETURN_WORKFLOW, probe_options, return_options

if TYPE_CHECKING:  # a worker never sends, and the returner carries no networks
    from dicom_node.journey.desk import ReturnDesk
    from dicom_node.journey.reader import Reader
    from dicom_node.journey.side_by_side import SecondReader

LONGEST_WAIT: Final = 60.0


def wait_after(attempt: int, first_wait: float) -> float:
    """Seconds until the next attempt: doubles each time up to a minute.

    Between half of that and all of it, by chance, so that those who failed together do not come back together.
    """
    return float(min(first_wait * 2.0 ** min(attempt - 1, 10), LONGEST_WAIT)) * random.uniform(0.5, 1.0)


def _until_it_works(name: str) -> StepOptions:
    """Of a step that only asks the ledger: if it ended in an error, so would the run, and nobody would go on."""
    return {
        "name": name,
        "retries_allowed": True,
        "max_attempts": 100_000,
        "interval_seconds": 2.0,
        "backoff_rate": 1.0,
    }


def register_reading(reader: "Reader", second: "SecondReader | None" = None, *, retry_seconds: float) -> None:
    """Teach this process the first half of the journey."""

    # No limit of recoveries: how often a radiograph may be begun is the reader's decision.
    @DBOS.workflow(name=READ_WORKFLOW, max_recovery_attempts=None)
    @present()
    def read_radiograph(journey: str, priority: int = 0) -> str:
        tries = 1
        while (outcome := Outcome(DBOS.run_step({"name": "read"}, reader.read, journey))) is Outcome.LATER:
            # Not DBOS.sleep, which waits for a moment of the clock: set back, it would keep a worker that starts anew.
            DBOS.run_step({"name": "wait"}, time.sleep, wait_after(tries, retry_seconds))
            tries += 1
        reach(Point.RETURNS_DUE)
        # Also of one that failed, for its report. A second reading of a journey has an id of its own, and so have its
        # returns: else they would be taken for those of the first.
        for destination in DBOS.run_step(_until_it_works("destinations"), reader.destinations_of, journey):
            options = return_options(str(DBOS.workflow_id), destination, 1, priority=priority)
            DBOS.enqueue_workflow_with_options(options, journey, destination, 1, priority)
            reach(Point.RETURN_QUEUED)
        if second is not None and outcome is Outcome.READ:
            DBOS.run_step({"name": "second"}, second.read, journey)
        return outcome


def register_returns(desk: "ReturnDesk", *, retry_seconds: float, commitment_timeout: float) -> None:
    """Teach this process the second half of the journey."""

    @DBOS.workflow(name=RETURN_WORKFLOW, max_recovery_attempts=None)
    @present()
    def return_results(journey: str, destination: str, attempt: int, priority: int = 0, turn: int = 1) -> str:
        outcome = Returned(DBOS.run_step({"name": "return"}, desk.return_results, journey, destination, turn))
        if outcome is Returned.PARKED:
            opening = DBOS.run_step(_until_it_works("opening"), desk.opening, destination)
            reach(Point.RETURN_PARKED)
            if opening is not None:  # else it was closed meanwhile, and who did it has sent these out, too
                send_probe(destination, opening, 1)
        elif outcome is not Returned.CLOSED:
            reach(Point.RETURN_POSTPONED)
            # A new run instead of a sleep in this one: whoever waits keeps no slot of the queue.
            wait = commitment_timeout if outcome is Returned.AWAITED else wait_after(attempt, retry_seconds)
            options = return_options(journey, destination, attempt + 1, priority=priority, delay_seconds=wait)
            options["workflow_id"] = f"{str(DBOS.workflow_id).rpartition('/')[0]}/{attempt + 1}"
            DBOS.enqueue_workflow_with_options(options, journey, destination, attempt + 1, priority, turn)
        return outcome

    @DBOS.workflow(name=PROBE_WORKFLOW, max_recovery_attempts=None)
    @present()
    def probe_destination(destination: str, opening: int, attempt: int) -> bool:
        back: bool = DBOS.run_step({"name": "probe"}, desk.probe, destination, opening)
        if not back:
            send_probe(destination, opening, attempt + 1)
        else:
            reach(Point.CIRCUIT_CLOSED)
            for journey, priority, turn in DBOS.run_step(
                _until_it_works("release"), desk.release, destination, opening
            ):
                options = return_options(f"{journey}/released/{opening}/{turn}", destination, 1, priority=priority)
                DBOS.enqueue_workflow_with_options(options, journey, destination, 1, priority, turn)
        return back

    def send_probe(destination: str, opening: int, attempt: int) -> None:
        # Whoever finds the circuit open sends it: the first time is the only one that counts.
        options = probe_options(destination, opening, attempt, wait_after(attempt, retry_seconds))
        DBOS.enqueue_workflow_with_options(options, destination, opening, attempt)
