"""Which journey goes first: the one whose deadline is earliest. Pure: times in, a place in the queue out.

A routine radiograph is due some minutes after it came, a STAT one at once. So STAT overtakes what came shortly before
it, and nothing waits for ever: what came later than a radiograph is due can never overtake it.
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final


class Urgency(StrEnum):
    """How soon a radiograph shall be read."""

    ROUTINE = "routine"
    STAT = "stat"


_BEGINNING: Final = datetime(2025, 1, 1, tzinfo=UTC)
_LAST: Final = 2**31 - 1
"""The queue keeps priorities from 1 to this one: seconds for 68 years."""


def place_in_queue(urgency: Urgency, received_at: datetime, advance: timedelta) -> int:
    """Give the priority with which a journey is enqueued: 1 to 2147483647, the lowest goes first.

    It is the moment when the radiograph is due, in seconds since 2025. Of one place, what came first goes first.
    received_at: aware. advance: how far STAT goes ahead of routine; not negative.
    """
    due = received_at if urgency is Urgency.STAT else received_at + advance
    return min(max(int((due - _BEGINNING).total_seconds()), 1), _LAST)
