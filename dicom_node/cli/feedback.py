"""`covid-xnet feedback import | show`: verified radiographs, and how often the networks were right about them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.cli.context import settings_of
from dicom_node.cli.senders import signer_of
from dicom_node.errors import NodeError

if TYPE_CHECKING:  # commands import what is large when they run: --help answers at once
    from dicom_node.watch.performance import Performance, Share


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True, help="Say what radiographs turned out to show, and see how often it fits."
    )
    group.command("import")(import_table)
    group.command("show")(show)
    app.add_typer(group, name="feedback")


def import_table(
    ctx: typer.Context,
    table: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="CSV with a heading.")],
    by: Annotated[str, typer.Option("--by", help="Who enters it.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Take in what was verified by something else than the networks, such as PCR or a radiologist.

    Columns: sop_instance_uid or accession_number; label (covid, positive, normal, pneumonia, other, negative); source;
    date (2026-11-30). Rows that cannot be used are named and left out; then the exit code is 1. Can be repeated.

    Example: covid-xnet feedback import pcr.csv --by "Dr. Ada Example"
    """
    from sqlalchemy.orm import Session

    from dicom_node.audit import Kind
    from dicom_node.audit import Outcome as AuditOutcome
    from dicom_node.journey.audit_head import open_trail
    from dicom_node.journey.database import open_engine, prepare
    from dicom_node.watch.feedback import enter, parse

    signer = signer_of(by)
    settings = settings_of(ctx)
    try:
        with table.open(newline="", encoding="utf-8-sig") as lines:  # spreadsheets put a byte order mark before it
            verified, problems = parse(lines)
    except (OSError, UnicodeDecodeError, ValueError) as e:
        reason = "is no text in UTF-8" if isinstance(e, UnicodeDecodeError) else str(e)
        raise NodeError(f"{table}: {reason}.", hint="`covid-xnet feedback import --help` names the columns.") from None
    prepare(settings)
    engine = open_engine(settings)
    with Session(engine) as session, session.begin():
        entered = enter(session, verified, problems, by=signer)
    trail = open_trail(settings, engine, by="operator")
    trail.record(
        Kind.IMPORT,
        outcome=AuditOutcome.MINOR_FAILURE if entered.problems else AuditOutcome.SUCCESS,
        what="feedback",
        signed=signer,
        radiographs=entered.new + entered.corrected,
        refused=len(entered.problems),
    )
    trail.close()
    engine.dispose()
    if as_json:
        typer.echo(json.dumps(asdict(entered), indent=2))
    else:
        for problem in entered.problems:
            typer.echo(f"row {problem.row}: {problem.reason}", err=True)
        typer.echo(
            f"{entered.new} radiographs new, {entered.corrected} corrected, {entered.known} known already, "
            f"{entered.outdated} older than what is known; {len(entered.problems)} rows left out."
        )
    if entered.problems:
        raise typer.Exit(1)


def show(ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show sensitivity and specificity on verified radiographs, together and by sender, with 95 % intervals.

    Example: covid-xnet feedback show
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from sqlalchemy.orm import Session

    from dicom_node.journey.database import open_engine, prepare
    from dicom_node.watch.performance import account

    settings = settings_of(ctx)
    prepare(settings)
    engine = open_engine(settings)
    with Session(engine) as session:
        found = account(session)
    engine.dispose()
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
        return
    shown = Table("", "sensitivity", "specificity", "indeterminate", box=box.SIMPLE_HEAD)
    for name, each in (*found.by_sender.items(), ("all", found.overall)):
        shown.add_row(name, *_cells(each))
    console = Console()
    console.print(f"{found.model or 'Nothing was read yet.'}", markup=False)
    console.print(shown)
    if found.left_out:
        console.print(f"{found.left_out} more were verified and read by other networks last.")


def _cells(found: "Performance") -> tuple[str, str, str]:
    return _words(found.sensitivity), _words(found.specificity), str(found.indeterminate)


def _words(share: "Share") -> str:
    if share.share is None or share.low is None or share.high is None:
        return "nobody verified"
    return f"{share.share:.0%} ({share.low:.0%} to {share.high:.0%}; {share.k} of {share.n})"
