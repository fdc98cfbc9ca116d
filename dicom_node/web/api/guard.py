"""Who may use the API: the token of each request, in one place."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from dicom_node.access import Role
from dicom_node.audit import Kind, Outcome
from dicom_node.web.api.problems import Refused
from dicom_node.web.gatehouse import Gatehouse, address_of
from dicom_node.web.tokens import Token, Tokens
from dicom_node.web.tries import Tries

_BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="`covid-xnet tokens add NAME` prints one.")
_CHALLENGE = {"www-authenticate": "Bearer"}


class Guard:
    """What all endpoints share."""

    def __init__(self, gate: Gatehouse) -> None:
        self.gate = gate
        self.tokens = Tokens(gate.engine)
        self.tries = Tries()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sent a request that is let in, and from where."""

    token: Token
    address: str
    gate: Gatehouse

    @property
    def identity(self) -> bool:
        """Whether the answer may say who a patient is."""
        return self.gate.may_identify(self.token)

    def record(self, kind: Kind, *, outcome: Outcome = Outcome.SUCCESS, **details: Any) -> None:
        """Put down in the audit trail what the token was used for. details: without a patient's identity."""
        self.gate.trail.record(kind, outcome=outcome, token=self.token.name, address=self.address, **details)


def _admit(needed: Role) -> Callable[..., Caller]:
    def admitted(request: Request, shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> Caller:
        guard: Guard = request.app.state.guard
        if shown is None:
            raise Refused(
                401,
                "No token was sent.",
                remedy="Send the header `Authorization: Bearer TOKEN`; `covid-xnet tokens add NAME` makes a token.",
                headers=_CHALLENGE,
            )
        token = guard.tokens.of(shown.credentials)
        if token is None:
            raise _failed(guard, shown.credentials, address_of(request))
        caller = Caller(token=token, address=address_of(request), gate=guard.gate)
        if not token.role.may(needed):
            alert = f"{needed} needed"
            caller.record(Kind.SECURITY_ALERT, outcome=Outcome.MINOR_FAILURE, alert=alert, path=request.url.path)
            raise Refused(
                403,
                f"This needs the role {needed}; that of the token is {token.role}.",
                remedy=f"Use a token that was made with `--role {needed}`.",
            )
        return caller

    return admitted


def _failed(guard: Guard, secret: str, address: str) -> Refused:
    """Nobody can guess a token, so one that is right is always let in; who fails too often only learns nothing more."""
    wait = guard.tries.begin(hashlib.sha256(secret.encode()).hexdigest(), address)
    outcome, what = (Outcome.SERIOUS_FAILURE, "too many tokens") if wait else (Outcome.MINOR_FAILURE, "token")
    guard.gate.trail.record(Kind.USER_AUTHENTICATION, outcome=outcome, what=what, address=address)
    if wait:
        return Refused(
            429,
            "Too many requests with a wrong token.",
            remedy=f"Wait {wait:.0f} s, and send another token.",
            headers={"retry-after": f"{wait:.0f}"},
        )
    return Refused(
        401,
        "The token is not known: it is wrong, was removed, or its time is over.",
        remedy="`covid-xnet tokens list` shows what is in force, `covid-xnet tokens add NAME` makes another.",
        headers=_CHALLENGE,
    )


Viewer = Annotated[Caller, Depends(_admit(Role.VIEWER))]
Operator = Annotated[Caller, Depends(_admit(Role.OPERATOR))]
