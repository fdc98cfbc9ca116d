"""`covid-xnet judge`: what would happen to a file, without anything happening."""

import json
import warnings
from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.cli.context import settings_of
from dicom_node.errors import NodeError
from dicom_node.peers import parse_ae_title

if TYPE_CHECKING:  # commands import what is large when they run: --help answers at once
    import sqlalchemy as sa

    from dicom_node.inspection.rehearsal import Rehearsal, Sender
    from dicom_node.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("judge")(judge)


def judge(
    ctx: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", exists=True, help="DICOM files, or folders of them.")
    ],
    calling_ae: Annotated[
        str | None, typer.Option("--calling-ae", metavar="AE", help="Who would send it.", show_default=False)
    ] = None,
    address: Annotated[str, typer.Option("--address", metavar="IP", help="From where.")] = "127.0.0.1",
    as_json: Annotated[bool, typer.Option("--json", help="A JSON line for each file.")] = False,
) -> None:
    """Tell what would happen to files if they came now: admitted, read, STAT, known, in shadow, sent where.

    Every rule of the node is asked and nothing is changed, sent or recorded. The networks are not asked.

    Exit code 0: told of all; 1: a file cannot be opened.

    Examples: covid-xnet judge chest.dcm
              covid-xnet judge --calling-ae CT1 --address 10.1.2.3 --json folder/
    """
    from sqlalchemy.exc import SQLAlchemyError

    from dicom_node.cli.read import files_of
    from dicom_node.inspection.rehearsal import rehearse

    sender = _sender(calling_ae, address)
    settings = settings_of(ctx)
    engine = _ledger(settings)
    unread = 0
    try:
        for file in files_of(paths, None):
            try:
                with warnings.catch_warnings():
                    # pydicom warns of every small breach of the standard, with the value, which may name the patient.
                    warnings.simplefilter("ignore")
                    told = rehearse(file, settings, engine, sender)
            except OSError as e:
                unread += 1
                typer.echo(f"{file}: cannot be opened: {e.strerror}.", err=True)
                continue
            except SQLAlchemyError as e:
                raise NodeError(
                    f"The ledger cannot be asked: {type(e).__name__}.",
                    hint="`covid-xnet check --no-send` says what is wrong with it.",
                ) from None
            typer.echo(json.dumps(asdict(told)) if as_json else _in_words(told))
    finally:
        if engine is not None:
            engine.dispose()
    if unread:
        raise NodeError(f"{unread} files cannot be opened.", hint="The lines above say why.")


def _sender(calling_ae: str | None, address: str) -> "Sender | None":
    from dicom_node.inspection.rehearsal import Sender
    from dicom_node.reception.admission import plain_address

    try:
        title = None if calling_ae is None else parse_ae_title(calling_ae)
    except ValueError as e:
        raise typer.BadParameter(f"{e}.", param_hint="--calling-ae") from None
    try:
        ip_address(address)
    except ValueError:
        raise typer.BadParameter(f"{address!r} is not an IP address.", param_hint="--address") from None
    return None if title is None else Sender(calling_ae=title, address=plain_address(address))


def _ledger(settings: "Settings") -> "sa.Engine | None":
    """The database, as it is; None if no node has made one yet, for to open it would make it."""
    from sqlalchemy import make_url

    from dicom_node.journey.database import open_engine

    engine = open_engine(settings)
    url = make_url(settings.effective_database_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        engine.dispose()
        return None
    return engine


def _in_words(told: "Rehearsal") -> str:
    lines = [told.file]
    if told.admitted is not None:
        lines.append(f"association: {'accepted' if told.admitted else 'rejected'}")
    if told.status is not None:
        lines.append(f"C-STORE: answered 0x{told.status:04X}")
    if told.known:
        lines.append(f"ledger: {told.known}")
    if told.view:
        flags = f"; flags: {', '.join(told.flags)}" if told.flags else ""
        lines.append(f"gate: a radiograph of the chest, {told.view}, from {told.evidence or 'nothing'}{flags}")
    if not told.read:
        lines.append(f"not read: {told.reason}")
        return "\n    ".join(lines)
    lines.append("read, if the pixels show a frontal chest" if told.pixels else "read")
    lines[-1] += f", {told.urgency}" + (f" by {told.urgency_evidence}" if told.urgency_evidence else "")
    if told.shadow is None:
        lines.append("in shadow, unless its sender is switched on: --calling-ae tells")
    elif told.shadow:
        lines.append("in shadow: nothing is sent, for its sender is not switched on")
    for destination, objects in told.returns.items():
        lines.append(f"{destination} gets {', '.join(objects)}")
    if not told.returns and told.shadow is False:
        lines.append("nothing is sent: there is no destination")
    return "\n    ".join(lines)
