"""`covid-xnet read`: read files offline, through the same gate and the same pipeline as the node."""

import json
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dicom_node.cli.context import settings_of
from dicom_node.errors import NodeError, NotUnderstood
from dicom_node.settings import Settings
from pipeline.errors import UnreadableRadiograph

if TYPE_CHECKING:  # commands import what is large when they run: --help answers at once
    from pydicom import Dataset

    from dicom_node.reception.intake import Accepted
    from pipeline.flow import Networks
    from pipeline.radiograph import Radiograph
    from pipeline.reading import Reading

_PLAIN_BEGINNINGS: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_WORTH_A_PROCESS: Final = 25
"""Files that take as long as another process takes to start."""
_IMAGE_SUFFIXES: Final = (".dcm", ".png", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What is said about one file; with --json the keys, in this order.

    file: path as given or found. accepted: whether it was read. reason: why not. score: suspicion towards COVID-19,
    [0, 1]. label: positive, negative or indeterminate. model: name and version. milliseconds: from opening the file
    to its label, without the writing of results. probability: what calibration makes of the score, [0, 1], if half of
    the radiographs showed COVID-19. commissioning: digest, date, signer and size of that of this site; None: the node
    is not commissioned. model_digest: of all networks and the recipe. sop_instance_uid: None for PNG and JPEG.
    """

    file: str
    accepted: bool
    reason: str | None = None
    score: float | None = None
    label: str | None = None
    model: str | None = None
    milliseconds: float
    probability: float | None = None
    commissioning: dict[str, Any] | None = None
    model_digest: str | None = None
    sop_instance_uid: str | None = None


class _Refused(Exception):
    """The file is intact, but it is not to be read."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("read")(read)


def read(
    ctx: typer.Context,
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", exists=True, help="DICOM, PNG or JPEG files, or folders of them."),
    ],
    json_lines: Annotated[bool, typer.Option("--json", help="Print a JSON line for each file, as they come.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", file_okay=False, help="Write overlay (DICOM, PNG) and report (DICOM) there."),
    ] = None,
) -> None:
    """Read chest radiographs from files, without PACS or queue. Investigational, not for diagnosis.

    Every file passes the gate that received objects pass. PNG and JPEG count as
    chests of unknown view, air dark: their pixels are judged. Folders are walked in the order of names;
    what is no image in them is refused.

    Exit codes: 0 every file was read or refused, 1 a file is damaged and its line
    says why, 2 wrong usage.

    Examples: covid-xnet read chest.dcm
              covid-xnet read --json studies/ > scores.jsonl
              covid-xnet read --out results chest.png
    """
    from rich.console import Console
    from rich.progress import Progress

    from dicom_node.journey.site import networks_here
    from dicom_node.results.wording import DISCLAIMER
    from models.registry import WeightsMismatch

    settings = settings_of(ctx)
    files = list(files_of(paths, out))
    if not files:
        raise typer.BadParameter("There are no files.", param_hint="PATH...")
    try:
        networks, ignored = networks_here(settings)
    except WeightsMismatch as e:
        raise NodeError(f"{e}.", hint="Set weights_dir, or install the node again.") from e
    console = Console(stderr=True)
    console.print(DISCLAIMER, highlight=False)
    if ignored:
        console.print(f"Not commissioned at this site: {ignored}.", markup=False, highlight=False)
    lines: list[Line] = []
    unread = 0
    # redirect_stdout: rich would print on standard error what goes to standard output.
    with Progress(
        console=console, disable=not console.is_terminal or len(files) < 2, redirect_stdout=False, transient=True
    ) as progress:
        stems = [out and out / f"{number:04}-{file.stem}" for number, file in enumerate(files, start=1)]
        all_of_them = _read_all(files, stems, settings, networks)
        for line, damaged in progress.track(all_of_them, total=len(files), description="Reading"):
            lines.append(line)
            unread += damaged
            if json_lines:
                sys.stdout.write(json.dumps(asdict(line)) + "\n")
                sys.stdout.flush()
    if not json_lines:
        _print_table(lines)
    if unread:
        raise NodeError(f"{unread} of {len(files)} files could not be read.", hint="Their lines say why.")


def _read_all(
    files: list[Path], stems: list[Path | None], settings: Settings, networks: "Networks"
) -> Iterator[tuple[Line, bool]]:
    """What `line_of` says of each, in their order; of many, on all cores. Raises NodeError if one ends its process."""
    processes = min(len(os.sched_getaffinity(0)), len(files) // _WORTH_A_PROCESS)
    if processes < 2:
        for file, stem in zip(files, stems, strict=True):
            yield line_of(file, settings, networks, stem)
        return
    # OpenVINO does not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(settings,)) as pool:
        try:
            yield from pool.map(_line_here, files, stems)
        except BrokenProcessPool as e:
            hint = "Read fewer at a time to find out which: that one is damaged, or needs too much memory."
            raise NodeError("A file ended the process that read it.", hint=hint) from e


_here: "tuple[Settings, Networks] | None" = None
"""Of a process of the pool, set when it starts."""


def _begin(settings: Settings) -> None:
    import cv2

    from dicom_node.journey.site import networks_here

    global _here
    cv2.setNumThreads(1)  # a process is one core
    _here = settings, networks_here(settings)[0]


def _line_here(file: Path, stem: Path | None) -> tuple[Line, bool]:
    assert _here is not None
    return line_of(file, *_here, stem)


def line_of(file: Path, settings: Settings, networks: "Networks", stem: Path | None) -> tuple[Line, bool]:
    """What is said about one file, whose results are written as `stem` if given; and whether it is damaged."""
    begin = time.perf_counter()
    damaged = True
    try:
        return _read_file(file, settings, networks, stem), False
    except _Refused as e:
        reason, damaged = str(e), False
    except (NodeError, UnreadableRadiograph) as e:
        reason = str(e)
    except OSError as e:
        reason = f"The file cannot be read or written: {e.strerror or type(e).__name__}."
    except Exception as e:  # the edge: one file must not stop the others
        reason = f"Unexpected error in the node: {type(e).__name__}."
    milliseconds = round((time.perf_counter() - begin) * 1000, 1)
    return Line(file=str(file), accepted=False, reason=reason, milliseconds=milliseconds), damaged


def files_of(paths: list[Path], out: Path | None) -> Iterator[Path]:
    """Walk `paths`; what an earlier run wrote to `out` is left out."""
    for path in paths:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.is_file() and not (out and file.resolve().is_relative_to(out.resolve())):
                    yield file
        else:
            yield path


def _read_file(file: Path, settings: Settings, networks: "Networks", stem: Path | None) -> Line:
    """Judge and read one file, and write its results as `stem`, if given. Raises _Refused and what its steps raise."""
    from pydicom import dcmread

    from dicom_node.journey.second_look import look
    from dicom_node.reception.header import read_header
    from dicom_node.reception.intake import Refused, judge
    from dicom_node.synthetic import wrap
    from pipeline.flow import read
    from pipeline.radiograph import from_dicom

    begin = time.perf_counter()
    maximum_pixels = int(settings.maximum_megapixels * 1e6)
    # pydicom warns of every small breach of the standard, with the value, and a value may name the patient.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if _is_dicom(file):
            maximum_bytes = int(settings.maximum_object_megabytes * 1e6)
            header = read_header(file, maximum_bytes=maximum_bytes, maximum_pixels=maximum_pixels).dataset
            wrapped = None
        else:
            header = wrapped = wrap(file, maximum_pixels=maximum_pixels)
        verdict = judge(header, settings)
        if isinstance(verdict, Refused):
            raise _Refused(f"{verdict.reason}: {verdict.detail}")
        source = dcmread(file) if wrapped is None else wrapped
        radiograph = from_dicom(source, maximum_pixels=maximum_pixels)
    verdict = look(verdict, radiograph, networks.view)
    if isinstance(verdict, Refused):
        raise _Refused(f"{verdict.reason}: {verdict.detail}")
    reading = read(radiograph, networks)
    line = Line(
        file=str(file),
        accepted=True,
        score=reading.score,
        label=reading.verdict.value,
        model=str(reading.model),
        milliseconds=round((time.perf_counter() - begin) * 1000, 1),
        probability=reading.probability,
        commissioning=None if reading.commissioning is None else reading.commissioning.summary(),
        model_digest=reading.model.digest,
        sop_instance_uid=str(source.SOPInstanceUID) if wrapped is None else None,
    )
    if stem is not None:
        _write_results(stem, source, radiograph, reading, verdict)
    return line


def _is_dicom(file: Path) -> bool:
    """Tell DICOM (True) from PNG and JPEG (False) by the first bytes.

    Raises _Refused for any other file, NotUnderstood if its name promises an image.
    """
    with file.open("rb") as stream:
        beginning = stream.read(132)
    if beginning[128:] == b"DICM":
        return True
    if beginning.startswith(_PLAIN_BEGINNINGS):
        return False
    reason = "It is neither DICOM nor PNG nor JPEG."
    if file.suffix.lower() in _IMAGE_SUFFIXES:
        raise NotUnderstood(reason)
    raise _Refused(reason)


def _write_results(
    stem: Path, source: "Dataset", radiograph: "Radiograph", reading: "Reading", verdict: "Accepted"
) -> None:
    from PIL import Image

    from dicom_node.journey.queue import journey_of
    from dicom_node.results.compose import compose, save

    results = compose(
        source,
        radiograph,
        reading,
        journey=journey_of(source.SOPInstanceUID),
        view=verdict.view,
        evidence=verdict.evidence,
        flags=verdict.flags,
        read_at=datetime.now(UTC),
    )
    for kind, dataset in results.by_kind().items():
        save(dataset, stem.with_name(f"{stem.name}-{kind}.dcm"))
    Image.fromarray(results.overlay).save(stem.with_name(f"{stem.name}-overlay.png"))


def _print_table(lines: list[Line]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from dicom_node.results.wording import DISCLAIMER

    table = Table(caption=DISCLAIMER)
    table.add_column("File", overflow="fold")
    table.add_column("Label or reason", overflow="fold")
    table.add_column("Score", justify="right")
    table.add_column("ms", justify="right")
    for line in lines:
        score = "" if line.score is None else f"{line.score:.3f}"
        # Text: a path or a reason may contain what rich takes for markup.
        table.add_row(Text(line.file), Text(line.label or line.reason or ""), score, f"{line.milliseconds:.0f}")
    Console().print(table)
