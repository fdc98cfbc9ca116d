"""What `covid-xnet status` says of the destinations: their circuits, and how many results they have or lack."""

from typing import TYPE_CHECKING, Any

from dicom_node.settings import Settings

if TYPE_CHECKING:  # commands import what is large when they run: --help answers at once
    from datetime import datetime

    from rich.console import Console
    from sqlalchemy.orm import Session


def destinations_of(session: "Session", settings: Settings) -> list[dict[str, Any]]:
    """Each destination that is configured or has ever got results, for `status --json`."""
    from dicom_node.journey.ledger import CircuitState, ReturnState, circuits, utc
    from dicom_node.journey.tallies import returns_by_destination

    def when(moment: "datetime | None") -> str | None:
        return None if moment is None else utc(moment).isoformat()

    known, numbers = circuits(session), returns_by_destination(session)
    found = []
    for name in dict.fromkeys((*(str(d.peer) for d in settings.destinations), *known, *numbers)):
        row = known.get(name)
        found.append(
            {
                "destination": name,
                "circuit": CircuitState.CLOSED.value if row is None else row.state,
                "since": None if row is None else when(row.since),
                "failures": 0 if row is None else row.failures,
                "last_contact_at": None if row is None else when(row.last_contact_at),
                "last_error": "" if row is None else row.last_error,
                "last_error_at": None if row is None else when(row.last_error_at),
                "results": {state.value: numbers.get(name, {}).get(state, 0) for state in ReturnState},
            }
        )
    return found


def show_destinations(console: "Console", destinations: list[dict[str, Any]]) -> None:
    """A line for each destination, and why its circuit is open."""
    for d in destinations:
        results = " · ".join(f"{state} {number}" for state, number in d["results"].items())
        is_open = d["circuit"] != "closed"
        trouble = f", {d['circuit']} since {d['since'][:19]}: {d['last_error']}" if is_open else ""
        contact = f", last answer {d['last_contact_at'][:19]}" if d["last_contact_at"] else ", no answer yet"
        console.print(
            f"{d['destination']}: {results}{contact}{trouble}", style="red" if is_open else None, markup=False
        )
