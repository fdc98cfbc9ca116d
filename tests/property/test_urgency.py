"""STAT overtakes, and nothing waits for ever, whatever comes in which order."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dicom_node.journey.urgency import Urgency, place_in_queue

BEGIN = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
ARRIVALS = st.lists(
    st.tuples(st.integers(0, 20_000), st.sampled_from([Urgency.ROUTINE, Urgency.STAT])), min_size=1, max_size=40
).map(sorted)
ADVANCES = st.integers(0, 10_000).map(lambda seconds: timedelta(seconds=seconds))


def order(arrivals: list[tuple[int, Urgency]], advance: timedelta) -> list[int]:
    """In which order the queue gives them out: by priority, then by time."""
    places = [
        (place_in_queue(urgency, BEGIN + timedelta(seconds=second), advance), number)
        for number, (second, urgency) in enumerate(arrivals)
    ]
    return [number for _, number in sorted(places)]


@given(ARRIVALS, ADVANCES)
def test_nothing_is_overtaken_by_what_comes_after_its_own_deadline(
    arrivals: list[tuple[int, Urgency]], advance: timedelta
) -> None:
    turn = {number: position for position, number in enumerate(order(arrivals, advance))}

    for waiting, (came, urgency) in enumerate(arrivals):
        due = came if urgency is Urgency.STAT else came + advance.total_seconds()
        overtakers = [late for late in range(waiting + 1, len(arrivals)) if turn[late] < turn[waiting]]
        assert all(arrivals[late][0] < due for late in overtakers)
        assert all(arrivals[late][1] is Urgency.STAT for late in overtakers)


@given(ARRIVALS, ADVANCES)
def test_stat_overtakes_every_routine_that_came_less_than_the_advance_before_it(
    arrivals: list[tuple[int, Urgency]], advance: timedelta
) -> None:
    turn = {number: position for position, number in enumerate(order(arrivals, advance))}

    for stat, (came, urgency) in enumerate(arrivals):
        for routine, (before, other) in enumerate(arrivals[:stat]):
            if (urgency, other) == (Urgency.STAT, Urgency.ROUTINE) and came - before < advance.total_seconds():
                assert turn[stat] < turn[routine]


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)), st.sampled_from(Urgency), ADVANCES)
def test_a_place_is_one_that_the_queue_can_keep_whatever_the_clock_says(
    clock: datetime, urgency: Urgency, advance: timedelta
) -> None:
    assert 1 <= place_in_queue(urgency, clock.replace(tzinfo=UTC), advance) <= 2_147_483_647
