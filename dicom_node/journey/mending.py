"""Set going again what the ledger waits for and the queue has forgotten.

It happens after a worker that never came back, or an upgrade that changed the order of the steps.

Every step looks into the ledger first, so that a run too many finds nothing to do.
"""

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.journey.ledger import OPEN_STATES, ReadingRow, ReceivedObject, ReturnRow
from dicom_node.journey.live import LiveRuns, live_runs
from dicom_node.journey.queue import JourneyQueue
from dicom_node.logs import log
from dicom_node.settings import Settings


def executors_of(settings: Settings) -> list[str]:
    """Names of the processes that `covid-xnet run` starts to work on journeys."""
    return [*(f"worker-{i + 1}" for i in range(settings.workers)), "returner"]


def awaited(session: Session) -> tuple[list[str], list[tuple[str, str]]]:
    """What the ledger waits for: journeys to be read, and journeys with results for a destination."""
    readings = session.scalars(
        sa.select(ReceivedObject.journey)
        .outerjoin(ReadingRow, ReadingRow.journey == ReceivedObject.journey)
        .where(ReceivedObject.accepted.is_(True), ReadingRow.journey.is_(None))
        .order_by(ReceivedObject.id)
    )
    returns = session.execute(
        sa.select(ReturnRow.journey, ReturnRow.destination).where(ReturnRow.state.in_(OPEN_STATES)).distinct()
    )
    return [journey for journey in readings if journey], [(journey, where) for journey, where in returns]


def forgotten(
    readings: Iterable[str], returns: Iterable[tuple[str, str]], live: LiveRuns
) -> tuple[list[str], list[tuple[str, str]]]:
    """Those of what is awaited that no run will bring.

    `live` must be younger than the others: what was done in between is then done twice at most, and not left out.
    """
    return [journey for journey in readings if journey not in live.readings], [
        (journey, destination)
        for journey, destination in returns
        if (journey, destination) not in live.returns
        and journey not in live.readings  # it will queue them
        and destination not in live.probed
    ]


def mend(settings: Settings, queue: JourneyQueue) -> int:
    """Set going again what is stranded or forgotten; returns how many journeys and returns.

    The node may run. Raises sqlalchemy.exc.OperationalError if the database cannot take it now.
    """
    with Session(queue.engine) as session:
        awaits = awaited(session)
        live = live_runs(session, settings.data_dir, executors=executors_of(settings))
    readings, returns = forgotten(*awaits, live)
    for run in live.stranded:
        log.warning("run given up", run=run.run, reason=run.why)
    if live.stranded:
        queue.give_up([run.run for run in live.stranded])
    for journey in readings:
        log.warning("journey mended", journey=journey)
        queue.read_anew(journey)
    for journey, destination in returns:
        log.warning("return mended", journey=journey, destination=destination)
        queue.return_anew(journey, destination)
    return len(readings) + len(returns)
