"""`covid-xnet config show | example`."""

import json
import textwrap
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from dicom_node.cli.context import settings_of
from dicom_node.destination import Destination
from dicom_node.errors import ConfigurationError
from dicom_node.settings import PREFIX, Settings
from dicom_node.site_file import as_toml


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Show the settings.")
    group.command("show")(show)
    group.command("example")(example)
    app.add_typer(group, name="config")


_FOR_A_NEW_SITE: Final = {"shadow_until_commissioned": True}
"""What a new site begins with where the default is that of an upgrade: a working node shall not fall silent."""


def _plain(value: object) -> Any:
    if isinstance(value, tuple):
        return [v.plain if isinstance(v, Destination) else str(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def show(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON instead of TOML.")] = False,
) -> None:
    """Show the settings in force, from file, environment and defaults; a password in DATABASE_URL is hidden.

    Example: covid-xnet -c /etc/covid-xnet.toml config show
    """
    values = shown(settings_of(ctx))
    typer.echo(json.dumps(values, indent=2) if as_json else toml_of(values))


def shown(settings: Settings) -> dict[str, Any]:
    """The settings as they may be seen: without secrets."""
    values = {name: _plain(getattr(settings, name)) for name in Settings.model_fields}
    if settings.database_url:
        values["database_url"] = _without_secrets(settings.database_url)
    return values


def toml_of(values: dict[str, Any]) -> str:
    """A line for each setting."""
    return "\n".join(f"{name} = {as_toml(value)}" for name, value in values.items())


def _without_secrets(database_url: str) -> str:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(database_url)
    except ArgumentError:
        raise ConfigurationError("database_url cannot be used: it is no URL of SQLAlchemy's.") from None
    secret = [key for key in url.query if any(word in key.lower() for word in ("pass", "secret", "token"))]
    return url.update_query_dict(dict.fromkeys(secret, "***")).render_as_string(hide_password=True)


def example() -> None:
    """Print a TOML file with every setting, its meaning and its default.

    Example: covid-xnet config example > covid-xnet.toml
    """
    typer.echo(example_text(), nl=False)


def example_text() -> str:
    """The commented TOML file of all settings."""
    lines = [
        "# Settings of the COVID-XNet node. Each line shows a default: remove the # to change it.",
        "# A line without # is not the default, but what a new site begins with.",
        f"# The same keys in upper case with the prefix {PREFIX} are environment variables, and win over this file.",
    ]
    for name, field in Settings.model_fields.items():
        lines += ["", *textwrap.wrap(field.description or "", 110, initial_indent="# ", subsequent_indent="# ")]
        if name in _FOR_A_NEW_SITE:
            lines.append(f"{name} = {as_toml(_FOR_A_NEW_SITE[name])}")
        elif name == "workers":
            lines.append("# workers = 2  # default: the number of cores")
        else:
            lines.append(f"# {name} = {as_toml(_plain(field.default))}")
    return "\n".join(lines) + "\n"
