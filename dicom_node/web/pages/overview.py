"""How the node is and what went through it today."""

from starlette.responses import Response
from starlette.routing import Route

from dicom_node.inspection.health import examine
from dicom_node.web.gatehouse import Gatehouse, Visit


def routes(gate: Gatehouse) -> list[Route]:
    """The pages of this file."""

    def overview(visit: Visit) -> Response:
        return gate.render(visit, "overview.html", checks=examine(gate.settings, gate.engine))

    return [Route("/", gate.admit(overview))]
