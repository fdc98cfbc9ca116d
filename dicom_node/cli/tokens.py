"""`covid-xnet tokens add | list | remove`: which programs may use the API."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.access import Role
from dicom_node.cli.context import settings_of

if TYPE_CHECKING:  # commands import what is large when they run: --help answers at once
    from dicom_node.web.tokens import Tokens

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of the program that uses it.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Which programs may use the API, and what they may do.", no_args_is_help=True)
    group.command("add")(add)
    group.command("list")(list_tokens)
    group.command("remove")(remove)
    app.add_typer(group, name="tokens")


@contextmanager
def _tokens(ctx: typer.Context, *, alert: str = "", token: str = "") -> Iterator["Tokens"]:
    """The tokens of the node. alert: what the audit trail says was done if nothing is raised."""
    from dicom_node.audit import Kind
    from dicom_node.journey.audit_head import open_trail
    from dicom_node.journey.database import open_engine, prepare
    from dicom_node.web.tokens import Tokens

    settings = settings_of(ctx)
    prepare(settings)
    engine = open_engine(settings)
    try:
        yield Tokens(engine)
        if alert:
            trail = open_trail(settings, engine, by="operator")
            trail.record(Kind.SECURITY_ALERT, alert=alert, token=token)
            trail.close()
    finally:
        engine.dispose()


def add(
    ctx: typer.Context,
    name: NameArgument,
    role: Annotated[Role, typer.Option("--role", help="viewer, operator or admin.")] = Role.VIEWER,
    days: Annotated[float, typer.Option("--days", help="How long it is in force, at most 3650.")] = 365,
) -> None:
    """Make a token, and print it: it is shown this once, for the node keeps only its digest.

    Examples: covid-xnet tokens add monitoring
              covid-xnet tokens add "RIS bridge" --role operator --days 90
    """
    with _tokens(ctx, alert=f"token added as {role}", token=name) as tokens:
        typer.echo(tokens.add(name, role, days=days))


def list_tokens(ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the tokens, without their secrets.

    Example: covid-xnet tokens list
    """
    with _tokens(ctx) as tokens:
        found = tokens.all()
    if as_json:
        said = [
            {
                "name": token.name,
                "role": token.role,
                "made_at": token.made_at.isoformat(),
                "ends_at": token.ends_at.isoformat(),
                "in_force": token.in_force,
            }
            for token in found
        ]
        typer.echo(json.dumps(said, indent=2))
        return
    for token in found:
        ends = f"{'until' if token.in_force else 'ENDED'} {token.ends_at.astimezone():%Y-%m-%d %H:%M}"
        typer.echo(f"{token.role:10}{ends}  {token.name}")
    if not found:
        typer.echo("There are no tokens: `covid-xnet tokens add NAME` makes one.")


def remove(ctx: typer.Context, name: NameArgument) -> None:
    """Remove a token; it opens nothing from then on.

    Example: covid-xnet tokens remove monitoring
    """
    with _tokens(ctx, alert="token removed", token=name) as tokens:
        tokens.remove(name)
    typer.echo(f"{name} is removed.")
