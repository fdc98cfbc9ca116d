"""The API as an application of its own, which the server mounts; it describes itself in OpenAPI and on one page."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from dicom_node import __version__
from dicom_node.web.api import flow, models, peers, radiographs
from dicom_node.web.api.guard import Guard
from dicom_node.web.api.problems import RESPONSES, told
from dicom_node.web.gatehouse import Gatehouse, root_of

_ABOUT: Final = """What the dashboard shows, for programs. Investigational, not for diagnosis.

Each request carries a token: `Authorization: Bearer TOKEN`. What goes wrong is answered as `application/problem+json`
with `detail` and `remedy`."""


def api(gate: Gatehouse) -> FastAPI:
    """The API, to be mounted at /api. Its description is public; all else asks for a token."""
    app = FastAPI(
        title="COVID-XNet node",
        version=__version__,
        description=_ABOUT,
        docs_url=None,  # FastAPI's own pages load scripts from other hosts
        redoc_url=None,
        responses=RESPONSES,
        exception_handlers={HTTPException: _failed, RequestValidationError: _failed},
        separate_input_output_schemas=False,
    )
    app.state.guard = Guard(gate)
    for router in (flow.router, radiographs.router, peers.router, models.router):
        app.include_router(router)

    def described(request: Request) -> Response:
        text = gate.paper.write(
            "api.html", root=root_of(request).removesuffix("/api"), about=_ABOUT, endpoints=_endpoints(app.openapi())
        )
        return HTMLResponse(text)

    app.add_route("/", described, include_in_schema=False)
    return app


async def _failed(_: Request, problem: Exception) -> Response:
    return told(problem)


def _endpoints(description: dict[str, Any]) -> list[dict[str, Any]]:
    """What the page tells of each endpoint."""
    return [
        {
            "path": f"/api{path}",
            "method": method.upper(),
            "about": operation["description"],
            "role": operation.get("x-role", "viewer"),
            "parameters": [(p["name"], p.get("description", "")) for p in operation.get("parameters", ())],
            "body": _fields(description, operation),
        }
        for path, operations in description["paths"].items()
        for method, operation in operations.items()
    ]


def _fields(description: dict[str, Any], operation: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and description of each field of the body of a request."""
    body = operation.get("requestBody")
    if body is None:
        return []
    name = body["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
    fields = description["components"]["schemas"][name]["properties"]
    return [(field, said.get("description", "")) for field, said in fields.items()]
