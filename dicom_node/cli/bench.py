"""`covid-xnet bench receive | read | node | train | ledger | all`: measure this machine; nothing is judged."""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.errors import NodeError

if TYPE_CHECKING:  # commands import what is large when they run: --help answers at once
    from dicom_node.bench.report import Report

JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]
RoundsOption = Annotated[int, typer.Option("--rounds", min=1, help="How often each is measured, in turn.")]

bench = typer.Typer(no_args_is_help=True, help="Measure this machine beside other programs that do the same work.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(bench, name="bench")


@bench.callback()
def prepare() -> None:
    """Measure this machine beside other programs that do the same work. Judges nothing.

    Each makes its own data, drawn and seeded, in a temporary folder, starts what it
    measures on free ports of the loopback address, and ends it. The machine should
    have nothing else to do: where it has, trust CPU time and ratios.
    """
    # Of DCMTK, and of Orthanc, which is built on it: small messages would wait 40 ms for a later one.
    os.environ["TCP_NODELAY"] = "1"
    try:
        import psutil  # noqa: F401
    except ModuleNotFoundError:
        raise NodeError(
            "psutil is not installed.", hint="Install the extra: pip install 'covid-xnet[bench]'."
        ) from None


@bench.command()
def receive(
    megabytes: Annotated[int, typer.Option("--megabytes", min=1, help="Sent to each receiver in a round.")] = 200,
    rounds: RoundsOption = 3,
    associations: Annotated[
        list[int] | None, typer.Option("--associations", min=1, help="At the same time; 1 and 4 if not given.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Send objects of 12.5 MB and of 512 KB to the listener and to other receivers.

    The others: Orthanc with synchronous storage, storescp, raw TCP with fsync, and in
    a checkout the naive build. Needs DCMTK and Orthanc.

    Example: covid-xnet bench receive --associations 1 --associations 16
    """
    from dicom_node.bench.receive import measure

    _show(measure(megabytes=megabytes, rounds=rounds, associations=associations or [1, 4]), as_json)


@bench.command()
def read(
    files: Annotated[int, typer.Option("--files", min=1, help="Read by one run of the command.")] = 100,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Of each step.")] = 10,
    megapixels: Annotated[
        list[float] | None, typer.Option("--megapixels", min=0.05, help="Sizes to measure; 0.25 to 40 if not given.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read files without a node: all steps, sizes up to 40 MP, and compressed radiographs.

    Example: covid-xnet bench read --files 1000 --json
    """
    from dicom_node.bench.read import measure

    _show(measure(files=files, repeats=repeats, megapixels=megapixels or [0.25, 1, 4, 16, 40]), as_json)


@bench.command()
def node(
    radiographs: Annotated[int, typer.Option("--radiographs", min=1, help="In a burst.")] = 40,
    rounds: RoundsOption = 3,
    workers: Annotated[list[int] | None, typer.Option("--workers", min=1, help="Of the node; 2 if not given.")] = None,
    one_each_second: Annotated[
        int, typer.Option("--one-each-second", min=1, help="Radiographs that the latency is taken of.")
    ] = 20,
    side: Annotated[int, typer.Option("--side", min=256, help="Of a radiograph, in pixels.")] = 2500,
    as_json: JsonOption = False,
) -> None:
    """Send radiographs through the whole node to a PACS: throughput, latency, CPU, memory, start.

    The PACS is storescp, then Orthanc; in a checkout the naive build gets the same.
    Needs DCMTK and Orthanc.

    Example: covid-xnet bench node --workers 1 --workers 2 --workers 4
    """
    from dicom_node.bench.node import measure

    report = measure(
        radiographs=radiographs, rounds=rounds, workers=workers or [2], side=side, one_each_second=one_each_second
    )
    _show(report, as_json)


@bench.command()
def train(
    images: Annotated[int, typer.Option("--images", min=32, help="Prepared images to draw batches from.")] = 2000,
    batches: Annotated[int, typer.Option("--batches", min=1, help="Of each measurement.")] = 30,
    as_json: JsonOption = False,
) -> None:
    """Compare how fast training varies images with how fast the network learns them.

    Needs the extra `train`.

    Example: covid-xnet bench train
    """
    from dicom_node.bench.train import measure

    _show(measure(images=images, batches=batches), as_json)


@bench.command()
def ledger(
    readings: Annotated[
        list[int] | None, typer.Option("--readings", min=1, help="Sizes of the ledger, ascending; to a million.")
    ] = None,
    inserts: Annotated[int, typer.Option("--inserts", min=1, help="Objects that are received at each size.")] = 200,
    queries: Annotated[int, typer.Option("--queries", min=1, help="Of each kind, at each size.")] = 40,
    as_json: JsonOption = False,
) -> None:
    """Fill a ledger with readings, and time inserts and queries as it grows. A million take 3 GB of disk.

    Example: covid-xnet bench ledger --readings 1000 --readings 100000
    """
    from dicom_node.bench.ledger import measure

    _show(measure(readings=readings or [1_000, 100_000, 1_000_000], inserts=inserts, queries=queries), as_json)


@bench.command("all")
def measure_all(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", file_okay=False, help="For bench.json and bench.md.")],
) -> None:
    """Measure all of it, shortened to about twelve minutes on two cores, and write JSON and Markdown.

    Example: covid-xnet bench all --out bench-output
    """
    from rich.console import Console

    from dicom_node.bench import ledger, node, read, receive, train

    console = Console()
    reports: list[Report] = []
    out.mkdir(parents=True, exist_ok=True)
    measurements: dict[str, Callable[[], Report]] = {
        "node": partial(node.measure, radiographs=40, rounds=2, workers=[2], side=2500, one_each_second=20),
        "receive": partial(receive.measure, megabytes=150, rounds=3, associations=[1, 4]),
        "read": partial(read.measure, files=100, repeats=10, megapixels=[0.25, 1, 4, 16, 40]),
        "ledger": partial(ledger.measure, readings=[1_000, 1_000_000], inserts=200, queries=40),
        "train": partial(train.measure, images=2000, batches=20),
    }
    for name, measure in measurements.items():
        try:
            reports.append(measure())
        except NodeError as e:  # what cannot be measured here must not cost the rest
            console.print(f"{name}: {e}", style="yellow", markup=False)
            continue
        reports[-1].show(console)
        (out / "bench.json").write_text(json.dumps([report.as_json() for report in reports], indent=2))
        (out / "bench.md").write_text("\n".join(report.as_markdown() for report in reports))
    console.print(f"Written: {out / 'bench.json'}, {out / 'bench.md'}", highlight=False, soft_wrap=True)


def _show(report: "Report", as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2))
        return
    from rich.console import Console

    report.show(Console())
