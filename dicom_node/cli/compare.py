"""`covid-xnet compare`: two sets of networks on the same radiographs."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dicom_node.cli.context import settings_of
from dicom_node.errors import NodeError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare")(compare)


def compare(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", dir_okay=False, help="Write a page with a plot.", show_default=False)
    ] = None,
) -> None:
    """Compare the networks of SHADOW_WEIGHTS_DIR with those whose results are sent, on what both have read.

    Examples: covid-xnet compare
              covid-xnet compare --out compare.html
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from sqlalchemy.orm import Session

    from dicom_node.journey.database import open_engine, prepare
    from dicom_node.watch import comparison
    from dicom_node.watch.pages import comparison_lines, comparison_page

    settings = settings_of(ctx)
    prepare(settings)
    engine = open_engine(settings)
    with Session(engine) as session:
        found = comparison.compare(session)
    engine.dispose()
    if found is None:
        raise NodeError("No second networks have read anything.", hint="Set shadow_weights_dir, and restart the node.")
    if out is not None:
        try:
            out.write_text(comparison_page(found), "utf-8")
        except OSError as e:
            raise NodeError(f"{out} cannot be written: {e.strerror}.") from e
    if as_json:
        said = asdict(found)
        del said["pairs"]  # as many as radiographs
        typer.echo(json.dumps({**said, "agreement": found.agreement}, indent=2))
        return
    console = Console(highlight=False)
    console.print(
        f"{found.first} and, in shadow, {found.second}: {found.both} radiographs, {found.failed} failed in it"
    )
    table = Table(f"{found.first} \\ {found.second}", *comparison.VERDICTS, box=box.SIMPLE_HEAD)
    for one, row in found.confusion.items():
        table.add_row(one, *(str(row[two]) for two in comparison.VERDICTS))
    console.print(table)
    for line in comparison_lines(found):
        console.print(line, markup=False)
