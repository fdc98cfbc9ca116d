"""What a benchmark found, as a table, as Markdown and as JSON, with the machine it was found on."""

import os
import platform
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from dicom_node.demo import orthanc

if TYPE_CHECKING:
    from rich.console import Console

Value = str | int | float | None
"""What stands in a cell: None where there is nothing to measure."""

_PACKAGES: Final = ("covid-xnet", "pynetdicom", "pydicom", "dbos", "sqlalchemy", "numpy", "openvino", "tensorflow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One table: rows with the same columns. note: how it was measured."""

    title: str
    note: str
    rows: Sequence[Mapping[str, Value]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one command measured. seconds: how long that took."""

    command: str
    sections: Sequence[Section]
    seconds: float
    machine: Mapping[str, Value] = field(default_factory=lambda: machine())

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self)

    def show(self, console: "Console") -> None:
        """Print it as tables."""
        from rich.table import Table
        from rich.text import Text

        for section in self.sections:
            table = Table(title=section.title, caption=section.note)
            for number, heading in enumerate(columns(section)):
                table.add_column(heading, justify="left" if number < 2 else "right", overflow="fold")
            for row in section.rows:
                table.add_row(*(Text(shown(row.get(heading))) for heading in columns(section)))
            console.print(table)
        console.print(", ".join(f"{key} {shown(value)}" for key, value in self.machine.items()), highlight=False)

    def as_markdown(self) -> str:
        """As a part of a page."""
        parts = [f"## covid-xnet bench {self.command}"]
        for section in self.sections:
            headings = columns(section)
            lines = [f"| {' | '.join(headings)} |", "|" + "---|" * len(headings)]
            lines += [f"| {' | '.join(shown(row.get(heading)) for heading in headings)} |" for row in section.rows]
            parts += [f"### {section.title}", section.note, "\n".join(lines)]
        parts.append(", ".join(f"{key} {shown(value)}" for key, value in self.machine.items()) + ".")
        return "\n\n".join(parts) + "\n"


def columns(section: Section) -> list[str]:
    """The headings of a section, in the order in which its rows name them first."""
    return list(dict.fromkeys(heading for row in section.rows for heading in row))


def shown(value: Value) -> str:
    """Write a value with the digits that mean something."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def median(values: Sequence[float]) -> float | None:
    """The median; None of nothing."""
    return statistics.median(values) if values else None


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that `share` of them do not exceed; None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]


def machine() -> dict[str, Value]:
    """The machine and the programs on it. load: processes that wanted a core in the last minute, ours among them."""
    found: dict[str, Value] = {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "GiB": round(psutil.virtual_memory().total / 2**30, 1),
        "load": round(os.getloadavg()[0], 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if program := orthanc.program():
        found["Orthanc"] = _version(program)
    if program := shutil.which("storescp"):
        found["DCMTK"] = _version(program)
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(program: str) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, errors="replace", check=False).stdout
    words = said.split()
    return next((word.lstrip("v") for word in words if word.lstrip("v")[:1].isdigit()), "unknown")
