"""How fast objects are taken in, durably, beside other receivers."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from dicom_node.bench import peers
from dicom_node.bench.peers import Server
from dicom_node.bench.radiographs import write_radiographs
from dicom_node.bench.report import Report, Section, Value, median
from dicom_node.bench.usage import watched

LARGE: Final = (2500, 2500)
"""12.5 MB, a direct radiograph."""
SMALL: Final = (512, 512)
"""512 KB."""

_SUBJECTS: Final[Sequence[Callable[[Path], AbstractContextManager[Server]]]] = (
    peers.covid_xnet,
    peers.orthanc,
    peers.storescp,
    peers.raw,
    peers.naive,
)


def measure(*, megabytes: int, rounds: int, associations: Sequence[int]) -> Report:
    """Send the same objects to each receiver in turn.

    megabytes: that each gets in each round, of large and of small objects. Raises NodeError if a program is missing.
    """
    began = time.monotonic()
    with TemporaryDirectory(prefix="covid-xnet-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        servers = []
        for subject in _SUBJECTS:
            if subject is peers.naive and peers.no_naive():
                continue
            servers.append(stack.enter_context(subject(folder / subject.__name__)))
        sections = [_section(folder, servers, shape, megabytes, rounds, associations) for shape in (LARGE, SMALL)]
    return Report(command="receive", sections=sections, seconds=time.monotonic() - began)


def _section(
    folder: Path,
    servers: Sequence[Server],
    shape: tuple[int, int],
    megabytes: int,
    rounds: int,
    associations: Sequence[int],
) -> Section:
    rows, columns = shape
    size = 2 * rows * columns / 1e6
    count = max(*associations, 1, round(megabytes / size))
    files = write_radiographs(folder / f"{rows}", count, rows=rows, columns=columns)
    found = []
    for number in associations:
        found += _rows(servers, files, number, rounds)
    return Section(
        title=f"Durable receive, objects of {size:.3g} MB",
        note=f"storescu; {len(files)} objects a round, {rounds} rounds in turn; medians. "
        "Ratio: images/s of covid-xnet for one of this receiver, within a round. storescp syncs nothing.",
        rows=found,
    )


def _rows(servers: Sequence[Server], files: Sequence[Path], associations: int, rounds: int) -> list[dict[str, Value]]:
    rates: dict[str, list[float]] = defaultdict(list)
    cpu: dict[str, list[float]] = defaultdict(list)
    peak: dict[str, list[float]] = defaultdict(list)
    for server in servers:
        server.send(files[:associations], associations)  # the first costs more everywhere
    for _ in range(rounds):
        for server in servers:
            with watched(server.pid) as usage:
                begin = time.perf_counter()
                server.send(files, associations)
                seconds = time.perf_counter() - begin
            rates[server.name].append(len(files) / seconds)
            cpu[server.name].append(1000 * usage.cpu_seconds / len(files))
            peak[server.name].append(usage.peak_megabytes)
    own = rates[servers[0].name]
    return [
        {
            "receiver": server.name,
            "associations": associations,
            "images/s": median(rates[server.name]),
            "ratio": median([a / b for a, b in zip(own, rates[server.name], strict=True)]),
            "CPU ms/image": median(cpu[server.name]),
            "CPU ratio": (median(cpu[server.name]) or 0) / max(median(cpu[servers[0].name]) or 0, 1e-9),
            "RSS MB": max(peak[server.name]),
        }
        for server in servers
    ]
