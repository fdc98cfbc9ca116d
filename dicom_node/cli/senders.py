"""`covid-xnet commission on | off`: whose radiographs bring results, and whose are read in shadow."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_node.cli.context import settings_of
from dicom_node.peers import parse_ae_title

if TYPE_CHECKING:  # commands import what is large when they run: --help answers at once
    from dicom_node.journey.senders import Sender
    from dicom_node.settings import Settings

SenderArgument = Annotated[str, typer.Argument(metavar="AE", help="AE title that the sender calls itself.")]
SignerOption = Annotated[str, typer.Option("--by", help="Who decides it.")]


def on(ctx: typer.Context, sender: SenderArgument, by: SignerOption) -> None:
    """Switch a sender on: what it sends from now on brings results to the destinations.

    Example: covid-xnet commission on CR2 --by "Dr. Ada Example"
    """
    _switch(ctx, sender, by, on=True)


def off(ctx: typer.Context, sender: SenderArgument, by: SignerOption) -> None:
    """Switch a sender off: what it sends from now on is read in shadow. What is on its way already arrives.

    Example: covid-xnet commission off CR2 --by "Dr. Ada Example"
    """
    _switch(ctx, sender, by, on=False)


def signer_of(name: str) -> str:
    """A name to sign with, as it is written down; raises BadParameter."""
    signer = " ".join(name.split())
    if not 1 <= len(signer) <= 64 or not signer.isprintable() or "\\" in signer:
        raise typer.BadParameter("A name has 1 to 64 letters, and no backslash.", param_hint="--by")
    return signer


def _switch(ctx: typer.Context, sender: str, by: str, *, on: bool) -> None:
    try:
        calling_ae = parse_ae_title(sender)
    except ValueError as e:
        raise typer.BadParameter(str(e), param_hint="AE") from None
    switch_senders(settings_of(ctx), [calling_ae], on=on, by=signer_of(by))


def switch_senders(settings: "Settings", calling_aes: list[str], *, on: bool, by: str) -> None:
    """Switch them, and say what that means."""
    from dicom_node.journey.database import open_engine, prepare
    from dicom_node.journey.senders import switch

    prepare(settings)
    engine = open_engine(settings)
    switch(settings, engine, calling_aes, on=on, by=by)
    engine.dispose()
    for calling_ae in calling_aes:
        typer.echo(f"{calling_ae} is switched {'on' if on else 'off'}, from its next radiograph.")
    if on:
        typer.echo("What was read in shadow before is not sent.")
    if not settings.shadow_until_commissioned:
        typer.echo("It changes nothing yet: shadow_until_commissioned is false, and every sender's results are sent.")


def senders_of(settings: "Settings") -> list[dict[str, Any]]:
    """Every sender that the ledger knows, as JSON; none if there is no ledger yet."""
    from sqlalchemy.orm import Session

    from dicom_node.journey.database import open_engine, prepare
    from dicom_node.journey.senders import senders

    if not settings.data_dir.is_dir():
        return []
    prepare(settings)
    engine = open_engine(settings)
    with Session(engine) as session:
        found = [as_json(sender) for sender in senders(session)]
    engine.dispose()
    return found


def as_json(sender: "Sender") -> dict[str, Any]:
    """A `journey.senders.Sender` as JSON."""
    from dicom_node.journey.ledger import utc

    return {
        "calling_ae": sender.calling_ae,
        "on": sender.on,
        "by": sender.by,
        "at": sender.at and utc(sender.at).isoformat(timespec="seconds"),
        "read": sender.read,
        "in_shadow": sender.in_shadow,
    }


def words_of(sender: dict[str, Any], *, shadow: bool) -> str:
    """One line. shadow: whether the settings want that senders are switched on."""
    state = "on" if sender["on"] else "OFF, read in shadow" if shadow else "not switched on"
    switched = f", switched by {sender['by']} on {sender['at']}" if sender["by"] else ""
    return f"{sender['calling_ae']}: {state}{switched}; {sender['read']} read, {sender['in_shadow']} of them in shadow"
