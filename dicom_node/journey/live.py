"""What the queue still has before it: which journeys, returns and probes will go on, and which nobody will take up."""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy.orm import Session

from dicom_node.journey.queue_tables import queue_tables
from dicom_node.journey.runs import JOURNEY_VERSION, PROBE_WORKFLOW, READ_WORKFLOW, RETURN_WORKFLOW

_LIVE: Final = ("ENQUEUED", "DELAYED", "PENDING")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranded:
    """A run that nobody will take up. run: its id; why: in words."""

    run: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRuns:
    """The runs that will go on, by what they are about."""

    readings: set[str] = field(default_factory=set)
    """Journeys."""
    returns: set[tuple[str, str]] = field(default_factory=set)
    """Journey and destination."""
    probed: set[str] = field(default_factory=set)
    """Destinations that are being tried out; what is parked for them will set out."""
    stranded: list[Stranded] = field(default_factory=list)


def live_runs(session: Session, data_dir: Path, *, executors: Collection[str]) -> LiveRuns:
    """Look at the queue.

    executors: names of the processes of this node, which resume what they left, now or when they start.
    """
    found = LiveRuns()
    gone: dict[str, bool] = {}
    runs = queue_tables(session.connection()).runs.c
    for run, name, status, executor, version, destination in session.execute(
        sa.select(
            runs.workflow_uuid,
            runs.name,
            runs.status,
            runs.executor_id,
            runs.application_version,
            runs.queue_partition_key,
        ).where(runs.status.in_(_LIVE))
    ):
        if version not in (None, JOURNEY_VERSION):
            found.stranded.append(Stranded(run=run, why=f"begun by version {version} of the journey"))
            continue
        if status == "PENDING" and executor not in executors:
            if executor not in gone:
                gone[executor] = not _runs(data_dir, executor)
            if gone[executor]:
                found.stranded.append(Stranded(run=run, why=f"held by {executor}, which does not run"))
                continue
        journey = run.split("/")[0]
        match name:
            case str(name) if name == READ_WORKFLOW:
                found.readings.add(journey)
            case str(name) if name == RETURN_WORKFLOW:
                found.returns.add((journey, destination))
            case str(name) if name == PROBE_WORKFLOW:
                found.probed.add(destination)
    return found


def _runs(data_dir: Path, executor: str) -> bool:
    """Whether somebody holds the lock of an executor."""
    if "/" in executor or not (data_dir / f"{executor}.lock").exists():
        return False
    lock = FileLock(data_dir / f"{executor}.lock", mode=0o600)
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True
