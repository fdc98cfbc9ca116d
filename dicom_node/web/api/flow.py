"""How the node is, and what goes through it."""

from fastapi import APIRouter
from sqlalchemy.orm import Session

from dicom_node.inspection.health import examine, oldest_waiting
from dicom_node.journey.tallies import counts
from dicom_node.web import flow
from dicom_node.web.api.guard import Viewer
from dicom_node.web.api.problems import GuardedRoute
from dicom_node.web.api.shapes import Health, Overview

router = APIRouter(route_class=GuardedRoute, tags=["node"])


@router.get("/overview")
def overview(caller: Viewer) -> Overview:
    """The node in numbers: counts, ages, today's flow, disk, and the circuit of each destination."""
    settings = caller.gate.settings
    with Session(caller.gate.engine) as session:
        said = {
            "counts": counts(session),
            "ages": oldest_waiting(session),
            "today": flow.flow(session),
            "disk": flow.disk(settings),
            "destinations": flow.destinations(session, settings),
        }
    return Overview.model_validate(said, from_attributes=True)


@router.get("/health")
def health(caller: Viewer) -> Health:
    """What `covid-xnet health` looks at, with the remedy of what is not well."""
    checks = examine(caller.gate.settings, caller.gate.engine)
    said = {
        "well": all(check.well for check in checks),
        "ready": all(check.well for check in checks if check.gates),
        "checks": checks,
    }
    return Health.model_validate(said, from_attributes=True)
