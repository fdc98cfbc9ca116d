"""Sign in, sign out, and choose a password."""

from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from dicom_node.audit import Kind, Outcome
from dicom_node.web.accounts import LONGEST_PASSWORD, SHORTEST_PASSWORD, AccountRefused
from dicom_node.web.gatehouse import (
    COOKIE,
    Gatehouse,
    Visit,
    address_of,
    from_here,
    go_to,
    next_page,
    read_form,
    root_of,
)

_LONGEST_NAME: Final = 64


def routes(gate: Gatehouse) -> list[Route]:
    """The pages of this file."""

    def form(request: Request, *, problem: str = "", name: str = "", status: int = 200, then: str = "/") -> Response:
        text = gate.paper.write("sign_in.html", root=root_of(request), problem=problem, name=name, then=then)
        return HTMLResponse(text, status_code=status)

    async def sign_in(request: Request) -> Response:
        if request.method != "POST":
            return form(request, then=next_page(request.query_params.get("next", "/")))
        if not from_here(request):
            raise HTTPException(403, "This form is not from a page of ours.")
        return await run_in_threadpool(begin, request, await read_form(request))

    def begin(request: Request, fields: dict[str, str]) -> Response:
        name, address = fields.get("name", "").strip()[:_LONGEST_NAME], address_of(request)
        then = next_page(fields.get("next", "/"))

        def record(outcome: Outcome, what: str) -> None:
            gate.trail.record(Kind.USER_AUTHENTICATION, outcome=outcome, what=what, user=name, address=address)

        if wait := gate.tries.begin(name, address):
            record(Outcome.SERIOUS_FAILURE, "too many tries")
            answer = form(
                request, problem=f"Too many tries. Wait {wait / 60:.0f} min.", name=name, status=429, then=then
            )
            answer.headers["Retry-After"] = f"{wait:.0f}"
            return answer
        token = gate.accounts.sign_in(name, fields.get("password", ""))
        if token is None:
            record(Outcome.MINOR_FAILURE, "sign-in")
            return form(request, problem="Name or password is wrong.", name=name, status=401, then=then)
        gate.tries.succeeded(name, address)
        record(Outcome.SUCCESS, "sign-in")
        answer = go_to(request, then)
        answer.set_cookie(
            COOKIE,
            token,
            max_age=int(gate.settings.web_session_hours * 3600),
            path=root_of(request) or "/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return answer

    def sign_out(visit: Visit) -> Response:
        gate.accounts.sign_out(visit.request.cookies[COOKIE])
        gate.record(visit, Kind.USER_AUTHENTICATION, what="sign-out")
        answer = go_to(visit.request, "/sign-in")
        answer.delete_cookie(COOKIE, path=root_of(visit.request) or "/", httponly=True, samesite="strict")
        return answer

    def password(visit: Visit) -> Response:
        problem, status = "", 200
        if visit.request.method == "POST":
            if wait := gate.tries.begin(visit.user.name, visit.address):
                problem, status = f"Too many tries. Wait {wait / 60:.0f} min.", 429
            elif visit.fields.get("new") != visit.fields.get("again"):
                problem, status = "The new password is not the same twice.", 422
            else:
                try:
                    gate.accounts.change_password(
                        visit.user.name, visit.fields.get("old", ""), visit.fields.get("new", "")
                    )
                except AccountRefused as e:
                    problem, status = e.args[0], 422
                else:
                    gate.tries.succeeded(visit.user.name, visit.address)
                    gate.record(visit, Kind.SECURITY_ALERT, alert="password changed")
                    return go_to(visit.request, "/sign-in")
        return gate.render(
            visit,
            "password.html",
            status=status,
            problem=problem,
            shortest=SHORTEST_PASSWORD,
            longest=LONGEST_PASSWORD,
        )

    return [
        Route("/sign-in", sign_in, methods=["GET", "POST"]),
        Route("/sign-out", gate.admit(sign_out, with_old_password=True), methods=["POST"]),
        Route("/password", gate.admit(password, with_old_password=True), methods=["GET", "POST"]),
    ]
