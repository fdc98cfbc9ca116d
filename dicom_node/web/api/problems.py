"""What the API says when something is wrong: problem details that name the remedy. Source: RFC 9457."""

import json
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any, Final

import sqlalchemy as sa
from fastapi import HTTPException as FastAPIException
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from dicom_node.errors import NodeError, RetryLater
from dicom_node.logs import log
from dicom_node.web.gatehouse import LARGEST_FORM

PROBLEM: Final = "application/problem+json"
_DESCRIBED: Final = "The API describes itself at /api/."


class Problem(BaseModel):
    """What went wrong, and what to do."""

    type: str = Field(default="about:blank", description="A URI; about:blank: the status says which kind it is.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is wrong.")
    remedy: str = Field(description="What to do.")


_STATUSES: Final = (400, 401, 403, 404, 413, 422, 429, 503)
RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": HTTPStatus(status).phrase,
        "content": {PROBLEM: {"schema": Problem.model_json_schema(mode="serialization")}},
    }
    for status in _STATUSES
}
"""For OpenAPI: the problems that an endpoint may answer with."""

_REMEDIES: Final[Mapping[int, str]] = {
    400: "Send JSON in UTF-8.",
    404: f"Ask for something that is there. {_DESCRIBED}",
    405: f"Use the method that is in the header Allow. {_DESCRIBED}",
}


class Refused(FastAPIException):
    """A request that is not served, with its remedy."""

    def __init__(self, status: int, detail: str, *, remedy: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.remedy = remedy


class GuardedRoute(APIRoute):
    """A route that answers with a problem whatever goes wrong; never with a traceback or a text of a library."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of FastAPI, guarded."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(Request(request.scope, _bounded(request.receive)))
            # The edge: as of the pages.
            except Exception as e:
                return told(e)

        return guarded


def _bounded(receive: Receive) -> Receive:
    """`receive` that raises Refused once a body is too large, for the limit of FastAPI tells no remedy."""
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > LARGEST_FORM:
            raise Refused(413, "The body is too large.", remedy=f"Send {LARGEST_FORM} bytes at most.")
        return message

    return bounded


def told(problem: Exception) -> Response:
    """Answer with a problem for whatever went wrong."""
    headers: Mapping[str, str] = {}
    match problem:
        case Refused():
            status, detail, remedy = problem.status_code, problem.detail, problem.remedy
            headers = problem.headers or {}
        case HTTPException():
            status, detail = problem.status_code, problem.detail
            remedy = _REMEDIES.get(status, _DESCRIBED)
            headers = problem.headers or {}
        case RequestValidationError():
            status, detail, remedy = 422, _faults(problem), _DESCRIBED
        case sa.exc.SQLAlchemyError():
            status, detail, remedy = 503, "The ledger cannot be read now.", "`covid-xnet health` says more."
            log.warning("page not told", error=type(problem).__name__)
        case NodeError():
            status = 503 if isinstance(problem, RetryLater) else 409
            detail, remedy = str(problem.args[0]), problem.hint or "`covid-xnet health` says more."
        case _:
            status, detail, remedy = 500, "A fault of the node.", "Its log tells more."
            log.error("page failed", error=type(problem).__name__)
    said = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, remedy=remedy)
    # Escaped: what was sent may hold halves of characters, which UTF-8 has no place for.
    return Response(json.dumps(said.model_dump()), status, dict(headers), PROBLEM)


def _faults(problem: RequestValidationError) -> str:
    """Each fault with the place of what is wrong; what was sent is not repeated."""
    return "; ".join(f"{' '.join(map(str, fault['loc']))}: {fault['msg']}" for fault in problem.errors())
