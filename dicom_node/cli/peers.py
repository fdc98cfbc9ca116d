"""`covid-xnet echo | send`: talk to a peer."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from dicom_node.cli.context import settings_of
from dicom_node.errors import NodeError, PeerRefused
from dicom_node.peers import Peer
from dicom_node.settings import Settings

PeerArgument = Annotated[
    str, typer.Argument(metavar="PEER", help="AET@host:port, or the AE title of a configured destination.")
]

TlsOption = Annotated[
    bool, typer.Option("--tls", help="Encrypted, also to a peer that is no destination with tls = true.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("echo")(echo)
    app.command("send")(send)


def _peer(text: str, settings: Settings) -> Peer:
    for destination in settings.destinations:
        if text == destination.peer.ae_title:
            return destination.peer
    try:
        return Peer.parse(text)
    except ValueError as e:
        raise typer.BadParameter(f"{e}.", param_hint="PEER") from None


def echo(ctx: typer.Context, peer: PeerArgument, tls: TlsOption = False) -> None:
    """Check the connection to a peer with C-ECHO.

    Examples: covid-xnet echo PACS@10.1.2.3:104
              covid-xnet echo PACS
              covid-xnet echo --tls PACS@10.1.2.3:2762
    """
    from pynetdicom.presentation import build_context
    from pynetdicom.sop_class import Verification

    from dicom_node.returns.returner import associate

    settings = settings_of(ctx)
    target = _peer(peer, settings)
    begin = time.perf_counter()
    association = associate(
        target,
        [build_context(Verification)],
        calling_ae=settings.ae_title,
        timeout=settings.network_timeout,
        tls=settings.tls if tls else settings.tls_to(target),
    )
    try:
        status = association.send_c_echo()
    finally:
        association.release()
    if "Status" not in status or status.Status != 0:
        answer = f"0x{status.Status:04X}" if "Status" in status else "nothing"
        raise PeerRefused(f"{target} answered C-ECHO with {answer}.")
    typer.echo(f"{target} answers as {settings.ae_title} calls: {(time.perf_counter() - begin) * 1000:.0f} ms.")


def send(
    ctx: typer.Context,
    peer: PeerArgument,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", exists=True, help="Files or folders.")],
    tls: TlsOption = False,
) -> None:
    """Send DICOM files, PNG or JPEG to a peer with C-STORE, as they are; a plain image is wrapped as synthetic CR.

    Examples: covid-xnet send COVIDXNET@127.0.0.1:11112 chest.dcm
              covid-xnet send PACS folder-of-radiographs/
    """
    from rich.console import Console
    from rich.progress import Progress

    from dicom_node.returns.sending import files_in, send_files

    settings = settings_of(ctx)
    target = _peer(peer, settings)
    files = list(dict.fromkeys(files_in(paths)))
    if not files:
        raise typer.BadParameter("There are no files.", param_hint="PATH...")
    console = Console(stderr=True)
    problems = 0
    with Progress(console=console, disable=not console.is_terminal or len(files) < 2) as progress:
        sending = send_files(
            target,
            files,
            calling_ae=settings.ae_title,
            timeout=settings.network_timeout,
            maximum_pixels=int(settings.maximum_megapixels * 1e6),
            tls=settings.tls if tls else settings.tls_to(target),
        )
        for sent in progress.track(sending, total=len(files), description="Sending"):
            if sent.problem:
                problems += 1
                sys.stderr.write(f"{sent.file} {sent.problem}\n")
    if problems:
        raise NodeError(f"{target} did not take {problems} of {len(files)} files.", hint="The lines above say why.")
    typer.echo(f"{target} took {len(files)} files.")
