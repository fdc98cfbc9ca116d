"""What the runs of the journey are called in the queues; a run of the same name is the same run."""

from typing import Final

from dbos import EnqueueOptions

APPLICATION: Final = "covid-xnet"
JOURNEY_VERSION: Final = "2"
"""Order of the steps in workflow.py, a number. Raise it when a pending journey could not go on with the new order."""

READING_QUEUE: Final = "reading"
RETURN_QUEUE: Final = "return"
READ_WORKFLOW: Final = "read_radiograph"
RETURN_WORKFLOW: Final = "return_results"
PROBE_WORKFLOW: Final = "probe_destination"


def reading_options(journey: str, priority: int) -> EnqueueOptions:
    """How a journey begins; enqueuing it twice is enqueuing it once. priority: as for `return_options`."""
    options: EnqueueOptions = {"workflow_name": READ_WORKFLOW, "queue_name": READING_QUEUE, "workflow_id": journey}
    if priority:
        options["priority"] = priority
    return options


def return_options(
    run: str, destination: str, attempt: int, *, priority: int, delay_seconds: float = 0.0
) -> EnqueueOptions:
    """How a journey's results set out for one destination, whose sickness delays no other.

    run: what made them set out, such as the journey, or its second reading; enqueuing the same is enqueuing it once.
    priority: the journey's, from `urgency.place_in_queue`; 0, which goes before all, if it began before there were any.
    """
    options: EnqueueOptions = {
        "workflow_name": RETURN_WORKFLOW,
        "queue_name": RETURN_QUEUE,
        "workflow_id": f"{run}/{destination}/{attempt}",
        "queue_partition_key": destination,
    }
    if priority:
        options["priority"] = priority
    if delay_seconds:
        options["delay_seconds"] = delay_seconds
    return options


def probe_options(destination: str, opening: int, attempt: int, delay_seconds: float) -> EnqueueOptions:
    """How one return sets out to find out whether a destination is back; enqueuing the same is enqueuing it once.

    opening: which one of its circuit; attempt: the how manieth since then.
    """
    return {
        "workflow_name": PROBE_WORKFLOW,
        "queue_name": RETURN_QUEUE,
        "workflow_id": f"probe/{destination}/{opening}/{attempt}",
        "queue_partition_key": destination,
        "delay_seconds": delay_seconds,
    }
