"""The command `covid-xnet`.

Exit codes: 0 done; 1 something failed, the message says what to do; 2 wrong usage or configuration;
130 interrupted.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dicom_node import __version__
from dicom_node.cli import (
    alerts,
    audit,
    bench,
    check,
    commission,
    compare,
    config,
    conformance,
    demo,
    drift,
    evaluate,
    feedback,
    journeys,
    judge,
    keeping,
    models,
    node,
    peer_list,
    peers,
    read,
    support,
    tokens,
    train,
    users,
    verify,
)
from dicom_node.errors import ConfigurationError, NodeError

app = typer.Typer(
    name="covid-xnet",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"covid-xnet {__version__}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="TOML file with the settings.", dir_okay=False, show_default=False),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Read chest radiographs beside the PACS with COVID-XNet. Investigational, not for diagnosis.

    Settings come from --config FILE, else from the file that COVIDXNET_CONFIG names, else from ./covid-xnet.toml;
    environment variables such as COVIDXNET_PORT win. `covid-xnet config example` prints them all.

    Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted.
    """
    ctx.obj = config


for commands in (
    node,
    check,
    peer_list,
    peers,
    journeys,
    verify,
    keeping,
    audit,
    users,
    judge,
    tokens,
    read,
    support,
    commission,
    feedback,
    drift,
    compare,
    alerts,
    config,
    conformance,
    models,
    train,
    evaluate,
    demo,
    bench,
):
    commands.register(app)


def main() -> None:
    """Run the command line; errors of the node end in one line on standard error."""
    try:
        app()
    except ConfigurationError as e:
        sys.stderr.write(f"covid-xnet: {e}\n")
        sys.exit(2)
    except NodeError as e:
        sys.stderr.write(f"covid-xnet: {e}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
