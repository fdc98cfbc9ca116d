"""With whom the node speaks, and whether they answer."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from dicom_node.audit import Kind, Outcome
from dicom_node.web import flow
from dicom_node.web.api.guard import Operator, Viewer
from dicom_node.web.api.problems import GuardedRoute, Refused
from dicom_node.web.api.shapes import Echo, Peers
from dicom_node.web.pages.peers import call

router = APIRouter(route_class=GuardedRoute, tags=["peers"])


class Called(BaseModel):
    """Whom to call."""

    model_config = ConfigDict(extra="forbid")

    peer: str = Field(max_length=300, description="`name` of a configured destination, AET@host:port.")


@router.get("/peers")
def peers(caller: Viewer) -> Peers:
    """Destinations with their circuits, who sent objects, and who may."""
    settings = caller.gate.settings
    with Session(caller.gate.engine) as session:
        said = {
            "destinations": flow.destinations(session, settings),
            "senders": flow.senders(session),
            "allowed": list(settings.calling_aes),
        }
    return Peers.model_validate(said, from_attributes=True)


@router.post("/peers/echo", openapi_extra={"x-role": "operator"})
def echo(caller: Operator, called: Called) -> Echo:
    """Say C-ECHO to a configured destination; waits for its answer 10 s at most."""
    settings = caller.gate.settings
    # Only who is configured: the node is no tool to try out a network with.
    peer = next((d.peer for d in settings.destinations if str(d.peer) == called.peer), None)
    if peer is None:
        raise Refused(404, "This is no configured destination.", remedy="/api/peers lists those that are.")
    answer, well = call(settings, peer)
    outcome = Outcome.SUCCESS if well else Outcome.MINOR_FAILURE
    caller.record(Kind.APPLICATION_ACTIVITY, outcome=outcome, what="echo", peer=called.peer)
    return Echo(peer=called.peer, well=well, answer=answer)
