"""Peers: where results go, who sends, and whether they answer."""

import time
from typing import Final

from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from dicom_node.access import Role
from dicom_node.audit import Kind, Outcome
from dicom_node.errors import PeerUnreachable
from dicom_node.inspection.peers import echo as say_echo
from dicom_node.peers import Peer
from dicom_node.settings import Settings
from dicom_node.web.flow import destinations, senders
from dicom_node.web.gatehouse import Gatehouse, Visit

_PATIENCE: Final = 10.0
"""Seconds that somebody waits for a page at most."""


def routes(gate: Gatehouse) -> list[Route]:
    """The pages of this file."""

    def show(visit: Visit, *, called: str = "", answer: str = "", well: bool = False) -> Response:
        with Session(gate.engine) as session:
            return gate.render(
                visit,
                "peers.html",
                destinations=destinations(session, gate.settings),
                senders=senders(session),
                allowed=gate.settings.calling_aes,
                called=called,
                answer=answer,
                well=well,
            )

    def peers(visit: Visit) -> Response:
        return show(visit)

    def echo(visit: Visit) -> Response:
        # Only who is configured: the node is no tool to try out a network with.
        name = visit.fields.get("peer", "")
        peer = next((d.peer for d in gate.settings.destinations if str(d.peer) == name), None)
        if peer is None:
            raise HTTPException(404, "This is no configured destination.")
        answer, well = call(gate.settings, peer)
        outcome = Outcome.SUCCESS if well else Outcome.MINOR_FAILURE
        gate.record(visit, Kind.APPLICATION_ACTIVITY, outcome=outcome, what="echo", peer=name)
        return show(visit, called=name, answer=answer, well=well)

    return [Route("/peers", gate.admit(peers)), Route("/peers/echo", gate.admit(echo, Role.OPERATOR), methods=["POST"])]


def call(settings: Settings, peer: Peer) -> tuple[str, bool]:
    """Say C-ECHO to `peer`; returns what came of it in words, and whether all is well."""
    begin = time.perf_counter()
    timeout = min(settings.network_timeout, _PATIENCE)
    try:
        problem = say_echo(peer, settings, timeout=timeout, tls=settings.tls_to(peer))
    except PeerUnreachable as e:
        return str(e), False
    milliseconds = (time.perf_counter() - begin) * 1000
    return problem or f"answers C-ECHO, {milliseconds:.0f} ms", not problem
