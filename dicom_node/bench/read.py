"""How fast files are read offline, what each step costs, and what large or awkward radiographs cost."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import cv2
from pydicom import dcmread, dcmwrite
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless, RLELossless

from dicom_node.bench.radiographs import chest, radiograph, write_radiographs
from dicom_node.bench.report import Report, Section, Value
from dicom_node.bench.usage import watched
from dicom_node.roles import ONE_THREAD

_SQUARE: Final = 2500
_FORTY_MEGAPIXELS: Final = 6325
_TWENTY_MEGABYTES: Final = 4400
"""Pixels along a side of the chest that takes 20 MB in JPEG 2000."""
_AWKWARD: Final[Sequence[tuple[str, int, UID | None]]] = (
    ("6 MP, as it is", _SQUARE, None),
    ("6 MP, RLE, 16 bits", _SQUARE, RLELossless),
    ("6 MP, JPEG-LS", _SQUARE, JPEGLSLossless),
    ("6 MP, JPEG 2000", _SQUARE, JPEG2000Lossless),
    ("JPEG 2000 of 20 MB", _TWENTY_MEGABYTES, JPEG2000Lossless),
    ("40 MP, as it is", _FORTY_MEGAPIXELS, None),
)


def measure(*, files: int, repeats: int, megapixels: Sequence[float]) -> Report:
    """Read `files` radiographs with the command, then some of them step by step, then awkward ones.

    repeats: of each step. megapixels: sizes for the curve of costs.
    """
    began = time.monotonic()
    with TemporaryDirectory(prefix="covid-xnet-bench-") as name:
        folder = Path(name)
        sections = [
            _command(folder, files),
            _steps(folder / "steps", repeats),
            _by_size(folder / "sizes", megapixels, repeats),
            _awkward(folder / "awkward"),
        ]
    return Report(command="read", sections=sections, seconds=time.monotonic() - began)


def _command(folder: Path, count: int) -> Section:
    write_radiographs(folder / "files", count, rows=_SQUARE, columns=_SQUARE)
    seconds, cpu, peak, lines = _read(folder / "files")
    cores = len(os.sched_getaffinity(0))
    row: dict[str, Value] = {
        "files": count,
        "read": sum(line["accepted"] for line in lines),
        "images/s": count / seconds,
        "CPU ms/image": 1000 * cpu / count,
        "cores used": cpu / seconds,
        "of them, %": 100 * cpu / seconds / cores,
        "RSS MB": peak,
    }
    return Section(
        title="covid-xnet read, files of 12.5 MB",
        note="The whole command, its start included. RSS: of all its processes.",
        rows=[row],
    )


def _read(*paths: Path) -> tuple[float, float, float, list[dict[str, Any]]]:
    """Wall-clock seconds, CPU seconds, largest RSS in megabytes and the lines of a run of the command."""
    with subprocess.Popen(
        [sys.executable, "-m", "dicom_node", "read", "--json", *map(str, paths)],
        env={**os.environ, **ONE_THREAD},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        begin = time.perf_counter()
        before = os.times()
        with watched(process.pid) as usage:
            assert process.stdout is not None
            lines = [json.loads(line) for line in process.stdout]
        process.wait()
        seconds, after = time.perf_counter() - begin, os.times()
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return seconds, cpu, usage.peak_megabytes, lines


def _steps(folder: Path, repeats: int) -> Section:
    file = write_radiographs(folder, 1, rows=_SQUARE, columns=_SQUARE)[0]
    found: dict[str, list[float]] = {}
    for _ in range(repeats + 1):
        for step, milliseconds in _walk(file, folder):
            found.setdefault(step, []).append(milliseconds)
    rows: list[dict[str, Value]] = [{"step": step, "CPU ms": median(values[1:])} for step, values in found.items()]
    rows.append({"step": "all of it", "CPU ms": sum(median(values[1:]) for values in found.values())})
    return Section(
        title="Steps of a worker, one radiograph of 2500 x 2500",
        note=f"CPU time in this process, one thread; medians of {repeats}.",
        rows=rows,
    )


def _walk(file: Path, folder: Path) -> Iterator[tuple[str, float]]:
    """Do what a worker does with one radiograph; yields each step and its CPU time in milliseconds."""
    from dicom_node.results.compose import compose, save
    from pipeline.flow import load_networks, read
    from pipeline.radiograph import from_dicom

    cv2.setNumThreads(1)
    networks = load_networks()
    begin = time.process_time()

    def lap() -> float:
        nonlocal begin
        now = time.process_time()
        taken, begin = 1000 * (now - begin), now
        return taken

    source = dcmread(file)
    pixels = from_dicom(source, maximum_pixels=_SQUARE * _SQUARE)
    del source.PixelData
    yield "open and decode", lap()
    reading = read(pixels, networks)
    yield "networks and what prepares for them", lap()
    results = compose(
        source, pixels, reading, journey="bench", view="PA", evidence="", flags=(), read_at=datetime.now(UTC)
    )
    yield "compose overlay and report", lap()
    for kind, dataset in results.by_kind().items():
        save(dataset, folder / "results" / f"{kind}.dcm")
    yield "write and sync them", lap()


def _by_size(folder: Path, megapixels: Sequence[float], repeats: int) -> Section:
    rows: list[dict[str, Value]] = []
    for size in megapixels:
        side = round((size * 1e6) ** 0.5)
        file = write_radiographs(folder / str(side), 1, rows=side, columns=side)[0]
        rows.append({"megapixels": size, **_alone(file, repeats)})
    return Section(
        title="The cost by the size of the radiograph",
        note="`covid-xnet read` of one file: milliseconds from opening it to its label; RSS of the process.",
        rows=rows,
    )


def _awkward(folder: Path) -> Section:
    folder.mkdir()
    rows: list[dict[str, Value]] = []
    for number, (what, side, syntax) in enumerate(_AWKWARD):
        file = folder / f"{number}.dcm"
        pixels = chest(side, side, seed=number)
        dataset = radiograph(pixels, number) if syntax is None else radiograph(pixels, number, syntax=syntax)
        dcmwrite(file, dataset, enforce_file_format=True)
        rows.append({"radiograph": what, "file MB": file.stat().st_size / 1e6, **_alone(file, 1)})
    return Section(
        title="Large and awkward radiographs",
        note="`covid-xnet read` of one file: milliseconds from opening it to its label; RSS of the process.",
        rows=rows,
    )


def _alone(file: Path, repeats: int) -> dict[str, Value]:
    # The first of a process also loads what the decoder needs.
    _, _, peak, lines = _read(*[file] * (repeats + 1))
    return {
        "read": lines[-1]["label"] or lines[-1]["reason"],
        "ms": median(line["milliseconds"] for line in lines[1:]),
        "RSS MB": peak,
    }
