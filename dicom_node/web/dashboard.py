"""All pages for people, and the files that they use."""

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from dicom_node.web.gatehouse import Gatehouse
from dicom_node.web.pages import models, overview, peers, radiograph, sign_in, worklist
from dicom_node.web.paper import STATIC

_FILES = frozenset(file.name for file in STATIC.iterdir())


def routes(gate: Gatehouse) -> list[BaseRoute]:
    """Every page. None but sign-in and the static files is shown to who is not signed in."""
    return [
        Route("/static/{name}", static),
        *sign_in.routes(gate),
        *overview.routes(gate),
        *worklist.routes(gate),
        *radiograph.routes(gate),
        *peers.routes(gate),
        *models.routes(gate),
    ]


async def static(request: Request) -> Response:
    """A file that pages use; its address changes with its content."""
    name = request.path_params["name"]
    if name not in _FILES:
        return Response(status_code=404)
    return FileResponse(STATIC / name, headers={"cache-control": "public, max-age=31536000, immutable"})
