"""How many radiographs the whole node carries, how soon their results are in the PACS, and what each of them costs."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from pydicom import dcmread
from pydicom.uid import generate_uid

from dicom_node.bench import peers
from dicom_node.bench.peers import Server
from dicom_node.bench.radiographs import write_radiographs
from dicom_node.bench.report import Report, Section, Value, median, quantile
from dicom_node.bench.starting import starts
from dicom_node.bench.usage import watched
from dicom_node.demo.node import RunningNode, running_node
from dicom_node.demo.orthanc import free_port
from dicom_node.errors import NodeError
from dicom_node.returns.returner import Sender

RESULTS: Final = 2
"""Objects that the PACS gets of each radiograph: overlay and report."""
_WARM_UP: Final = 2
_SECONDS_EACH: Final = 30.0

Pacs = Callable[[Path], AbstractContextManager[Server]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One burst through a node. cpu: milliseconds for a radiograph, by the name of the process."""

    rate: float
    cpu: dict[str, float]
    stages: dict[str, float]
    listener_megabytes: float
    worker_megabytes: float
    returner_megabytes: float


def measure(*, radiographs: int, rounds: int, workers: Sequence[int], side: int, one_each_second: int) -> Report:
    """Send bursts to a node beside each PACS in turn, then single radiographs.

    radiographs: in a burst. workers: of the node, one measurement for each. side: of a radiograph, in pixels.
    one_each_second: how many radiographs the latency is taken of. Raises NodeError if a program is missing.
    """
    began = time.monotonic()
    with TemporaryDirectory(prefix="covid-xnet-bench-") as name:
        folder = Path(name)
        files = write_radiographs(folder / "radiographs", radiographs, rows=side, columns=side)
        sections = [
            *_throughput(folder, files, rounds, workers),
            _latency(folder, files[0], one_each_second),
            starts(folder / "starts", rounds),
        ]
    return Report(command="node", sections=sections, seconds=time.monotonic() - began)


def _throughput(folder: Path, files: Sequence[Path], rounds: int, workers: Sequence[int]) -> Iterator[Section]:
    subjects: list[tuple[str, Callable[[Path], Run]]] = []
    for number in workers:
        for pacs in (peers.storescp, peers.orthanc):
            name = f"covid-xnet, {number} worker{'s' if number > 1 else ''}, {pacs.__name__}"
            subjects.append((name, partial(_burst, files=files, pacs=pacs, workers=number)))
    if not peers.no_naive():
        some = files[: max(2, len(files) // 6)]
        subjects.append(("naive build, storescp", partial(_naive_burst, files=some)))
    runs: dict[str, list[Run]] = {name: [] for name, _ in subjects}
    for turn in range(rounds):
        for index, (name, run) in enumerate(subjects):
            runs[name].append(run(folder / f"{turn}-{index}"))
    first = runs[subjects[0][0]]
    yield Section(
        title="From the first byte sent to the last result in the PACS",
        note=f"{len(files)} radiographs in one association, {rounds} rounds in turn; medians. Sender, node and PACS "
        "share the machine. CPU ms: for one radiograph. Ratio: images/s of the first row for one of this row.",
        rows=[
            {
                "subject": name,
                "images/s": median([run.rate for run in found]),
                "ratio": median([a.rate / b.rate for a, b in zip(first, found, strict=True)]),
                "CPU ms, all of it": median([sum(run.cpu.values()) for run in found]),
                "listener": _cpu(found, "listener"),
                "workers": _cpu(found, "worker"),
                "returner": _cpu(found, "returner"),
                "listener RSS MB": _largest([run.listener_megabytes for run in found]),
                "worker RSS MB": _largest([run.worker_megabytes for run in found]),
                "returner RSS MB": _largest([run.returner_megabytes for run in found]),
            }
            for name, found in runs.items()
        ],
    )
    yield Section(
        title="Stages of one reading",
        note="Wall-clock milliseconds from the ledger of the first row above; median of all its radiographs.",
        rows=[
            {"stage": stage, "ms": median([run.stages[stage] for run in first if stage in run.stages])}
            for stage in first[0].stages
        ],
    )


def _cpu(runs: Sequence[Run], role: str) -> Value:
    return median([sum(ms for name, ms in run.cpu.items() if name.startswith(role)) for run in runs]) or None


def _largest(values: Sequence[float]) -> Value:
    return max(values) or None


@contextmanager
def _node(folder: Path, pacs: Server, workers: int) -> Iterator[tuple[RunningNode, Server]]:
    settings = {
        "ae_title": "COVIDXNET",
        "port": free_port(),
        "workers": workers,
        "destinations": [str(pacs.peer)],
    }
    with running_node(folder, settings) as node:
        yield node, replace(pacs, peer=node.peer, pid=node.process.pid, send=peers.to_peer(node.peer))


def _burst(folder: Path, files: Sequence[Path], pacs: Pacs, workers: int) -> Run:
    with pacs(folder / "pacs") as archive, _node(folder / "node", archive, workers) as (node, server):
        server.send([files[0]] * _WARM_UP * workers, 1)
        warm = RESULTS * _WARM_UP * workers
        _wait(archive, warm)
        rate, cpu, usage = _timed(server, archive, files, warm)
        stages: dict[str, list[float]] = {}
        for found in node.status()["objects"]:
            for stage, milliseconds in ((found["reading"] or {}).get("stages") or {}).items():
                stages.setdefault(stage, []).append(milliseconds)
    return Run(
        rate=rate,
        cpu=cpu,
        stages={stage: statistics.median(values) for stage, values in stages.items()},
        listener_megabytes=usage.peak_of("listener"),
        worker_megabytes=usage.peak_of("worker"),
        returner_megabytes=usage.peak_of("returner"),
    )


def _naive_burst(folder: Path, files: Sequence[Path]) -> Run:
    folder.mkdir()
    with peers.storescp(folder / "pacs") as archive, peers.naive(folder / "naive", pacs=archive.peer) as server:
        server.send(files[:1], 1)
        _wait(archive, RESULTS)
        rate, cpu, usage = _timed(server, archive, files, RESULTS)
    return Run(
        rate=rate,
        cpu=cpu,
        stages={},
        listener_megabytes=0,
        worker_megabytes=usage.peak_megabytes,
        returner_megabytes=0,
    )


def _timed(server: Server, archive: Server, files: Sequence[Path], before: int) -> tuple[float, dict[str, float], Any]:
    with watched(server.pid) as usage:
        begin = time.perf_counter()
        server.send(files, 1)
        _wait(archive, before + RESULTS * len(files))
        seconds = time.perf_counter() - begin
    return len(files) / seconds, {name: 1000 * cpu / len(files) for name, cpu in usage.cpu.items()}, usage


def _wait(archive: Server, objects: int) -> None:
    deadline = time.monotonic() + _SECONDS_EACH * objects
    while (stored := archive.stored()) < objects:
        if time.monotonic() > deadline:
            raise NodeError(f"The PACS has {stored} results and not {objects}.")
        time.sleep(0.02)


def _latency(folder: Path, file: Path, radiographs: int) -> Section:
    rows: list[dict[str, Value]] = []
    for pacs in (peers.storescp, peers.orthanc):
        with ExitStack() as stack:
            where = folder / f"latency-{pacs.__name__}"
            archive = stack.enter_context(pacs(where / "pacs"))
            _, server = stack.enter_context(_node(where / "node", archive, 2))
            server.send([file] * 4, 1)
            _wait(archive, 4 * RESULTS)
            seconds = _one_each_second(server, archive, file, radiographs)
        rows.append(
            {
                "PACS": archive.name,
                "radiographs": radiographs,
                "p50 ms": median(seconds),
                "p95 ms": quantile(seconds, 0.95),
                "largest ms": max(seconds),
            }
        )
    return Section(
        title="One radiograph each second",
        note="From the end of its C-STORE until the PACS has overlay and report; two workers.",
        rows=rows,
    )


def _one_each_second(server: Server, archive: Server, file: Path, radiographs: int) -> list[float]:
    found = []
    dataset = dcmread(file)
    kinds = [(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)]
    with Sender(server.peer, kinds, calling_ae="BENCH", timeout=60) as sender:
        for _ in range(radiographs):
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            before, begin = archive.stored(), time.perf_counter()
            answer = sender.send(dataset)
            if not answer.delivered:
                raise NodeError(f"The node did not take a radiograph: {answer.in_words}.")
            stored = time.perf_counter()
            while archive.stored() < before + RESULTS:
                time.sleep(0.002)
            found.append(1000 * (time.perf_counter() - stored))
            time.sleep(max(0.0, 1 - (time.perf_counter() - begin)))
    return found
