"""How the node is and what went through it today."""

from starlette.responses import Response
from starlette.routing import Route

from dicom_node.web.gatehouse import Gatehouse, Visit
from dicom_node.web.health import examine


def routes(gate: Gatehouse) -> list[Route]:
    """The pages of this file."""

    def overview(visit: Visit) -> Response:
        return gate.render(visit, "overview.html", checks=examine(gate.settings, gate.engine))

    return [Route("/", gate.admit(overview))]
