"""How many rows stand where. SQLite has it written down, by triggers of its own; PostgreSQL counts."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.journey.ledger import ReadingRow, ReceivedObject, RejectedObject, ReturnRow, ReturnState

_TALLIES = sa.table("tallies", sa.column("name", sa.String), sa.column("number", sa.BigInteger))

_RETURNS = {
    "waiting to be returned": ReturnState.WAITING,
    "stored": ReturnState.STORED,
    "returned": ReturnState.DELIVERED,
    "set aside": ReturnState.SET_ASIDE,
}
"""The words of `counts` for what is returned."""


def counts(session: Session) -> dict[str, int]:
    """How many objects stand where, by the words that `covid-xnet status` prints."""
    found = _tallies(session)
    objects = found.get("accepted", 0), found.get("not read", 0)
    returns = dict.fromkeys(ReturnState, 0)
    for numbers in _by_destination(found).values():
        for state, number in numbers.items():
            returns[ReturnState(state)] += number
    return {
        "received": sum(objects),
        "not read": objects[1],
        "rejected": found.get("rejected", 0),
        # Only what was accepted has a reading.
        "waiting to be read": objects[0] - found.get("read", 0) - found.get("failed", 0),
        "read": found.get("read", 0),
        "failed": found.get("failed", 0),
        "in shadow": found.get("in shadow", 0),
        **{words: returns[state] for words, state in _RETURNS.items()},
    }


def returns_by_destination(session: Session) -> dict[str, dict[str, int]]:
    """Destination -> `ReturnState` -> how many results."""
    return _by_destination(_tallies(session))


def _by_destination(tallies: dict[str, int]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for name, number in sorted(tallies.items()):
        state, at, destination = name.partition(" at ")
        if at and number:
            found.setdefault(destination, {})[state] = number
    return found


def _tallies(session: Session) -> dict[str, int]:
    """What the triggers write down, by their names, migration 0016."""
    if session.get_bind().dialect.name == "sqlite":
        return {row.name: row.number for row in session.execute(sa.select(_TALLIES))}
    found: dict[str, int] = {}
    for what, of in (
        (sa.case((ReceivedObject.accepted, "accepted"), else_="not read"), ReceivedObject),
        (sa.literal("rejected"), RejectedObject),
        (sa.case((ReadingRow.failure == "", "read"), else_="failed"), ReadingRow),
        (sa.case((ReadingRow.shadow, "in shadow"), else_="in the open"), ReadingRow),
        (ReturnRow.state + " at " + ReturnRow.destination, ReturnRow),
    ):
        name = what.label("name")
        query = sa.select(name, sa.func.count().label("number")).select_from(of).group_by(name)
        found |= {row.name: row.number for row in session.execute(query)}
    return found
