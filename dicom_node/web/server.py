"""The web server: health and metrics for who watches the node, the dashboard for people, the API for programs."""

import socket
import sys
import time
from typing import Final

import sqlalchemy as sa
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from dicom_node.audit import AuditTrail
from dicom_node.errors import ConfigurationError
from dicom_node.inspection.health import examine
from dicom_node.journey.audit_head import open_trail
from dicom_node.journey.database import open_engine
from dicom_node.logs import log
from dicom_node.settings import Settings
from dicom_node.web import dashboard
from dicom_node.web.accounts import FIRST_USER
from dicom_node.web.api import problems
from dicom_node.web.api.application import api
from dicom_node.web.armour import Armour
from dicom_node.web.gatehouse import Gatehouse, root_of, told
from dicom_node.web.metrics import NodeMetrics

_BIND_SECONDS: Final = 8.0
"""How long to wait for a port that an earlier run may still hold."""
_GRACE_SECONDS: Final = 5
"""How long requests may take to come to their end after SIGTERM."""


def application(settings: Settings, engine: sa.Engine, trail: AuditTrail) -> Starlette:
    """The pages: /health/live, /health/ready, /metrics, which anybody may read, the dashboard, and the API.

    The database must have been prepared. `state.gate` of what is returned is the way into the dashboard.
    """
    gate = Gatehouse(settings, engine, trail)
    metrics = NodeMetrics(settings, engine)
    interface = api(gate)

    def live(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    def ready(_: Request) -> Response:
        checks = examine(settings, engine)
        well = all(check.well for check in checks if check.gates)
        said = {check.name: {"well": check.well, "detail": check.detail} for check in checks}
        return JSONResponse({"ready": well, "checks": said}, status_code=200 if well else 503)

    def scrape(_: Request) -> Response:
        try:
            return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)
        except (sa.exc.SQLAlchemyError, OSError) as e:
            log.warning("metrics not told", error=type(e).__name__)
            return PlainTextResponse("the ledger cannot be read\n", status_code=503)

    def failed(request: Request, problem: Exception) -> Response:
        # What is under /api and is no path at all, such as one with a line break, does not reach the API.
        here = request.scope["path"].removeprefix(root_of(request))
        return problems.told(problem) if here.startswith("/api/") else told(request, problem)

    app = Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/metrics", scrape),
            Mount("/api", interface),
            *dashboard.routes(gate),
        ],
        middleware=[Middleware(Armour)],
        exception_handlers={HTTPException: failed, sa.exc.SQLAlchemyError: failed},
    )
    app.state.settings, app.state.gate, app.state.api = settings, gate, interface
    return app


def serve(settings: Settings) -> None:
    """Serve until SIGTERM. Raises ConfigurationError if the port is not set or cannot be bound."""
    if not settings.web_port:
        raise ConfigurationError("web_port is 0: no page is served.", hint="Set web_port, such as 8080.")
    bound = _bind(settings)
    engine = open_engine(settings)
    trail = open_trail(settings, engine, by="web")
    app = application(settings, engine, trail)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            root_path=settings.web_root_path,
            proxy_headers=bool(settings.web_proxies),
            forwarded_allow_ips=list(settings.web_proxies),
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )
    if password := app.state.gate.accounts.first_start():
        # Not in the log, which others may read for years: once, to who starts the node.
        sys.stderr.write(f"Sign in to the dashboard as {FIRST_USER!r} with the one-time password {password}\n")
        sys.stderr.flush()
    log.info("serving", host=settings.web_host, port=settings.web_port)
    server.run(sockets=[bound])
    trail.close()
    engine.dispose()


def _bind(settings: Settings) -> socket.socket:
    deadline = time.monotonic() + _BIND_SECONDS
    family = socket.AF_INET6 if ":" in settings.web_host else socket.AF_INET
    while True:
        try:
            return socket.create_server((settings.web_host, settings.web_port), family=family)
        except OSError as e:
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"{settings.web_host}:{settings.web_port} cannot be bound: {e.strerror}.",
                    hint="Check web_host and web_port.",
                ) from e
            time.sleep(0.2)
