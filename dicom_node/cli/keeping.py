"""`covid-xnet backup | restore | purge`: what is kept elsewhere, and what is kept no longer."""

from pathlib import Path
from typing import Annotated

import typer

from dicom_node import logs
from dicom_node.cli.context import settings_of


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("backup")(backup)
    app.command("restore")(restore)
    app.command("purge")(purge)


FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the backup.", file_okay=False)]


def backup(ctx: typer.Context, folder: FolderArgument) -> None:
    """Copy the database and all files that it names into an empty folder; the node may run.

    PostgreSQL is not copied: run pg_dump first, then this for the files.

    Example: covid-xnet backup /backup/covid-xnet-monday
    """
    from dicom_node.journey.backup import back_up

    settings = settings_of(ctx)
    done = back_up(settings, folder)
    typer.echo(f"{done.files} files, {done.bytes / 1e6:.1f} MB, are in {folder}.")
    if done.missing:
        typer.echo(f"{done.missing} files that the ledger names are not on disk.")
    if settings.database_url:
        typer.echo("The database is not among them: it belongs to a pg_dump that was made before.")


def restore(ctx: typer.Context, folder: FolderArgument) -> None:
    """Put a backup into DATA_DIR, which must be empty, after every file of it was compared with its digest.

    Example: covid-xnet -c /etc/covid-xnet/covid-xnet.toml restore /backup/covid-xnet-monday
    """
    from dicom_node.journey.backup import restore as put_back

    settings = settings_of(ctx)
    done = put_back(settings, folder)
    typer.echo(f"{done.files} files, {done.bytes / 1e6:.1f} MB, are in {settings.data_dir}. What is pending goes on.")
    if settings.database_url:
        typer.echo("The database is not among them: restore the pg_dump of the same time before the node starts.")


def purge(
    ctx: typer.Context,
    patient: Annotated[
        str | None, typer.Option("--patient", metavar="ID", help="Only of this PatientID.", show_default=False)
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="AGE", help="Only what came before: 36h, 90d, 8w.", show_default=False),
    ] = None,
    include_failed: Annotated[
        bool, typer.Option("--include-failed", help="Also radiographs that could not be read.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove the files of objects and results about which all is closed; what the ledger says of them stays.

    Examples: covid-xnet purge --older-than 90d
              covid-xnet purge --patient 4711 --yes
    """
    from dicom_node.journey.database import open_engine, prepare
    from dicom_node.journey.ledger import now
    from dicom_node.journey.retention import Retention, age

    if patient is None and older_than is None:
        raise typer.BadParameter("say whose, or how old", param_hint="--patient, --older-than")
    try:
        before = None if older_than is None else now() - age(older_than)
    except ValueError as e:
        raise typer.BadParameter(str(e), param_hint="--older-than") from None
    settings = settings_of(ctx)
    if not yes:
        typer.confirm("Remove these files for good?", abort=True)
    logs.set_up(settings.log_format)
    prepare(settings)
    engine = open_engine(settings)
    try:
        done = Retention(settings, engine).purge(before=before, patient_id=patient, include_failed=include_failed)
    finally:
        engine.dispose()
    typer.echo(f"{done.objects} objects were purged with their results, {done.bytes / 1e6:.1f} MB.")
    if done.open:
        typer.echo(f"{done.open} stay: they are not yet closed. `covid-xnet status` says where they stand.")
