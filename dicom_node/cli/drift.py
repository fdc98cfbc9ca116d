"""`covid-xnet drift`: whether radiographs and scores are still those that the node was commissioned on."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_node.cli.context import settings_of
from dicom_node.errors import NodeError

if TYPE_CHECKING:  # commands import what is large when they run: --help answers at once
    from dicom_node.watch.drift import Drift


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("drift")(drift)


def drift(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", dir_okay=False, help="Write a page with plots.", show_default=False)
    ] = None,
) -> None:
    """Compare each sender's latest radiographs and scores with those of the week that it was commissioned on.

    Examples: covid-xnet drift
              covid-xnet drift --out drift.html
    """
    from sqlalchemy.orm import Session

    from dicom_node.journey.database import open_engine, prepare
    from dicom_node.watch.drift import drifts

    settings = settings_of(ctx)
    prepare(settings)
    engine = open_engine(settings)
    with Session(engine) as session:
        found = drifts(session)
    engine.dispose()
    if out is not None:
        from dicom_node.watch.pages import drift_page

        try:
            out.write_text(drift_page(found), "utf-8")
        except OSError as e:
            raise NodeError(f"{out} cannot be written: {e.strerror}.") from e
    if as_json:
        typer.echo(json.dumps([_as_json(each) for each in found], indent=2))
        return
    _print(found)


def _as_json(drift: "Drift") -> dict[str, Any]:
    said = asdict(drift)
    for shift, plain in zip(drift.shifts, said["shifts"], strict=True):
        del plain["reference"], plain["latest"]  # hundreds of numbers
        plain["ks"], plain["p"] = shift.ks()
        plain["drifted"] = shift.drifted
    return said


def _print(found: "list[Drift]") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from dicom_node.watch.drift import FEWEST

    console = Console(highlight=False)
    if not found:
        console.print("Nothing was read yet.")
    for each in found:
        console.print(
            f"{each.calling_ae}, {each.model}: {each.read[0]} readings of {each.reference_of} against the last "
            f"{each.read[1]}",
            markup=False,
        )
        if not each.shifts:
            console.print(f"Too few: {FEWEST} of each are needed.")
        moved = Table("", "PSI", "KS", "p", "", box=box.SIMPLE_HEAD)
        for shift in each.shifts:
            state = "[red]drifted[/]" if shift.drifted else ""
            ks, p = shift.ks()
            moved.add_row(shift.quantity, f"{shift.psi:.2f}", f"{ks:.2f}", f"{p:.2g}", state)
        rates = Table("share", "reference", "latest", box=box.SIMPLE_HEAD)
        for rate in each.rates:
            rates.add_row(
                rate.name, *(f"{k / n:.1%} ({k} of {n})" if n else "" for k, n in (rate.reference, rate.latest))
            )
        for table in ([moved] if each.shifts else []) + [rates]:
            console.print(table)
