"""Who is let in: cookie, role and form of each request to the pages, in one place."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from dicom_node.access import Role
from dicom_node.audit import AuditTrail, Kind, Outcome
from dicom_node.logs import log
from dicom_node.settings import Settings
from dicom_node.web.accounts import Accounts, SignedIn, User
from dicom_node.web.paper import Paper
from dicom_node.web.tokens import Token
from dicom_node.web.tries import Tries

COOKIE: Final = "covid_xnet_session"
LARGEST_FORM: Final = 64 * 2**10
_MOST_FIELDS: Final = 50
_SAFE: Final = ("GET", "HEAD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request of somebody who was let in. fields: of the form, each once; empty of a GET."""

    request: Request
    session: SignedIn
    fields: Mapping[str, str]

    @property
    def user(self) -> User:
        """Who asks."""
        return self.session.user

    @property
    def address(self) -> str:
        """From where."""
        return address_of(self.request)


Page = Callable[[Visit], Response]
Endpoint = Callable[[Request], Awaitable[Response]]


class Gatehouse:
    """What all pages share, and the way into them."""

    def __init__(self, settings: Settings, engine: sa.Engine, trail: AuditTrail) -> None:
        self.settings = settings
        self.engine = engine
        self.trail = trail
        self.accounts = Accounts(engine, session_hours=settings.web_session_hours)
        self.tries = Tries()
        self.paper = Paper(settings)

    def admit(self, page: Page, needed: Role = Role.VIEWER, *, with_old_password: bool = False) -> Endpoint:
        """An endpoint that serves `page` to who is signed in and may see it.

        with_old_password: also to who has not yet changed a one-time password.
        """

        async def endpoint(request: Request) -> Response:
            try:
                fields = {} if request.method in _SAFE else await read_form(request)
                return await run_in_threadpool(self._serve, page, needed, with_old_password, request, fields)
            # The edge: whatever went wrong, who asked gets one sentence, and no text of a library.
            except Exception as e:
                return told(request, e)

        return endpoint

    def session_of(self, request: Request) -> SignedIn | None:
        """Who is signed in; None: nobody."""
        token = request.cookies.get(COOKIE)
        return self.accounts.session(token) if token else None

    def may_identify(self, who: User | Token) -> bool:
        """Whether `who` asks may see who a patient is."""
        return who.role in self.settings.web_identity_roles

    def render(self, visit: Visit, template: str, *, status: int = 200, **values: Any) -> Response:
        """A page of the template."""
        return HTMLResponse(
            self.paper.write(
                template,
                root=root_of(visit.request),
                user=visit.user,
                csrf=visit.session.csrf,
                may=visit.user.role.may,
                identity=self.may_identify(visit.user),
                here=visit.request.scope["path"].removeprefix(root_of(visit.request)),
                **values,
            ),
            status_code=status,
        )

    def record(self, visit: Visit, kind: Kind, *, outcome: Outcome = Outcome.SUCCESS, **details: Any) -> None:
        """Put down in the audit trail what the user did. details: without a patient's identity."""
        self.trail.record(kind, outcome=outcome, user=visit.user.name, address=visit.address, **details)

    def _serve(
        self, page: Page, needed: Role, with_old_password: bool, request: Request, fields: Mapping[str, str]
    ) -> Response:
        session = self.session_of(request)
        if session is None:
            return go_to(request, "/sign-in" + _then(request))
        visit = Visit(request=request, session=session, fields=fields)
        if request.method not in _SAFE:
            brought = request.headers.get("x-csrf-token") or fields.get("csrf", "")
            if not from_here(request) or not hmac.compare_digest(brought.encode(), session.csrf.encode()):
                self.record(visit, Kind.SECURITY_ALERT, outcome=Outcome.MINOR_FAILURE, alert="form not from our page")
                raise HTTPException(403, "This form is not from a page of yours. Open the page again.")
        if session.user.must_change and not with_old_password:
            return go_to(request, "/password")
        if not session.user.role.may(needed):
            alert = f"{needed} needed"
            self.record(visit, Kind.SECURITY_ALERT, outcome=Outcome.MINOR_FAILURE, alert=alert, path=request.url.path)
            raise HTTPException(403, f"This needs the role {needed}; yours is {session.user.role}.")
        return page(visit)


async def read_form(request: Request) -> dict[str, str]:
    """The fields of an urlencoded form. Raises HTTPException: 413 if it is too large, 400 if it is no such form."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_FORM:
            raise HTTPException(413, "The form is too large.")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"))
    except ValueError:
        raise HTTPException(400, "The form cannot be read.") from None


def from_here(request: Request) -> bool:
    """Whether the browser says that a page of ours made the request; browsers too old to say so are believed.

    Source: Fetch Metadata Request Headers, section 2.3; what a proxy did to the host name does not matter.
    """
    return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def address_of(request: Request) -> str:
    """Who calls, as the connection or a proxy that we trust says."""
    return request.client.host if request.client else ""


def root_of(request: Request) -> str:
    """What stands before each path of ours."""
    return str(request.scope.get("root_path", ""))


def go_to(request: Request, path: str) -> Response:
    """Send the browser to another page of ours; htmx would put that into the present one."""
    target = root_of(request) + path
    if request.headers.get("hx-request"):
        return Response(status_code=204, headers={"HX-Redirect": target})
    return RedirectResponse(target, status_code=303)


def next_page(text: str) -> str:
    """`text` if it is a path of ours, else the first page."""
    parts = urlsplit(text)
    inside = text.startswith("/") and not text.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return text if inside and text.isprintable() and "\\" not in text else "/"


def _then(request: Request) -> str:
    path = request.scope["path"].removeprefix(root_of(request))
    return f"?next={quote(path)}" if request.method == "GET" and path != "/" else ""


def told(request: Request, problem: Exception) -> Response:
    """Answer with one sentence for whatever went wrong; never a traceback."""
    if isinstance(problem, HTTPException):
        status, text = problem.status_code, problem.detail
        if status == 404:
            text = "There is no such page."
        if status == 405:
            text = "This page does not take that."
    elif isinstance(problem, sa.exc.SQLAlchemyError):
        status, text = 503, "The ledger cannot be read now. `covid-xnet health` says more."
        log.warning("page not told", error=type(problem).__name__)
    else:
        status, text = 500, "A fault of the node; its log tells more."
        log.error("page failed", error=type(problem).__name__)
    settings: Settings = request.app.state.settings
    return HTMLResponse(
        Paper(settings).write("trouble.html", root=root_of(request), status=status, text=text), status_code=status
    )
