"""`covid-xnet audit verify | show`: the audit trail."""

import json
from typing import Annotated

import typer

from dicom_node.cli.context import settings_of
from dicom_node.errors import NodeError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    audit = typer.Typer(help="The audit trail: who did what to which study.", no_args_is_help=True)
    audit.command("verify")(verify)
    audit.command("show")(show)
    app.add_typer(audit, name="audit")


def verify(ctx: typer.Context) -> None:
    """Check that no line of the audit trail was changed, put in or removed; names the first broken one.

    Example: covid-xnet audit verify
    """
    from dicom_node.audit import first_fault
    from dicom_node.journey.audit_head import known_head
    from dicom_node.journey.database import open_engine, prepare

    settings = settings_of(ctx)
    prepare(settings)
    engine = open_engine(settings)
    known = known_head(engine)  # before the files: they may grow meanwhile
    engine.dispose()
    if fault := first_fault(settings.audit_dir, known):
        raise NodeError(f"The audit trail is broken. {fault}", hint="Keep it as it is, and find out who had access.")
    typer.echo(f"The audit trail is whole: the ledger knows {known.number} lines, and all are as they were written.")


def show(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON lines, as they were written.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=0, help="How many lines, the newest; 0: all.")] = 50,
) -> None:
    """Show the audit trail, the oldest line first. That it was shown goes into it, too.

    Examples: covid-xnet audit show
              covid-xnet audit show --json --limit 0
    """
    from collections import deque

    from dicom_node.audit import Kind, entries
    from dicom_node.journey.audit_head import open_trail
    from dicom_node.journey.database import open_engine, prepare

    settings = settings_of(ctx)
    prepare(settings)
    for entry in deque(entries(settings.audit_dir), limit or None):
        if as_json:
            typer.echo(json.dumps(entry))
            continue
        known = ("number", "at", "code", "event", "outcome", "by", "previous", "digest")
        more = " ".join(f"{key}={json.dumps(value)}" for key, value in entry.items() if key not in known)
        failed = "" if entry.get("outcome") == 0 else " FAILED"
        typer.echo(f"{entry.get('number')} {entry.get('at')} {entry.get('by')}: {entry.get('event')}{failed} {more}")
    engine = open_engine(settings)
    trail = open_trail(settings, engine, by="operator")
    trail.record(Kind.AUDIT_LOG_USED)
    trail.close()
    engine.dispose()
