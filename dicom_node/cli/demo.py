"""`covid-xnet demo`: see the whole node at work on this machine."""

import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dicom_node.errors import NodeError

if TYPE_CHECKING:  # commands import what is large when they run: --help answers at once
    from rich.table import Table

    from dicom_node.demo.walk import Outcome

_MARK: Final = "made-by-covid-xnet-demo"
_MUST_BE_READ: Final = 2
"""Chests among the radiographs that the demonstration brings along."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", exists=True, help="More radiographs: DICOM, PNG or JPEG, or folders."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Folder of the previews and the logs.")
    ] = Path("demo-output"),
) -> None:
    """Start a PACS and a node, send real radiographs over DICOM, and show what comes back to the PACS.

    Sends two Philips CR chests and a shin of the package pydicom-data, and what
    PATH names. The PACS is Orthanc if it is installed, else a storage SCP of ours.
    All of it runs on the loopback address, on free ports, and ends with the command.
    Needs the extra `demo`. Investigational, not for diagnosis.

    Exit codes: 0 each frontal radiograph has exactly one Secondary Capture and one
    SR in the PACS, and every other object a recorded reason; 1 otherwise.

    Examples: covid-xnet demo
              covid-xnet demo --out previews folder-of-radiographs/
    """
    from rich.console import Console
    from rich.progress import Progress

    from dicom_node.demo.node import running_node
    from dicom_node.demo.orthanc import free_port
    from dicom_node.demo.pacs import running_pacs
    from dicom_node.demo.radiographs import real_radiographs
    from dicom_node.demo.walk import all_complete, outcomes, wait
    from dicom_node.peers import Peer
    from dicom_node.results.wording import DISCLAIMER
    from dicom_node.returns.sending import files_in, send_files
    from dicom_node.settings import Settings

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is ended, too
    files = [*real_radiographs(), *(file.absolute() for file in files_in(paths or []))]
    out = out.absolute()
    _empty(out)
    console = Console()
    this_node = Peer("COVIDXNET", "127.0.0.1", free_port())
    with running_pacs(out / "pacs", this_node) as pacs:
        console.print(f"PACS: {pacs.name}, {pacs.peer}", highlight=False)
        settings = {"ae_title": this_node.ae_title, "port": this_node.port, "destinations": [str(pacs.peer)]}
        with (
            console.status("Starting the node"),
            running_node(out / "node", settings) as node,
            Progress(console=console, transient=True) as progress,
        ):
            console.print(f"Node: {node.peer}", highlight=False)
            sending = send_files(
                node.peer,
                files,
                calling_ae="DEMO",
                timeout=30,
                maximum_pixels=int(Settings.model_fields["maximum_megapixels"].default * 1e6),
            )
            sent = list(progress.track(sending, total=len(files), description="Sending"))
            uids = {s.file: s.sop_instance_uid for s in sent if s.sop_instance_uid}
            reading = progress.add_task("Reading and returning", total=len(uids))
            status = wait(node, len(uids), lambda done: progress.update(reading, completed=done))
            found = outcomes(uids, status, pacs.objects(), out)
    console.print(_table(found))
    for s in sent:
        if s.problem:
            console.print(f"{s.file} {s.problem}", style="yellow", markup=False, soft_wrap=True)
    for preview in (preview for outcome in found for preview in outcome.previews):
        console.print(f"Overlay: {preview}", highlight=False, soft_wrap=True)
    console.print(f"Ledger: covid-xnet -c {out / 'node' / 'covid-xnet.toml'} status", highlight=False, soft_wrap=True)
    console.print(DISCLAIMER)
    if not all_complete(found, _MUST_BE_READ):
        raise NodeError("Not everything came back.", hint=f"Look into {node.log}.")


def _empty(out: Path) -> None:
    """Make `out` an empty folder; only what an earlier demonstration left is removed."""
    mark = out / _MARK
    if out.exists() and any(out.iterdir()):
        if not mark.exists():
            raise typer.BadParameter(f"{out} is not empty, and not of an earlier demonstration.", param_hint="--out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    mark.touch()


def _table(found: "list[Outcome]") -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for heading in ("File", "Gate", "Reading", "ms", "Back in the PACS"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "ms" else "left")
    for outcome in found:
        reading = outcome.failure if outcome.score is None else f"{outcome.score:.3f} {outcome.label}"
        table.add_row(
            # Text: a path or a reason may contain what rich takes for markup.
            Text(outcome.file.name),
            Text(outcome.gate),
            Text(reading),
            "" if outcome.milliseconds is None else f"{outcome.milliseconds:.0f}",
            Text(
                f"{outcome.overlays} SC, {outcome.reports} SR\n{outcome.proof}".strip(),
                style="green" if outcome.complete else "red",
            ),
        )
    return table
