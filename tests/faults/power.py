"""Power cuts: what a process told the kernel is recorded, and any state that a disk may be left in is made of it.

strace writes down each write, truncation, creation, rename, removal and sync below a folder, and each answer to the
network. After a power cut a disk has all that was synced. Of what was not, it has what chance let through: whole or in
sectors, contents without the name of the file or the name without the contents. Changes of a folder come in their
order, as journalling file systems keep it.
"""

import random
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

CALLS: Final = "openat,write,pwrite64,ftruncate,fsync,fdatasync,rename,unlink,unlinkat,sendto,close"
SECTOR: Final = 512


class Did(StrEnum):
    """What the process did."""

    CREATE = "create"
    WRITE = "write"
    TRUNCATE = "truncate"
    SYNC = "sync"
    RENAME = "rename"
    REMOVE = "remove"
    ANSWER = "answer"
    """A P-DATA-TF went to the peer. PS3.8 9.3.5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    did: Did
    path: str = ""
    data: bytes = b""
    offset: int = 0
    """-1: at the end."""
    to: str = ""


def strace(log: Path) -> list[str]:
    """The words to put before a command line."""
    return ["strace", "-f", "-y", "-xx", "-s", "10000000", "-o", str(log), "-e", f"trace={CALLS}"]


def read_log(log: Path, root: Path) -> Iterator[Step]:
    """The steps that changed something below `root`, in the order in which they ended."""
    begun: dict[str, str] = {}
    for line in log.read_text().splitlines():
        thread, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[thread] = call.removesuffix("<unfinished ...>").rstrip()
            if begun[thread].startswith("sendto"):
                yield from _step(begun.pop(thread) + ") = 1", root)  # it may have left at once
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", call):
            if thread not in begun:
                continue
            call = begun.pop(thread) + resumed[1]
        yield from _step(call, root)


def _step(call: str, root: Path) -> Iterator[Step]:
    if " = -1 " in call or not (parsed := re.match(r"(\w+)\((.*)\)\s+= ", call)):
        return
    name, arguments = parsed.groups()
    strings = [_decoded(text) for text in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', arguments)]
    opened = re.match(r"\d+<((?:\\x[0-9a-f]{2}|[^>])*)>", arguments)
    path = "" if opened is None else _decoded(opened[1]).decode().removesuffix(" (deleted)")
    numbers = [int(number) for number in re.findall(r", (\d+)(?=,|$)", arguments)]
    names = [text.decode() for text in strings] if name in ("rename", "unlink", "unlinkat", "openat") else []
    match name:
        case "sendto" if strings and strings[0][:1] == b"\x04":
            yield Step(did=Did.ANSWER)
        case "openat" if "O_CREAT" in arguments and names and _below(names[0], root):
            yield Step(did=Did.CREATE, path=names[0])
        case "write" if _below(path, root):
            yield Step(did=Did.WRITE, path=path, data=strings[0], offset=-1)
        case "pwrite64" if _below(path, root):
            yield Step(did=Did.WRITE, path=path, data=strings[0], offset=numbers[-1])
        case "ftruncate" if _below(path, root):
            yield Step(did=Did.TRUNCATE, path=path, offset=numbers[-1])
        case "fsync" | "fdatasync" if _below(path, root):
            yield Step(did=Did.SYNC, path=path)
        case "rename" if _below(names[0], root):
            yield Step(did=Did.RENAME, path=names[0], to=names[1])
        case "unlink" | "unlinkat" if _below(names[0], root):
            yield Step(did=Did.REMOVE, path=names[0])


def _decoded(text: str) -> bytes:
    return text.encode().decode("unicode_escape").encode("latin-1")


def _below(path: str, root: Path) -> bool:
    return path == str(root) or path.startswith(f"{root}/")


@dataclass(slots=True)
class _File:
    synced: bytearray = field(default_factory=bytearray)
    pending: list[Step] = field(default_factory=list)
    size: int = 0


class Disk:
    """What is on a disk for sure, and what may be. Paths are those that the process used."""

    def __init__(self, root: Path) -> None:
        """Begin with all that lies below `root` now, synced."""
        self._root = root
        self._files: dict[str, _File] = {}
        for path in root.rglob("*"):
            if path.is_file():
                content = bytearray(path.read_bytes())
                self._files[str(path)] = _File(synced=content, size=len(content))
        self._names = dict(self._files)
        self._pending: dict[str, list[Step]] = {}
        self._created: dict[int, _File] = {}

    def take(self, step: Step) -> None:
        """One step more."""
        match step.did:
            case Did.CREATE:
                if step.path not in self._files:
                    self._files[step.path] = file = _File()
                    self._rename_later(step, file)
            case Did.WRITE:
                file = self._files[step.path]
                offset = file.size if step.offset == -1 else step.offset
                file.pending.append(Step(did=step.did, data=step.data, offset=offset))
                file.size = max(file.size, offset + len(step.data))
            case Did.TRUNCATE:
                self._files[step.path].pending.append(step)
                self._files[step.path].size = step.offset
            case Did.RENAME:
                file = self._files.pop(step.path)
                self._files[step.to] = file
                self._rename_later(step, file)
            case Did.REMOVE:
                if self._files.pop(step.path, None) is not None:
                    self._rename_later(step, _File())
            case Did.SYNC:
                if step.path in self._files:
                    file = self._files[step.path]
                    for pending in file.pending:
                        _apply(file.synced, pending)
                    file.pending.clear()
                else:
                    for pending in self._pending.pop(step.path, []):
                        self._settle(self._names, pending)

    def _rename_later(self, step: Step, file: _File) -> None:
        self._created[id(step)] = file
        # A rename between folders is one change of the file system: it is kept with the folder that it goes to.
        self._pending.setdefault(str(Path(step.to or step.path).parent), []).append(step)

    def _settle(self, names: dict[str, _File], step: Step) -> None:
        if step.did is Did.REMOVE:
            names.pop(step.path, None)
        elif step.did is Did.RENAME:
            names.pop(step.path, None)
            names[step.to] = self._created[id(step)]
        else:
            names[step.path] = self._created[id(step)]

    def leave(self, target: Path, chance: random.Random, *, share: float) -> None:
        """Write what the disk may hold after a power cut now.

        share: of what was not synced, how much got through: 0 nothing, 1 all.
        """
        names = dict(self._names)
        for pending in self._pending.values():
            for step in pending[: round(len(pending) * (share if share in (0, 1) else chance.random()))]:
                self._settle(names, step)
        shutil.rmtree(target, ignore_errors=True)
        for name, file in names.items():
            content = bytearray(file.synced)
            for step in file.pending:
                for piece in _sectors(step):
                    if chance.random() < share:
                        _apply(content, piece)
            path = target / Path(name).relative_to(self._root)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _sectors(step: Step) -> Sequence[Step]:
    if step.did is Did.TRUNCATE:
        return [step]
    return [
        Step(did=Did.WRITE, data=step.data[begin : begin + SECTOR], offset=step.offset + begin)
        for begin in range(0, len(step.data), SECTOR)
    ]


def _apply(content: bytearray, step: Step) -> None:
    if step.did is Did.TRUNCATE:
        del content[step.offset :]
        return
    if len(content) < step.offset:
        content.extend(b"\0" * (step.offset - len(content)))
    content[step.offset : step.offset + len(step.data)] = step.data
