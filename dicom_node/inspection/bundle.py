"""What a developer needs to know of a node that is in trouble: numbers, versions and states, and nobody's identity.

It is made of what is safe, not of everything with names removed: of the ledger only sums go in, never a row; of texts
only those that the node has written itself, which quote nothing that was received.
"""

import json
import platform
import sys
from collections.abc import Callable
from importlib.metadata import distributions
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node import __version__
from dicom_node.inspection.health import examine
from dicom_node.inspection.software import schema_of
from dicom_node.journey.ledger import ReadingRow, ReceivedObject, RejectedObject, ReturnRow, circuits, utc
from dicom_node.journey.queue_tables import queue_tables
from dicom_node.journey.site import commissioning_file
from dicom_node.journey.tallies import counts, returns_by_destination
from dicom_node.settings import Settings

_NOBODY: Final = ("by",)
"""Of a commissioning: who signed it."""


def contents(settings: Settings, engine: sa.Engine) -> dict[str, str]:
    """Name of each file -> its text. What cannot be found out stands there as the kind of the error."""
    parts: dict[str, Callable[[], Any]] = {
        "versions.json": _versions,
        "health.json": lambda: _health(settings, engine),
        "schema.json": lambda: dict(zip(("found", "needed"), schema_of(engine), strict=True)),
        "counts.json": lambda: _counts(engine),
        "queue.json": lambda: _queue(engine),
        "models.json": lambda: _models(settings),
        "commissioning.json": lambda: _commissioning(settings),
        "files.json": lambda: _files(settings),
    }
    return {name: json.dumps(_or_why_not(part), indent=2, sort_keys=True) + "\n" for name, part in parts.items()}


def _or_why_not(part: Callable[[], Any]) -> Any:
    try:
        return part()
    # The edge: of a node in trouble anything may fail, and the rest is wanted all the same. Texts may quote: no text.
    except Exception as e:
        return {"not found out": type(e).__name__}


def _versions() -> dict[str, Any]:
    return {
        "covid-xnet": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        "packages": {each.name: each.version for each in distributions()},
    }


def _health(settings: Settings, engine: sa.Engine) -> dict[str, Any]:
    return {
        each.name: {"well": each.well, "detail": each.detail, "remedy": each.remedy}
        for each in examine(settings, engine)
    }


def _counts(engine: sa.Engine) -> dict[str, Any]:
    """Sums alone."""
    with Session(engine) as session:

        def by(*columns: Any) -> dict[str, int]:
            rows = session.execute(sa.select(*columns, sa.func.count()).group_by(*columns))
            return {" | ".join(map(str, row[:-1])): row[-1] for row in rows}

        return {
            "states": counts(session),
            "returns": returns_by_destination(session),
            "return reasons": by(ReturnRow.destination, ReturnRow.state, ReturnRow.status, ReturnRow.proof),
            "circuits": {
                name: {"state": row.state, "since": utc(row.since).isoformat(), "failures": row.failures}
                for name, row in circuits(session).items()
            },
            "gate": by(ReceivedObject.accepted, ReceivedObject.reason),
            "kinds": by(ReceivedObject.sop_class_uid, ReceivedObject.transfer_syntax_uid),
            "rejected": by(RejectedObject.status),
            "read": by(ReadingRow.model_name, ReadingRow.model_version, ReadingRow.verdict, ReadingRow.shadow),
            "failed": by(sa.case((ReadingRow.failure == "", "no"), else_="yes")),
        }


def _queue(engine: sa.Engine) -> dict[str, int]:
    runs = queue_tables(engine).runs
    with engine.connect() as connection:
        rows = connection.execute(
            sa.select(runs.c.queue_name, runs.c.status, sa.func.count()).group_by(runs.c.queue_name, runs.c.status)
        )
        return {f"{queue} | {status}": number for queue, status, number in rows}


def _models(settings: Settings) -> Any:
    from models.registry import MANIFEST, SHIPPED

    folder = settings.effective_weights_dir or SHIPPED
    return json.loads((folder / MANIFEST).read_text("utf-8"))


def _commissioning(settings: Settings) -> Any:
    file = commissioning_file(settings)
    if not file.exists():
        return {"signed": False}
    return {key: value for key, value in json.loads(file.read_text("utf-8")).items() if key not in _NOBODY}


def _files(settings: Settings) -> dict[str, Any]:
    """How much lies where; no names, for those of results are of journeys."""
    found = {}
    for folder in (settings.spool_dir, settings.results_dir, settings.audit_dir):
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        found[folder.name] = {"files": len(sizes), "bytes": sum(sizes)}
    return found
