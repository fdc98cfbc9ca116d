"""`covid-xnet run | listen | work | return | web | health`: the node, whole or by roles, and whether it is well."""

import json
from typing import Annotated

import typer

from dicom_node import logs
from dicom_node.cli.context import settings_of
from dicom_node.errors import NodeError

NameOption = Annotated[
    str,
    typer.Option(
        "--name", help="Of this process. It resumes what a process of that name left when it died, so keep it stable."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("run")(run)
    app.command("listen")(listen)
    app.command("work")(work)
    app.command("return")(return_results)
    app.command("web")(web)
    app.command("health")(health)


def run(ctx: typer.Context) -> None:
    """Run the node on this machine: one listener, WORKERS workers and one returner, restarted when they die.

    SIGTERM or Ctrl-C ends it: running work comes to its end or stays safely queued.

    Example: COVIDXNET_DESTINATIONS=PACS@10.1.2.3:104 covid-xnet run
    """
    from dicom_node.supervisor import supervise

    settings = settings_of(ctx)
    logs.set_up(settings.log_format)
    supervise(settings)


def listen(ctx: typer.Context) -> None:
    """Run the listener alone: receives objects over DICOM, judges them, and queues what is to be read.

    Example: covid-xnet -c /etc/covid-xnet.toml listen
    """
    from dicom_node.journey.prepared import ensure_prepared
    from dicom_node.roles import Role, become

    ensure_prepared(settings_of(ctx))
    become(Role.LISTEN, "listener")


def work(ctx: typer.Context, name: NameOption = "worker-1") -> None:
    """Run one worker alone: takes radiographs from the queue and reads them.

    Example: covid-xnet work --name worker-2
    """
    from dicom_node.journey.prepared import ensure_prepared
    from dicom_node.roles import Role, become

    ensure_prepared(settings_of(ctx))
    become(Role.WORK, name)


def return_results(ctx: typer.Context, name: NameOption = "returner") -> None:
    """Run the returner alone: gives results to the destinations.

    Example: covid-xnet return
    """
    from dicom_node.journey.prepared import ensure_prepared
    from dicom_node.roles import Role, become

    ensure_prepared(settings_of(ctx))
    become(Role.RETURN, name)


def web(ctx: typer.Context) -> None:
    """Serve the pages for monitors alone: /health/live, /health/ready, /metrics, at WEB_HOST and WEB_PORT.

    Example: COVIDXNET_WEB_PORT=8080 covid-xnet web
    """
    from dicom_node.journey.prepared import ensure_prepared
    from dicom_node.roles import Role, become

    ensure_prepared(settings_of(ctx))
    become(Role.WEB, "web")


def health(ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Say whether the node is well: database, disk, listener, workers, returner, queues, destinations.

    Exit code 1 if something is not.

    Example: covid-xnet health
    """
    from dicom_node.inspection.health import examine
    from dicom_node.journey.database import open_engine

    settings = settings_of(ctx)
    if not settings.data_dir.is_dir():
        raise NodeError(f"data_dir {settings.data_dir} is not there: no node ever ran on it.")
    engine = open_engine(settings)
    checks = examine(settings, engine)
    engine.dispose()
    well = all(check.well for check in checks)
    if as_json:
        said = {check.name: {"well": check.well, "detail": check.detail} for check in checks}
        typer.echo(json.dumps({"well": well, "checks": said}, indent=2))
    else:
        for check in checks:
            typer.echo(f"{'well' if check.well else 'NOT WELL':9}{check.name}: {check.detail}")
    if not well:
        raise typer.Exit(1)
