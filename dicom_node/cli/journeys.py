"""`covid-xnet status | retry`: where the objects stand, and what shall be tried again."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_node.cli.context import settings_of
from dicom_node.errors import NodeError
from dicom_node.peers import Peer

if TYPE_CHECKING:  # commands import what is large when they run: --help answers at once
    from rich.table import Table

    from dicom_node.journey.ledger import ReceivedObject, RejectedObject


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("status")(status)
    app.command("retry")(retry)


def status(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=0, help="How many objects to list; 0: all.")] = 20,
    study: Annotated[
        str | None,
        typer.Option("--study", metavar="UID", help="Only this study, and all its objects.", show_default=False),
    ] = None,
) -> None:
    """Show how many objects stand where, and what became of the last ones. Names no patient.

    Examples: covid-xnet status
              covid-xnet status --json --limit 0
              covid-xnet status --study 1.2.840.113619.2.5.1
    """
    from rich.console import Console
    from sqlalchemy.orm import Session

    from dicom_node.cli.destinations import destinations_of, show_destinations
    from dicom_node.cli.senders import as_json as sender_as_json
    from dicom_node.cli.senders import words_of
    from dicom_node.journey.database import open_engine, prepare
    from dicom_node.journey.ledger import latest, latest_rejected
    from dicom_node.journey.senders import senders
    from dicom_node.journey.tallies import counts

    settings = settings_of(ctx)
    prepare(settings)
    engine = open_engine(settings)
    with Session(engine) as session:
        numbers = counts(session)
        objects = [_object(row) for row in latest(session, None if study else limit or None, study=study)]
        destinations = destinations_of(session, settings)
        known = [sender_as_json(sender) for sender in senders(session)]
        rejected = [] if study else [_rejected(row) for row in latest_rejected(session, limit or None)]
    engine.dispose()
    if study:
        _show_study(study, objects, as_json)
        return
    if as_json:
        said = {
            "counts": numbers,
            "destinations": destinations,
            "senders": known,
            "objects": objects,
            "rejected": rejected,
        }
        typer.echo(json.dumps(said, indent=2))
        return
    console = Console()
    console.print(" · ".join(f"{name} [bold]{number}[/]" for name, number in numbers.items()))
    show_destinations(console, destinations)
    for sender in known if settings.shadow_until_commissioned else ():
        console.print(words_of(sender, shadow=True), markup=False)
    if objects:
        console.print(_table(objects))
    for row in rejected:
        console.print(
            f"rejected {row['rejected_at']} from {row['calling_ae']}: 0x{row['status']:04X} {row['reason']}",
            style="red",
            markup=False,  # a peer wrote part of it
        )


def _show_study(study: str, objects: list[dict[str, Any]], as_json: bool) -> None:
    """Show the objects of one study; a C-STORE that was refused names no study."""
    from rich.console import Console

    if not objects:
        raise NodeError(f"No object of study {study} was received.", hint="Check the Study Instance UID.")
    if as_json:
        typer.echo(json.dumps({"study_instance_uid": study, "objects": objects}, indent=2))
    else:
        Console().print(_table(objects))


def _object(row: "ReceivedObject") -> dict[str, Any]:
    from dicom_node.journey.ledger import utc

    reading = row.reading
    return {
        "sop_instance_uid": row.sop_instance_uid,
        "study_instance_uid": row.study_instance_uid,
        "calling_ae": row.calling_ae,
        "received_at": row.received_at.isoformat(),
        "times_received": row.times_received,
        "accepted": row.accepted,
        "reason": row.reason,
        "detail": row.detail,
        "view": row.view,
        "evidence": row.evidence,
        "flags": row.flags,
        "urgency": row.urgency,
        "urgency_evidence": row.urgency_evidence,
        "journey": row.journey,
        "reading": None
        if reading is None
        else {
            "read_at": reading.read_at.isoformat(),
            "failure": reading.failure,
            "score": reading.score,
            "verdict": reading.verdict,
            "shadow": reading.shadow,
            "model": f"{reading.model_name} {reading.model_version}".strip(),
            "milliseconds": reading.milliseconds,
            "stages": reading.stages,
            "repairs": reading.repairs,
            "probability": reading.probability,
            "commissioning": reading.commissioning,
            "statistics": reading.statistics,
        },
        "returns": [
            {
                "destination": r.destination,
                "kind": r.kind,
                "sop_instance_uid": r.sop_instance_uid,
                "state": r.state,
                "status": r.status,
                "transfer_syntax_uid": r.transfer_syntax_uid,
                "proof": r.proof,
                "reason": r.reason,
                "failure_reason": r.failure_reason,
                "attempts": r.attempts,
                "changed_at": utc(r.changed_at).isoformat(),
            }
            for r in row.returns
        ],
    }


def _rejected(row: "RejectedObject") -> dict[str, Any]:
    return {
        "sop_instance_uid": row.sop_instance_uid,
        "sop_class_uid": row.sop_class_uid,
        "calling_ae": row.calling_ae,
        "rejected_at": row.rejected_at.isoformat(),
        "status": row.status,
        "reason": row.reason,
    }


def _table(objects: list[dict[str, Any]]) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from dicom_node.journey.urgency import Urgency

    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("received", "from", "SOP Instance UID", "gate", "reading", "returned"):
        table.add_column(heading, overflow="fold")
    for o in objects:
        reading = o["reading"]
        # Text: what peers wrote may look like markup.
        gate = Text(f"{o['view']} ({o['evidence']})") if o["accepted"] else Text(o["reason"], "yellow")
        if reading is None:
            said = Text("waiting" if o["accepted"] else "")
        elif reading["failure"]:
            said = Text(reading["failure"], "red")
        else:
            said = Text(f"{reading['score']:.3f} {reading['verdict']}")
        if reading and reading["shadow"]:
            said.append("\nin shadow", "dim")
        for repair in reading["repairs"] if reading else ():
            said.append(f"\n{repair}", "yellow")
        returned = "\n".join(
            f"{r['kind']} {r['state']}{': ' if r['reason'] or r['proof'] else ''}{r['reason'] or r['proof']}"
            for r in o["returns"]
        )
        if o["urgency"] == Urgency.STAT:
            gate = Text("STAT ", "bold") + gate
        table.add_row(o["received_at"][:19], Text(o["calling_ae"]), o["sop_instance_uid"], gate, said, Text(returned))
    return table


def retry(
    ctx: typer.Context,
    destination: Annotated[
        str | None, typer.Option("--destination", help="Only returns to this one, AET@host:port.", show_default=False)
    ] = None,
    study: Annotated[
        str | None, typer.Option("--study", metavar="UID", help="Only of this study.", show_default=False)
    ] = None,
    instance: Annotated[
        str | None,
        typer.Option("--object", metavar="UID", help="Only of the radiograph of this UID.", show_default=False),
    ] = None,
    journey: Annotated[
        str | None, typer.Option("--journey", metavar="ID", help="Only of this journey.", show_default=False)
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Also read again what could not be read.")] = False,
) -> None:
    """Offer results that were set aside to their destinations again.

    Examples: covid-xnet retry
              covid-xnet retry --destination PACS@10.1.2.3:104
              covid-xnet retry --study 1.2.840.113619.2.5.1
              covid-xnet retry --failed
    """
    import sqlalchemy as sa

    from dicom_node.journey.database import prepare
    from dicom_node.journey.ledger import ReceivedObject
    from dicom_node.journey.queue import JourneyQueue

    settings = settings_of(ctx)
    if destination is not None:
        try:
            destination = str(Peer.parse(destination))
        except ValueError as e:
            raise typer.BadParameter(str(e), param_hint="--destination") from None
    wanted = {
        ReceivedObject.study_instance_uid: study,
        ReceivedObject.sop_instance_uid: instance,
        ReceivedObject.journey: journey,
    }
    only = sa.and_(sa.true(), *(column == value for column, value in wanted.items() if value is not None))
    prepare(settings)
    queue = JourneyQueue(settings)
    try:
        returns = queue.retry_returns(destination, only=only)
        readings = queue.retry_readings(only=only) if failed else 0
        purged = queue.purged_failures() if failed else 0
    finally:
        queue.close()
    typer.echo(
        f"{returns} results will be returned again" + (f", {readings} radiographs read again." if failed else ".")
    )
    if purged:
        typer.echo(f"{purged} cannot be read again: their files were purged. Send them to the node once more.")
