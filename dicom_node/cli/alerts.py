"""`covid-xnet alerts test | show`: who is told when something is wrong, and what is wrong now."""

import json
from typing import Annotated

import typer

from dicom_node.cli.context import settings_of
from dicom_node.errors import ConfigurationError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Whom the node tells when something is wrong.")
    group.command("test")(test)
    group.command("show")(show)
    app.add_typer(group, name="alerts")


def test(ctx: typer.Context) -> None:
    """Send a test to each address of ALERT_URLS, and say who took it. Exit code 1 if one did not.

    Example: covid-xnet alerts test
    """
    from dicom_node.alerts.sending import Urgency, send

    settings = settings_of(ctx)
    if not settings.alert_urls:
        raise ConfigurationError("alert_urls is empty: nobody is told.", hint="Set it, such as json://10.1.2.9/hook.")
    title, text = f"covid-xnet {settings.ae_title}: test", "A test: you would be told here. Nothing is wrong."
    took = send(settings.alert_urls, title, text, Urgency.TEST)
    for number, (url, taken) in enumerate(zip(settings.alert_urls, took, strict=True), start=1):
        kind = url.get_secret_value().partition("://")[0]  # what follows may be a secret
        typer.echo(f"{number}. {kind}: {'taken' if taken else 'NOT TAKEN: check address, name and password'}")
    if not all(took):
        raise typer.Exit(1)


def show(ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show the troubles that the node sees, since when, and when it told somebody.

    Example: covid-xnet alerts show
    """
    import sqlalchemy as sa
    from sqlalchemy.orm import Session

    from dicom_node.alerts.watchman import AlertRow
    from dicom_node.journey.database import open_engine, prepare
    from dicom_node.journey.ledger import utc

    settings = settings_of(ctx)
    prepare(settings)
    engine = open_engine(settings)
    with Session(engine) as session:
        rows = session.scalars(sa.select(AlertRow).order_by(AlertRow.since)).all()
    engine.dispose()
    found = [
        {
            "key": row.key,
            "text": row.text,
            "since": utc(row.since).isoformat(timespec="seconds"),
            "told_at": row.told_at and utc(row.told_at).isoformat(timespec="seconds"),
            "over": row.gone_at is not None,
        }
        for row in rows
    ]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for each in found:
        told = f"told {each['told_at']}" if each["told_at"] else "not told yet"
        typer.echo(f"{each['key']}, since {each['since']}, {'over, ' if each['over'] else ''}{told}: {each['text']}")
    if not found:
        typer.echo("No trouble." if settings.alert_urls else "alert_urls is empty: nobody looks for troubles.")
