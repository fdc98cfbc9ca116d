"""What a clock that is set must not do to the queue, for DBOS says by it when a run is due, and which version is new.

Set forward, everything is due at once, which does no harm. Set back, runs would wait until the clock has caught up.
"""

import time

import sqlalchemy as sa

from dicom_node.journey.queue_tables import queue_tables
from dicom_node.journey.runs import JOURNEY_VERSION


def hasten(engine: sa.Engine, queue: str, longest_wait: float) -> int:
    """Let runs of `queue` go at once that are due later than any run ever is, `longest_wait` seconds from now.

    Returns how many: they got their moment before the clock was set back, and nobody knows how long they have waited.
    """
    runs = queue_tables(engine).runs
    now = time.time()
    with engine.begin() as connection:
        return connection.execute(
            sa.update(runs)
            .where(runs.c.status == "DELAYED", runs.c.queue_name == queue)
            .where(runs.c.delay_until_epoch_ms > int((now + longest_wait) * 1000))
            .values(delay_until_epoch_ms=int(now * 1000))
        ).rowcount


def become_the_newest(engine: sa.Engine) -> None:
    """Let new journeys come to this version, if it is the highest that ever ran on this database.

    Whoever enqueues names no version, and such runs go to the one whose first start was the latest by the clock.
    """
    versions = queue_tables(engine).versions
    with engine.begin() as connection:
        known = connection.execute(sa.select(versions.c.version_name, versions.c.version_timestamp)).all()
        newest = max(moment for _, moment in known)
        if all(int(name) <= int(JOURNEY_VERSION) for name, _ in known):
            connection.execute(
                sa.update(versions)
                .where(versions.c.version_name == JOURNEY_VERSION, versions.c.version_timestamp < newest)
                .values(version_timestamp=newest + 1)
            )
