"""What the node stands on: its configuration, folders, ports, clock and certificates. Nothing is changed."""

import ctypes
import errno
import os
import socket
import stat
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from cryptography import x509
from sqlalchemy.orm import Session

from dicom_node.errors import ConfigurationError
from dicom_node.inspection.health import Check
from dicom_node.journey.ledger import ReadingRow, ReceivedObject, now, utc
from dicom_node.settings import Settings
from dicom_node.tls import client_context, server_context

CERTIFICATE_NOTICE: Final = timedelta(days=30)
"""How long before its end a certificate is spoken of."""
_CLOCK_TOLERANCE: Final = timedelta(minutes=1)
_TIME_ERROR: Final = 5
"""What adjtimex(2) returns where nothing keeps the clock of the kernel right."""
_BYTES_OF_TIMEX: Final = 512
"""More than any kernel writes."""


def configuration(settings: Settings) -> Check:
    """That the settings can be read is known by then; whether they make a node that does something."""
    if not settings.destinations:
        return Check(
            name="configuration",
            well=True,
            detail="no destination: radiographs are read, and nothing is sent",
            remedy="`covid-xnet peers add AET@host:port` adds the PACS.",
        )
    advice = []
    if settings.host in ("127.0.0.1", "::1", "localhost"):
        advice.append(f"host is {settings.host}: no other machine can send to the node.")
    if not settings.calling_aes:
        advice.append("calling_aes is empty: everybody may send to the node.")
    senders = ", ".join(settings.calling_aes) or "everybody"
    went_to = ", ".join(str(destination.peer) for destination in settings.destinations)
    return Check(
        name="configuration", well=True, detail=f"senders: {senders}; destinations: {went_to}", remedy=" ".join(advice)
    )


def ports(settings: Settings, *, listening: bool, serving: bool) -> list[Check]:
    """Whether the ports can be bound, or are the node's own.

    listening, serving: whether the node's listener, or its pages, answer.
    """
    wanted = [("port", settings.host, settings.port, listening)]
    if settings.web_port:
        wanted.append(("web_port", settings.web_host, settings.web_port, serving))
    return [_port(*each) for each in wanted]


def _port(name: str, host: str, port: int, ours: bool) -> Check:
    if ours:
        return Check(name=name, well=True, detail=f"{host}:{port} is the node's")
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return Check(name=name, well=True, detail=f"{host}:{port} is free")
    except OSError as e:
        if e.errno == errno.EADDRINUSE:
            remedy = f"Another program has it (`ss -ltnp sport = :{port}` names it): end it, or set {name}."
        elif e.errno == errno.EACCES:
            remedy = "Ports below 1024 need CAP_NET_BIND_SERVICE: give it in the unit, or set a higher port."
        else:
            remedy = "Set the host to an address of this machine, or to 0.0.0.0."
        return Check(name=name, well=False, detail=f"{host}:{port} cannot be bound: {e.strerror}", remedy=remedy)


def permissions(settings: Settings) -> Check:
    """Whether this account can write where the node writes, and others cannot look in."""
    account = f"uid {os.geteuid()}"
    folders = (settings.data_dir, settings.spool_dir, settings.results_dir, settings.audit_dir)
    for folder in (folder for folder in folders if folder.is_dir()):
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as e:
            return Check(
                name="permissions",
                well=False,
                detail=f"{account} cannot write into {folder}: {e.strerror}",
                remedy=f"Run this command as the account of the node, or give it the folder: chown -R {account[4:]} "
                f"{settings.data_dir}",
            )
    secrets = [settings.data_dir, *(Path(file) for file in (settings.tls_key,) if file)]
    seen = [path for path in secrets if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o007]
    if seen:
        names = " and ".join(map(str, seen))
        return Check(
            name="permissions",
            well=False,
            detail=f"every account of this machine can look into {names}",
            remedy=f"chmod o-rwx {' '.join(map(str, seen))}",
        )
    return Check(name="permissions", well=True, detail=f"{settings.data_dir} can be written, and others cannot look in")


def clock(engine: sa.Engine) -> Check:
    """Whether the clock is plausible: not before what the node has already written, and kept by somebody.

    DICOM tells no time, so a destination's clock cannot be asked for.
    """
    try:
        with Session(engine) as session:
            written = [
                utc(moment)
                for column in (ReceivedObject.received_at, ReadingRow.read_at)
                if (moment := session.scalar(sa.select(sa.func.max(column)))) is not None
            ]
    except sa.exc.SQLAlchemyError:
        written = []
    # The code is older than the present.
    written.append(datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC))
    moment = now()
    if max(written) > moment + _CLOCK_TOLERANCE:
        return Check(
            name="clock",
            well=False,
            detail=f"it is {moment:%Y-%m-%d %H:%M} UTC, and the node already wrote at {max(written):%Y-%m-%d %H:%M}",
            remedy="Set the clock, and let chrony or systemd-timesyncd keep it.",
        )
    kept = _is_kept()
    return Check(
        name="clock",
        well=True,
        detail=f"{moment:%Y-%m-%d %H:%M:%S} UTC{'' if kept else '; the kernel says that nothing keeps it right'}",
        remedy="" if kept else "Let chrony or systemd-timesyncd keep it: reports carry its time.",
    )


def _is_kept() -> bool:
    state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_BYTES_OF_TIMEX))
    return state != _TIME_ERROR


def certificates(settings: Settings) -> Iterator[Check]:
    """Whether the node's TLS files can be used, and how long; nothing where it has none."""
    if not (settings.tls_certificate or settings.tls_key or settings.tls_ca):
        return
    try:
        client_context(settings.tls)
        if settings.tls_certificate:
            server_context(settings.tls)
    except ConfigurationError as e:
        yield Check(name="tls", well=False, detail=e.args[0], remedy=e.hint)
        return
    for name, file in (("tls_certificate", settings.tls_certificate), ("tls_ca", settings.tls_ca)):
        if file:
            yield _dates(name, x509.load_pem_x509_certificates(Path(file).read_bytes()))


def _dates(name: str, chain: Sequence[x509.Certificate]) -> Check:
    begin = max(certificate.not_valid_before_utc for certificate in chain)
    return valid_until(name, begin, min(certificate.not_valid_after_utc for certificate in chain))


def valid_until(name: str, begin: datetime, end: datetime) -> Check:
    """What to say of a certificate that is valid from `begin` to `end`."""
    moment = now()
    renew = "Renew it; the listener takes up the new files within a second."
    if moment < begin:
        return Check(
            name=name, well=False, detail=f"is not valid before {begin:%Y-%m-%d %H:%M} UTC", remedy="Check the clock."
        )
    well = moment < end
    return Check(
        name=name,
        well=well,
        detail=f"{'is valid until' if well else 'ended on'} {end:%Y-%m-%d %H:%M} UTC",
        remedy=renew if end - moment < CERTIFICATE_NOTICE else "",
    )
