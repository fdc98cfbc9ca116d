"""`covid-xnet peers add | list | remove | echo | test`: who gets results and who may send, without editing a file."""

import json
import os
from typing import Annotated, Any, Final

import typer

from dicom_node.cli.check import tell
from dicom_node.cli.context import settings_of
from dicom_node.cli.peers import echo
from dicom_node.destination import Destination
from dicom_node.errors import ConfigurationError
from dicom_node.peers import Caller, Peer
from dicom_node.settings import FILE_SUFFIX, PREFIX, Settings

SenderOption = Annotated[
    bool, typer.Option("--sender", help="One that may send to the node, written AET, AET@address or AET@network.")
]

WithOption = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="KEY=VALUE", help="What differs for a destination; lists with commas."),
]


_ECHO: Final = """Check the connection to a peer with C-ECHO, as `echo` does.

Example: covid-xnet peers echo PACS
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Who gets results, and who may send to the node.", no_args_is_help=True)
    group.command("add")(add)
    group.command("list")(show)
    group.command("remove")(remove)
    group.command("echo", help=_ECHO)(echo)
    group.command("test")(ask)
    app.add_typer(group, name="peers")


def add(
    ctx: typer.Context,
    peer: Annotated[str, typer.Argument(metavar="PEER", help="AET@host:port.")],
    sender: SenderOption = False,
    given: WithOption = None,
) -> None:
    """Add a destination of results, or with --sender one that may send. A running node takes it up in seconds.

    Examples: covid-xnet peers add PACS@10.1.2.3:104
              covid-xnet peers add PACS@10.1.2.3:2762 --with tls=true --with objects=report,segmentation
              covid-xnet peers add --sender CT1@10.1.2.0/24
    """
    from dicom_node.journey.peer_list import add_destination, add_sender

    settings = settings_of(ctx)
    if sender:
        if given:
            raise typer.BadParameter("goes with a destination, not with --sender.", param_hint="--with")
        caller = _caller(peer)
        add_sender(caller)
        typer.echo(f"{caller} may send to the node.")
        if not settings.calling_aes:
            typer.echo("It is the first on the list: who is not on it may send no more, but for destinations.")
        return
    try:
        parsed = Peer.parse(peer)
    except ValueError as e:
        raise typer.BadParameter(f"{e}. Add --sender if it shall send.", param_hint="PEER") from None
    options = _options(given or [])
    known = {destination.peer for destination in settings.destinations}
    add_destination({"peer": str(parsed), **options} if options else str(parsed))
    typer.echo(
        f"{parsed} gets {'what it gets from now on in another form' if parsed in known else 'results'}, "
        f"beginning with the next reading. `covid-xnet peers echo {parsed.ae_title}` tries the connection."
    )


def show(ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show destinations and senders, and where each list is written.

    Example: covid-xnet peers list
    """
    settings = settings_of(ctx)
    destinations, senders = _source("destinations", settings), _source("calling_aes", settings)
    if as_json:
        said = {
            "destinations": [d.model_dump(mode="json") | {"peer": str(d.peer)} for d in settings.destinations],
            "destinations_from": destinations,
            "senders": list(settings.calling_aes),
            "senders_from": senders,
        }
        typer.echo(json.dumps(said, indent=2))
        return
    typer.echo(f"Destinations, from {destinations}:")
    for destination in settings.destinations:
        typer.echo(f"  {destination.peer}: {', '.join(destination.objects)}{_rest(destination)}")
    if not settings.destinations:
        typer.echo("  none: results go nowhere")
    typer.echo(f"Senders, from {senders}:")
    for sender in settings.calling_aes:
        typer.echo(f"  {sender}")
    if not settings.calling_aes:
        typer.echo("  everybody who knows the AE title of the node")


def remove(
    ctx: typer.Context,
    peer: Annotated[str, typer.Argument(metavar="PEER", help="AET@host:port, or the AE title alone.")],
    sender: SenderOption = False,
    open_to_all: Annotated[
        bool, typer.Option("--open-to-all", help="Also the last sender: then everybody may send.")
    ] = False,
) -> None:
    """Remove a destination, or with --sender one that may send.

    Results that already wait for a destination still go to it.

    Examples: covid-xnet peers remove PACS
              covid-xnet peers remove --sender CT1@10.1.2.0/24
    """
    from dicom_node.journey.peer_list import remove_destination, remove_sender

    settings_of(ctx)
    if sender:
        caller = _caller(peer)
        remove_sender(caller, open_to_all=open_to_all)
        typer.echo(f"{caller} may send no more.")
        return
    typer.echo(f"{remove_destination(peer)} gets no results of later readings; what waits for it still goes there.")


def ask(
    ctx: typer.Context,
    peer: Annotated[
        str, typer.Argument(metavar="PEER", help="AET@host:port, or the AE title of a configured destination.")
    ],
    given: WithOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Ask a destination whether it takes what the node would send: C-ECHO, objects, storage commitment, certificate.

    Nothing is sent. PEER need not be on the list yet. Exit code 1 if something is not well.

    Examples: covid-xnet peers test PACS
              covid-xnet peers test PACS@10.1.2.3:104 --with objects=report,segmentation
    """
    from pydantic import ValidationError

    from dicom_node.inspection.peers import examine_destination

    settings = settings_of(ctx)
    found = [d for d in settings.destinations if peer in (d.peer.ae_title, str(d.peer)) and not given]
    if not found:
        try:
            found = [Destination.model_validate({"peer": peer, **_options(given or [])})]
        except ValidationError as e:
            first = e.errors()[0]
            where = "PEER" if first["loc"][:1] == ("peer",) else f"--with {first['loc'][0]}"
            raise typer.BadParameter(f"{first['msg'].removeprefix('Value error, ')}.", param_hint=where) from None
    checks = [each for d in found for each in examine_destination(d, settings, timeout=settings.network_timeout)]
    tell(checks, as_json=as_json)


def _caller(text: str) -> Caller:
    try:
        return Caller.parse(text)
    except ValueError as e:
        raise typer.BadParameter(f"{e}.", param_hint="PEER") from None


def _options(given: list[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals:
            raise typer.BadParameter(f"{each!r} is not KEY=VALUE, such as tls=true.", param_hint="--with")
        default = Destination.model_fields[key].default if key in Destination.model_fields else None
        if isinstance(default, tuple):
            options[key] = [part.strip() for part in value.split(",") if part.strip()]
        else:
            options[key] = {"true": True, "false": False}.get(value, value) if isinstance(default, bool) else value
    if "peer" in options:
        raise typer.BadParameter("peer is what stands before the options.", param_hint="--with")
    return options


def _rest(destination: Destination) -> str:
    plain = destination.plain
    differs = {k: v for k, v in plain.items() if k not in ("peer", "objects")} if isinstance(plain, dict) else {}
    return "".join(f", {key}={','.join(value) if isinstance(value, list) else value}" for key, value in differs.items())


def _source(key: str, settings: Settings) -> str:
    """Where the value in force is written."""
    from dicom_node.settings import settings_file
    from dicom_node.site_file import read_site_file, read_toml, site_file

    for variable in (PREFIX + key.upper(), PREFIX + key.upper() + FILE_SUFFIX):
        if variable in (name.upper() for name in os.environ):
            return variable
    if key in read_site_file(settings.data_dir):
        return str(site_file(settings.data_dir))
    file = settings_file()
    if file is None:
        return "the defaults"
    try:
        return str(file) if key in read_toml(file) else "the defaults"
    except ConfigurationError:
        return str(file)
