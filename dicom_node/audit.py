"""The audit trail: who did what to which study, one JSON object a line, chained so that no line can go unnoticed.

    data_dir/audit/audit.jsonl                the newest lines; every process of the node appends under one lock
    data_dir/audit/audit-<number>.jsonl       older ones, by the number of their first line

Each line has the digest of the one before it and its own, SHA-256 of its content. `anchor` keeps the newest outside of
the files, so that a cut-off end shows, too. Names nobody: studies, objects and journeys stand by their UIDs.
"""

import fcntl
import hashlib
import json
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final

from dicom_node.logs import log

LARGEST_FILE: Final = 16 * 2**20
_FIRST: Final = "0" * 64
_MOST_WAITING: Final = 10_000
_GATHER_SECONDS: Final = 0.2
"""So that a flood of alerts becomes one write, and equal ones one line."""


class Kind(Enum):
    """Event ID of the audit message: code of DCM and meaning. Source: PS3.15 A.5.1.1, PS3.16 CID 400."""

    APPLICATION_ACTIVITY = ("110100", "Application Activity")
    AUDIT_LOG_USED = ("110101", "Audit Log Used")
    INSTANCES_ACCESSED = ("110103", "DICOM Instances Accessed")
    INSTANCES_TRANSFERRED = ("110104", "DICOM Instances Transferred")
    STUDY_DELETED = ("110105", "DICOM Study Deleted")
    IMPORT = ("110107", "Import")
    QUERY = ("110112", "Query")
    SECURITY_ALERT = ("110113", "Security Alert")
    USER_AUTHENTICATION = ("110114", "User Authentication")


class Outcome(Enum):
    """EventOutcomeIndicator. Source: PS3.15 table A.5.2-1."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Number, from 1, and digest of a line; 0 and zeros before the first."""

    number: int = 0
    digest: str = _FIRST


class AuditTrail:
    """Writes for one process. `record` never waits: a thread gathers what comes and appends it."""

    def __init__(self, folder: Path, *, by: str, anchor: Callable[[Head], None]) -> None:
        """by: name of this process. anchor: keeps the newest head; whatever it raises is logged."""
        self._folder = folder
        self._by = by
        self._anchor = anchor
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(_MOST_WAITING)
        self._lost = 0
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def record(self, kind: Kind, *, outcome: Outcome = Outcome.SUCCESS, **details: Any) -> None:
        """Put down that something happened. details: JSON, and no patient's identity."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
                self._thread.start()
        code, meaning = kind.value
        entry = {"code": code, "event": meaning, "outcome": outcome.value, "by": self._by, **details}
        try:
            self._waiting.put_nowait({"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **entry})
        except queue.Full:
            self._lost += 1

    def close(self) -> None:
        """Write what waits, and end the thread."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        last = False
        while not last:
            entries = [self._waiting.get()]
            threading.Event().wait(0 if entries[0] is None else _GATHER_SECONDS)
            while len(entries) < _MOST_WAITING:
                try:
                    entries.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            last = None in entries
            if gathered := _gathered([entry for entry in entries if entry is not None], self._lost):
                self._lost = 0
                # The edge: whatever the disk or the database says, the node goes on, and its log tells.
                try:
                    self._anchor(append(self._folder, gathered))
                except Exception as e:
                    log.error("audit trail not written", reason=type(e).__name__, lines=len(gathered))


def _gathered(entries: list[dict[str, Any]], lost: int) -> list[dict[str, Any]]:
    """Equal entries but for their time become one, with how often it was."""
    seen: dict[str, dict[str, Any]] = {}
    for entry in entries:
        same = json.dumps({key: value for key, value in entry.items() if key != "at"}, sort_keys=True, default=str)
        if same in seen:
            seen[same]["times"] = seen[same].get("times", 1) + 1
        else:
            seen[same] = dict(entry)
    if seen and lost:
        next(reversed(seen.values()))["lost_before"] = lost
    return list(seen.values())


def append(folder: Path, entries: list[dict[str, Any]]) -> Head:
    """Append entries to the chain, on disk when this returns; safe for many processes. Raises OSError."""
    with _locked(folder):
        current = folder / "audit.jsonl"
        head = _end_of(current) or _end_of(_older(folder)[-1] if _older(folder) else None) or Head()
        if current.exists() and current.stat().st_size > LARGEST_FILE:
            first = json.loads(next(iter(_lines(current))))["number"]
            current.rename(folder / f"audit-{first:012d}.jsonl")
        descriptor = os.open(current, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for entry in entries:
                line = {"number": head.number + 1, **entry, "previous": head.digest}
                head = Head(number=head.number + 1, digest=_digest(line))
                file.write(_written({**line, "digest": head.digest}))
            file.flush()
            os.fsync(file.fileno())
    return head


def entries(folder: Path) -> Iterator[dict[str, Any]]:
    """All lines that can be read, the oldest first."""
    for file in (*_older(folder), folder / "audit.jsonl"):
        if file.exists():
            for line in _lines(file):
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict):
                    yield entry


def first_fault(folder: Path, known: Head) -> str:
    """Check the whole chain against itself and `known`, the head that is kept elsewhere.

    Returns "" if every line is there and as it was written, else one sentence that names the first broken line.
    A line that was cut off by a crash and never completed, at the very end, is none.
    """
    head, met = Head(), known.number == 0
    for file in (*_older(folder), folder / "audit.jsonl"):
        lines = list(_lines(file)) if file.exists() else []
        for row, line in enumerate(lines, 1):
            where = f"{file.name}, line {row}"
            try:
                entry: dict[str, Any] = json.loads(line)
                digest, number, previous = entry.pop("digest"), entry["number"], entry["previous"]
            except (ValueError, KeyError, TypeError, AttributeError):
                return f"{where} is no line of the trail."
            if number != head.number + 1 or previous != head.digest:
                return f"{where} does not follow number {head.number}: lines were removed, put in or changed before it."
            if digest != _digest(entry):
                return f"{where}, number {number}, was changed."
            head = Head(number=number, digest=digest)
            if number == known.number:
                if digest != known.digest:
                    return f"{where}, number {number}, is not the one that the ledger knows: the trail was rewritten."
                met = True
    if not met:
        return f"The end is missing: the ledger knows number {known.number}, the files end with {head.number}."
    return ""


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / "audit.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _older(folder: Path) -> list[Path]:
    return sorted(folder.glob("audit-*.jsonl"))


def _lines(file: Path) -> Iterator[bytes]:
    """Lines that were completed."""
    with file.open("rb") as lines:
        yield from (line for line in lines if line.endswith(b"\n"))


def _end_of(file: Path | None) -> Head | None:
    """The head at the end of a file, after removal of a line that a crash cut off; None if the file is empty."""
    if file is None or not file.exists():
        return None
    with file.open("rb+") as lines:
        size = lines.seek(0, os.SEEK_END)
        tail = b""
        while size and tail.count(b"\n") < 2:
            step = min(size, 4096)
            size = lines.seek(size - step)
            tail = lines.read(step) + tail
        complete, _, torn = tail.rpartition(b"\n")
        if torn:
            lines.truncate(lines.seek(0, os.SEEK_END) - len(torn))
        if not complete:
            return None
    try:
        last = json.loads(complete.rpartition(b"\n")[2])
        return Head(number=last["number"], digest=last["digest"])
    except (ValueError, KeyError, TypeError):  # somebody wrote into it: the next line follows nothing, and that shows
        return Head()


def _written(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def _digest(line: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(line, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
