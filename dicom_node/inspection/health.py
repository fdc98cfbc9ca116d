"""Whether the node is well: what an operator, a monitor or an orchestrator asks."""

import fcntl
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification
from sqlalchemy.orm import Session

from dicom_node.errors import NoContextAccepted, PeerUnreachable
from dicom_node.journey.ledger import (
    CircuitState,
    ReadingRow,
    ReceivedObject,
    ReturnRow,
    ReturnState,
    circuits,
    now,
    utc,
)
from dicom_node.journey.tallies import counts
from dicom_node.peers import Caller, Peer
from dicom_node.returns.returner import associate
from dicom_node.settings import Settings

_DATABASE_REMEDY: Final = (
    "Start the node once if it never ran; else check database_url, free space and permissions, and end what locks it."
)
_START_REMEDY: Final = "Start the node with `covid-xnet run`, or its service; its log says why it ended."

_PATIENCE: Final = 5.0
"""Seconds to wait for the database or the listener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    gates: whether the node can take objects in only if this is well. remedy: what to do if it is not; if it is, what
    may be better.
    """

    name: str
    well: bool
    detail: str
    gates: bool = False
    remedy: str = ""


def examine(settings: Settings, engine: sa.Engine) -> list[Check]:
    """Look at the node from outside; works while nothing runs. Takes seconds if something hangs."""
    return [
        _database(engine),
        _disk(settings),
        _listener(settings),
        _process(settings, "worker", "workers"),
        _process(settings, "returner", "returners"),
        *_ledger(engine),
    ]


def free_bytes(settings: Settings) -> int:
    """Of the file system of `data_dir`; raises OSError."""
    disk = os.statvfs(settings.data_dir)
    return disk.f_bavail * disk.f_frsize


def oldest_waiting(session: Session) -> dict[str, float]:
    """Seconds since the oldest waiting radiograph came, and since the oldest waiting result was made; 0: none waits."""
    read = sa.select(ReadingRow.journey)
    received = None
    if counts(session)["waiting to be read"]:  # else all of a large ledger would be looked through for nothing
        received = session.scalar(
            sa.select(sa.func.min(ReceivedObject.received_at)).where(
                ReceivedObject.journey.is_not(None), ReceivedObject.journey.not_in(read)
            )
        )
    made = session.scalar(
        sa.select(sa.func.min(ReadingRow.read_at))
        .join(ReturnRow, ReturnRow.journey == ReadingRow.journey)
        .where(ReturnRow.state == ReturnState.WAITING)
    )
    return {"reading": _age(received), "return": _age(made)}


def _age(moment: datetime | None) -> float:
    return 0.0 if moment is None else max(0.0, (now() - utc(moment)).total_seconds())


@contextmanager
def _briefly(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql(f"PRAGMA busy_timeout={int(_PATIENCE * 1000)}")
        yield connection
        connection.rollback()
        connection.invalidate()  # its patience is not that of others


def _database(engine: sa.Engine) -> Check:
    try:
        with _briefly(engine) as connection:
            # Takes the lock that writers need, and changes nothing.
            connection.execute(sa.update(ReceivedObject).where(ReceivedObject.id == -1).values(size=0))
    except sa.exc.SQLAlchemyError as e:
        return Check(
            name="database",
            well=False,
            detail=f"cannot be written: {getattr(e, 'orig', e)}",
            gates=True,
            remedy=_DATABASE_REMEDY,
        )
    return Check(name="database", well=True, detail="can be written", gates=True)


def _disk(settings: Settings) -> Check:
    mark = settings.minimum_free_megabytes
    try:
        free = free_bytes(settings) / 1e6
    except OSError as e:
        return Check(
            name="disk",
            well=False,
            detail=f"data_dir cannot be reached: {e.strerror}",
            gates=True,
            remedy="Make or mount it, for the account of the node.",
        )
    return Check(
        name="disk",
        well=free >= mark,
        detail=f"{free:.0f} MB free, {mark:.0f} MB wanted",
        gates=True,
        remedy="" if free >= mark else "Free space under data_dir, set retention_days, or run `covid-xnet purge`.",
    )


def _listener(settings: Settings) -> Check:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    if settings.tls_certificate:
        return _encrypting_listener(settings, host)
    peer = Peer(settings.ae_title, host, settings.port)
    calling = Caller.parse(settings.calling_aes[0]).ae_title if settings.calling_aes else settings.ae_title
    try:
        association = associate(peer, [build_context(Verification)], calling_ae=calling, timeout=_PATIENCE)
        status = association.send_c_echo().get("Status")
        association.release()
    except NoContextAccepted as e:
        return Check(name="listener", well=True, detail=str(e), gates=True)
    except PeerUnreachable as e:
        # Whoever is kept out by the rules of the site was answered all the same.
        well = "rejected the association" in e.args[0]
        return Check(name="listener", well=well, detail=e.args[0], gates=True, remedy="" if well else _START_REMEDY)
    answers = "answers C-ECHO" if status == 0 else "accepts associations and does not answer C-ECHO"
    return Check(
        name="listener", well=status == 0, detail=answers, gates=True, remedy="" if status == 0 else _START_REMEDY
    )


def _encrypting_listener(settings: Settings, host: str) -> Check:
    """Whether it agrees on encryption: its certificate names the host for peers, and may be no one that we trust."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password=lambda: "")
        with (
            socket.create_connection((host, settings.port), timeout=_PATIENCE) as plain,
            context.wrap_socket(plain) as encrypted,
        ):
            return Check(name="listener", well=True, detail=f"speaks {encrypted.version()}", gates=True)
    except OSError as e:
        why = e.strerror or type(e).__name__
        return Check(
            name="listener", well=False, detail=f"does not agree on TLS: {why}", gates=True, remedy=_START_REMEDY
        )


def _process(settings: Settings, kind: str, name: str) -> Check:
    """Who works on journeys holds the lock of its name as long as it lives."""
    alive = [lock.stem for lock in sorted(settings.data_dir.glob(f"{kind}*.lock")) if _is_held(lock)]
    return Check(
        name=name, well=bool(alive), detail=", ".join(alive) or "none runs", remedy="" if alive else _START_REMEDY
    )


def _is_held(lock: Path) -> bool:
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _ledger(engine: sa.Engine) -> list[Check]:
    try:
        with Session(engine) as session:
            ages, known = oldest_waiting(session), circuits(session)
    except sa.exc.SQLAlchemyError as e:
        return [
            Check(name="queues", well=False, detail=f"cannot be read: {getattr(e, 'orig', e)}", remedy=_DATABASE_REMEDY)
        ]
    waits = ", ".join(f"{queue} {seconds:.0f} s" for queue, seconds in ages.items())
    away = [name for name, row in known.items() if row.state != CircuitState.CLOSED]
    return [
        Check(name="queues", well=True, detail=f"longest wait: {waits}"),
        Check(
            name="destinations",
            well=not away,
            detail=", ".join(f"{d} does not answer" for d in away) or "all well",
            remedy="Results wait, and go when it is back; `covid-xnet peers test AET` says what is wrong."
            if away
            else "",
        ),
    ]
