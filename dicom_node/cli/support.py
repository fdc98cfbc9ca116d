"""`covid-xnet support-bundle`: what a developer needs to know of this node, without a patient in it."""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.cli.config import shown, toml_of
from dicom_node.cli.context import settings_of
from dicom_node.errors import NodeError

if TYPE_CHECKING:  # commands import what is large when they run: --help answers at once
    import sqlalchemy as sa

    from dicom_node.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("support-bundle")(support_bundle)


def support_bundle(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", dir_okay=False, help="The zip; a new file.")] = Path(
        "covid-xnet-support.zip"
    ),
) -> None:
    """Write a zip with versions, settings without secrets, health, numbers, metrics: all for support, and no patient.

    Examples: covid-xnet support-bundle
              covid-xnet support-bundle --out /tmp/monday.zip
    """
    from dicom_node.inspection.bundle import contents
    from dicom_node.journey.database import open_engine

    settings = settings_of(ctx)
    if not settings.data_dir.is_dir():
        raise NodeError(
            f"data_dir {settings.data_dir} is not there: no node ever ran on it.",
            hint="Give the configuration of the node with -c.",
        )
    engine = open_engine(settings)
    try:
        files = {**contents(settings, engine), "metrics.txt": _metrics(settings, engine)}
    finally:
        engine.dispose()
    files["settings.toml"] = toml_of(shown(settings)) + "\n"
    try:
        with zipfile.ZipFile(out, "x", zipfile.ZIP_DEFLATED) as bundle:
            for name, text in sorted(files.items()):
                bundle.writestr(name, text)
    except FileExistsError:
        raise NodeError(f"{out} is there already.", hint="Give another --out.") from None
    except OSError as e:
        raise NodeError(f"{out} cannot be written: {e.strerror}.", hint="Give another --out.") from None
    typer.echo(f"{out} holds {', '.join(sorted(files))}: no patient, no secret; AE titles and addresses of your peers.")
    typer.echo("Add the log of the node, from its journal.")


def _metrics(settings: "Settings", engine: "sa.Engine") -> str:
    from sqlalchemy.exc import SQLAlchemyError

    from dicom_node.web.metrics import NodeMetrics

    try:
        return NodeMetrics(settings, engine).text().decode()
    except (SQLAlchemyError, OSError) as e:
        return f"not found out: {type(e).__name__}\n"
