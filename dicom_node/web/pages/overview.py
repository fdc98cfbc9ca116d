"""How the node is, what went through it today, and a stream that tells when that changed."""

from collections.abc import AsyncIterator
from typing import Final

import anyio
import sqlalchemy as sa
from sqlalchemy.orm import Session
from sse_starlette.sse import EventSourceResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dicom_node.inspection.health import examine
from dicom_node.web.flow import Pulse, destinations, disk, flow
from dicom_node.web.gatehouse import Gatehouse, Visit
from dicom_node.web.worklist import Standing, Wanted, look_for, standing_of

_BEAT: Final = 1.0
"""Seconds between two looks at the ledger."""
_LATEST: Final = 8
"""Objects that the overview lists."""


def routes(gate: Gatehouse) -> list[Route]:
    """The pages of this file."""
    pulse = Pulse(gate.engine, seconds=_BEAT)

    def overview(visit: Visit) -> Response:
        with Session(gate.engine) as session:
            return gate.render(
                visit,
                "overview.html",
                flow=flow(session),
                disk=disk(gate.settings),
                destinations=destinations(session, gate.settings),
                latest=look_for(session, Wanted()).objects[:_LATEST],
                standing_of=standing_of,
                Standing=Standing,
            )

    def health(visit: Visit) -> Response:
        return gate.render(visit, "health.html", checks=examine(gate.settings, gate.engine))

    async def live(request: Request) -> Response:
        if await run_in_threadpool(gate.session_of, request) is None:
            return Response(status_code=204)  # 204 tells EventSource not to come again

        async def beats() -> AsyncIterator[dict[str, str]]:
            known = ""
            while True:
                try:
                    if await run_in_threadpool(gate.session_of, request) is None:
                        return  # removed, or signed out: the next page asks to sign in
                    mark = await run_in_threadpool(pulse.mark)
                except sa.exc.SQLAlchemyError:
                    mark = known  # the next beat asks again
                if mark != known:
                    yield {"event": "changed", "data": "first" if not known else "again"}
                    known = mark
                await anyio.sleep(_BEAT)

        return EventSourceResponse(beats(), headers={"cache-control": "no-store", "x-accel-buffering": "no"})

    return [Route("/", gate.admit(overview)), Route("/health", gate.admit(health)), Route("/live", live)]
