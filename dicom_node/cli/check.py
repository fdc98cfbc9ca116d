"""`covid-xnet check`: look at everything, and send a test radiograph through the node."""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.cli.context import settings_of
from dicom_node.errors import ConfigurationError

if TYPE_CHECKING:  # commands import what is large when they run: --help answers at once
    from dicom_node.inspection.health import Check


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check")(check)


def check(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    no_send: Annotated[bool, typer.Option("--no-send", help="Do not send the test radiograph.")] = False,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, help="To wait at most until its results are closed.")
    ] = 180.0,
) -> None:
    """Look at everything a node needs, and say how to mend what is not well. The node may run, and should.

    Then sends a drawn radiograph of patient COVIDXNET-TEST through the node: its results go to the destinations.

    Exit code 0: all is well; 1: something is not.

    Examples: covid-xnet check
              covid-xnet check --no-send --json
    """
    from rich.console import Console

    console = Console(stderr=True)
    found: list[Check] = []
    with console.status("Looking", spinner="dots"):
        for each in _checks(ctx, send=not no_send, seconds=seconds):
            found.append(each)
    tell(found, as_json=as_json)


def tell(found: "Sequence[Check]", *, as_json: bool) -> None:
    """Print what was found as a table or JSON, and end with exit code 1 if something is not well."""
    well = all(each.well for each in found)
    if as_json:
        said = [{"name": each.name, "well": each.well, "detail": each.detail, "remedy": each.remedy} for each in found]
        typer.echo(json.dumps({"well": well, "checks": said}, indent=2))
    else:
        _print(found)
    if not well:
        raise typer.Exit(1)


def _checks(ctx: typer.Context, *, send: bool, seconds: float) -> "Iterable[Check]":
    from dicom_node.inspection.doctor import check_all
    from dicom_node.inspection.health import Check
    from dicom_node.journey.database import open_engine
    from dicom_node.logs import set_up

    try:
        settings = settings_of(ctx)
        set_up(settings.log_format)
        engine = open_engine(settings)
    except ConfigurationError as e:
        yield Check(name="configuration", well=False, detail=e.args[0], remedy=e.hint)
        return
    if not settings.data_dir.is_dir():
        remedy = "Start the node once with `covid-xnet run`, or set data_dir to where it has its data."
        yield Check(name="data_dir", well=False, detail=f"{settings.data_dir} is not there", remedy=remedy)
        return
    try:
        yield from check_all(settings, engine, send=send, seconds=seconds)
    finally:
        engine.dispose()


def _print(checks: "Iterable[Check]") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("", "what", "found", "remedy", box=box.SIMPLE_HEAD)
    for each in checks:
        mark = Text("well", "green") if each.well else Text("NOT WELL", "bold red")
        if each.well and each.remedy:
            mark = Text("advice", "yellow")
        table.add_row(mark, Text(each.name), Text(each.detail), Text(each.remedy))
    Console().print(table)
