"""`covid-xnet verify`: whether spool, ledger, queue, results and destinations agree."""

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_node.cli.context import settings_of

if TYPE_CHECKING:  # commands import what is large when they run: --help answers at once
    from dicom_node.journey.inquiry import Inquiry
    from dicom_node.journey.verify import Difference
    from dicom_node.settings import Settings

_OLD_SECONDS = 3600.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify)


def verify(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    digests: Annotated[
        bool, typer.Option("--digests", help="Also read every object in the spool, and compare its digest.")
    ] = False,
    no_ask: Annotated[
        bool, typer.Option("--no-ask", help="Do not ask the destinations by C-FIND for what they took.")
    ] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Set going again what nobody will do, and remove results older than an hour of no row."
        ),
    ] = False,
) -> None:
    """Compare spool, ledger, queue, results on disk and destinations, and name each difference. The node may run.

    Exit code 0: they agree, or did not and do now; 1: they do not.

    Examples: covid-xnet verify
              covid-xnet verify --digests --json
              covid-xnet verify --repair
    """
    from sqlalchemy.orm import Session

    from dicom_node.journey.database import open_engine, prepare
    from dicom_node.journey.inquiry import inquire
    from dicom_node.journey.verify import differences

    settings = settings_of(ctx)
    prepare(settings)
    engine = open_engine(settings)
    with Session(engine) as session:
        found = differences(settings, session, digests=digests)
        repaired = _repair(settings, found) if found and repair else 0
        if repaired:
            found = differences(settings, session, digests=digests)
        inquiries = [] if no_ask else list(inquire(settings, session))
    engine.dispose()
    found = [*found, *(missing for inquiry in inquiries for missing in inquiry.missing)]
    if as_json:
        typer.echo(json.dumps(_as_json(found, inquiries, repaired), indent=2))
    else:
        _print(found, inquiries, repaired)
    if found:
        raise typer.Exit(1)


def _repair(settings: "Settings", found: Sequence["Difference"]) -> int:
    """Returns how much was done."""
    from dicom_node.journey.mending import mend
    from dicom_node.journey.queue import JourneyQueue
    from dicom_node.journey.verify import Kind

    queue = JourneyQueue(settings)
    try:
        done = mend(settings, queue)
    finally:
        queue.close()
    for difference in found:
        if difference.kind is Kind.RESULT_UNKNOWN:
            file = settings.results_dir / difference.subject
            if file.exists() and time.time() - file.stat().st_mtime > _OLD_SECONDS:
                file.unlink()
                done += 1
    return done


def _as_json(found: Sequence["Difference"], inquiries: Sequence["Inquiry"], repaired: int) -> dict[str, Any]:
    return {
        "consistent": not found,
        "differences": [{"kind": d.kind.value, "subject": d.subject, "detail": d.detail} for d in found],
        "repaired": repaired,
        "destinations": [
            {"destination": i.destination, "asked": i.asked, "missing": len(i.missing), "unasked": i.unasked}
            for i in inquiries
        ],
    }


def _print(found: Sequence["Difference"], inquiries: Sequence["Inquiry"], repaired: int) -> None:
    for d in found:
        typer.echo(f"{d.kind.value}: {d.subject}{f' ({d.detail})' if d.detail else ''}")
    for i in inquiries:
        said = f"not asked: {i.unasked}" if i.unasked else f"asked for {i.asked} results, {len(i.missing)} missing"
        typer.echo(f"{i.destination} {said}")
    if repaired:
        typer.echo(f"{repaired} repaired.")
    typer.echo(f"{len(found)} differences." if found else "No difference.")
