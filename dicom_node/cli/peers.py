"""`covid-xnet echo | send`: talk to a peer."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.cli.context import settings_of
from dicom_node.errors import NodeError, PeerRefused
from dicom_node.settings import Peer, Settings

if TYPE_CHECKING:  # commands import what is large when they run: --help answers at once
    from pydicom import Dataset
    from pydicom.uid import UID

PeerArgument = Annotated[
    str, typer.Argument(metavar="PEER", help="AET@host:port, or the AE title of a configured destination.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("echo")(echo)
    app.command("send")(send)


def _peer(text: str, settings: Settings) -> Peer:
    for peer in settings.destinations:
        if text == peer.ae_title:
            return peer
    try:
        return Peer.parse(text)
    except ValueError as e:
        raise typer.BadParameter(f"{e}.", param_hint="PEER") from None


def echo(ctx: typer.Context, peer: PeerArgument) -> None:
    """Check the connection to a peer with C-ECHO.

    Examples: covid-xnet echo PACS@10.1.2.3:104
              covid-xnet echo PACS
    """
    from pynetdicom.presentation import build_context
    from pynetdicom.sop_class import Verification

    from dicom_node.returns.returner import associate

    settings = settings_of(ctx)
    target = _peer(peer, settings)
    begin = time.perf_counter()
    association = associate(
        target, [build_context(Verification)], calling_ae=settings.ae_title, timeout=settings.network_timeout
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
) -> None:
    """Send DICOM files, PNG or JPEG to a peer with C-STORE, as they are; a plain image is wrapped as synthetic CR.

    Examples: covid-xnet send COVIDXNET@127.0.0.1:11112 chest.dcm
              covid-xnet send PACS folder-of-radiographs/
    """
    from pydicom.errors import InvalidDicomError
    from rich.console import Console
    from rich.progress import Progress

    from dicom_node.returns.returner import Sender
    from pipeline.errors import UnreadableRadiograph

    settings = settings_of(ctx)
    target = _peer(peer, settings)
    console = Console(stderr=True)
    problems: dict[Path, str] = {}
    kinds: dict[Path, tuple[UID, UID]] = {}
    for file in _files(paths):
        try:
            kinds[file] = _kind(file)
        except (InvalidDicomError, OSError, AttributeError, ValueError) as e:
            problems[file] = f"is not a DICOM file that can be sent: {e}"
    if kinds:
        with (
            Sender(target, kinds.values(), calling_ae=settings.ae_title, timeout=settings.network_timeout) as sender,
            Progress(console=console, disable=not console.is_terminal or len(kinds) < 2) as progress,
        ):
            for file in progress.track(kinds, description="Sending"):
                try:
                    answer = sender.send(_object(file, settings))
                except (UnreadableRadiograph, OSError, ValueError) as e:
                    problems[file] = f"was not sent: {e}"
                    continue
                if not answer.delivered:
                    problems[file] = f"was refused: {answer.in_words}"
    for file, problem in problems.items():
        sys.stderr.write(f"{file} {problem}\n")
    total = len(kinds.keys() | problems.keys())
    if problems:
        raise NodeError(f"{target} did not take {len(problems)} of {total} files.", hint="The lines above say why.")
    typer.echo(f"{target} took {total} files.")


def _files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.is_file())
        else:
            yield path


def _is_plain(file: Path) -> bool:
    return file.suffix.lower() in (".png", ".jpg", ".jpeg")


def _kind(file: Path) -> "tuple[UID, UID]":
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRLittleEndian

    from dicom_node.wire import COMPUTED_RADIOGRAPHY

    if _is_plain(file):
        return COMPUTED_RADIOGRAPHY, ExplicitVRLittleEndian
    meta = dcmread(file, specific_tags=["SOPClassUID"], stop_before_pixels=True)
    return meta.SOPClassUID, meta.file_meta.TransferSyntaxUID


def _object(file: Path, settings: Settings) -> "Dataset":
    from pydicom import dcmread

    from dicom_node.synthetic import wrap

    if _is_plain(file):
        return wrap(file, maximum_pixels=int(settings.maximum_megapixels * 1e6))
    return dcmread(file)
