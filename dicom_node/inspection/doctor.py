"""All that can be looked at of a node, in the order in which trouble is best removed."""

import socket
from collections.abc import Iterator
from typing import Final

import sqlalchemy as sa

from dicom_node.inspection.health import Check, examine
from dicom_node.inspection.peers import examine_destination
from dicom_node.inspection.premises import certificates, clock, configuration, permissions, ports
from dicom_node.inspection.round_trip import send_and_wait
from dicom_node.inspection.software import decoders, migrations, networks
from dicom_node.settings import Settings

_LONGEST_WAIT: Final = 10.0
"""Seconds for one answer of a destination: a person waits."""


def check_all(settings: Settings, engine: sa.Engine, *, send: bool, seconds: float) -> Iterator[Check]:
    """Look at everything, one thing after the other.

    send: also send the test radiograph, if what it needs is well. seconds: to wait at most for its results.
    """
    yield configuration(settings)
    yield permissions(settings)
    health = examine(settings, engine)
    listening = any(check.name == "listener" and check.well for check in health)
    yield from ports(settings, listening=listening, serving=_serves(settings))
    yield clock(engine)
    yield from certificates(settings)
    yield migrations(engine)
    yield from health
    yield networks(settings)
    yield from decoders()
    for destination in settings.destinations:
        yield from examine_destination(destination, settings, timeout=min(settings.network_timeout, _LONGEST_WAIT))
    if not send:
        return
    if all(check.well for check in health if check.name in ("database", "disk", "listener", "workers")):
        yield from send_and_wait(settings, engine, seconds=seconds)
    else:
        yield Check(
            name="test radiograph",
            well=False,
            detail="not sent: the node does not run",
            remedy="Start it, and run this command again; --no-send leaves this out.",
        )


def _serves(settings: Settings) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.web_host, settings.web_host)
    try:
        with socket.create_connection((host, settings.web_port), timeout=1):
            return settings.web_port != 0
    except OSError:
        return False
