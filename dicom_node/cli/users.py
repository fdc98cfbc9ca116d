"""`covid-xnet users add | list | remove | role | password`: who may use the pages."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.access import Role
from dicom_node.cli.context import settings_of

if TYPE_CHECKING:  # commands import what is large when they run: --help answers at once
    from dicom_node.web.accounts import Accounts

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of the user.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Who may use the pages, and what they may do.", no_args_is_help=True)
    group.command("add")(add)
    group.command("list")(list_users)
    group.command("remove")(remove)
    group.command("role")(role)
    group.command("password")(password)
    app.add_typer(group, name="users")


@contextmanager
def _accounts(ctx: typer.Context, *, alert: str = "", user: str = "") -> Iterator["Accounts"]:
    """The accounts of the node. alert: what the audit trail says was done if nothing is raised."""
    from dicom_node.audit import Kind
    from dicom_node.journey.audit_head import open_trail
    from dicom_node.journey.database import open_engine, prepare
    from dicom_node.web.accounts import Accounts

    settings = settings_of(ctx)
    prepare(settings)
    engine = open_engine(settings)
    try:
        yield Accounts(engine, session_hours=settings.web_session_hours)
        if alert:
            trail = open_trail(settings, engine, by="operator")
            trail.record(Kind.SECURITY_ALERT, alert=alert, user=user)
            trail.close()
    finally:
        engine.dispose()


def add(
    ctx: typer.Context,
    name: NameArgument,
    role: Annotated[Role, typer.Option("--role", help="viewer, operator or admin.")] = Role.VIEWER,
) -> None:
    """Add a user, and print a one-time password: at the first sign-in the user chooses another.

    Examples: covid-xnet users add ada
              covid-xnet users add "Dr. Ada Example" --role operator
    """
    with _accounts(ctx, alert=f"user added as {role}", user=name) as accounts:
        typer.echo(f"One-time password of {name}: {accounts.add(name, role)}")


def list_users(ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the users and their roles.

    Example: covid-xnet users list
    """
    with _accounts(ctx) as accounts:
        users = accounts.users()
    if as_json:
        said = [{"name": user.name, "role": user.role, "must_change_password": user.must_change} for user in users]
        typer.echo(json.dumps(said, indent=2))
        return
    for user in users:
        typer.echo(f"{user.role:10}{user.name}{' (one-time password)' if user.must_change else ''}")
    if not users:
        typer.echo("There are no users: the first start of the pages makes one and prints its one-time password.")


def remove(ctx: typer.Context, name: NameArgument) -> None:
    """Remove a user; where it is signed in, that ends at once.

    Example: covid-xnet users remove ada
    """
    with _accounts(ctx, alert="user removed", user=name) as accounts:
        accounts.remove(name)
    typer.echo(f"{name} is removed.")


def role(
    ctx: typer.Context,
    name: NameArgument,
    role: Annotated[Role, typer.Argument(metavar="ROLE", help="viewer, operator or admin.")],
) -> None:
    """Give a user another role; it holds at once.

    Example: covid-xnet users role ada operator
    """
    with _accounts(ctx, alert=f"role changed to {role}", user=name) as accounts:
        accounts.set_role(name, role)
    typer.echo(f"{name} is {role} now.")


def password(ctx: typer.Context, name: NameArgument) -> None:
    """Print a new one-time password for a user who forgot the old one; where it is signed in, that ends.

    Example: covid-xnet users password ada
    """
    with _accounts(ctx, alert="password reset", user=name) as accounts:
        typer.echo(f"One-time password of {name}: {accounts.reset(name)}")
