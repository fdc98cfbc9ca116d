"""Tokens: what programs show to the API instead of a password. In the database of the node."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from dicom_node.access import Role
from dicom_node.errors import NodeError
from dicom_node.journey.ledger import Row, now, utc
from dicom_node.web.accounts import checked_name

BEGINNING: Final = "cxn_"
"""Of every token, so that programs that look for secrets in files know it."""
LONGEST_DAYS: Final = 3650


class TokenRefused(NodeError):
    """The change of a token is not possible; the message says why."""


class TokenRow(Row):
    """One token."""

    __tablename__ = "api_tokens"

    name: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    digest: Mapped[str] = mapped_column(sa.String(64), unique=True)
    """SHA-256: 256 random bits need no slow hash, and who reads the database can call as nobody."""
    role: Mapped[str] = mapped_column(sa.String(16))
    made_at: Mapped[datetime]
    ends_at: Mapped[datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token without its secret. ends_at: from when it opens nothing any more, in UTC."""

    name: str
    role: Role
    made_at: datetime
    ends_at: datetime

    @property
    def in_force(self) -> bool:
        """Whether its time is not over."""
        return now() < self.ends_at


class Tokens:
    """All tokens. Each call is one transaction; any number of processes may use the same database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, name: str, role: Role, *, days: float) -> str:
        """Make a token that is in force for `days`, more than 0 and at most 3650; returns its secret.

        Raises TokenRefused if the name is taken, AccountRefused if it is none.
        """
        name = checked_name(name)
        if not 0 < days <= LONGEST_DAYS:
            raise TokenRefused(f"{days:g} days are not possible.", hint=f"Choose 1 to {LONGEST_DAYS}.")
        secret, at = BEGINNING + secrets.token_urlsafe(32), now()
        row = TokenRow(name=name, digest=_digest(secret), role=role, made_at=at, ends_at=at + timedelta(days=days))
        try:
            with Session(self._engine) as session, session.begin():
                session.add(row)
        except sa.exc.IntegrityError:
            raise TokenRefused(
                f"There is a token {name!r} already.", hint="Choose another name, or remove that one first."
            ) from None
        return secret

    def all(self) -> list[Token]:
        """All tokens, by name, also those whose time is over."""
        with Session(self._engine) as session:
            return [_token(row) for row in session.scalars(sa.select(TokenRow).order_by(TokenRow.name))]

    def remove(self, name: str) -> None:
        """Remove a token; it opens nothing from then on. Raises TokenRefused if there is none of that name."""
        with Session(self._engine) as session, session.begin():
            row = session.get(TokenRow, checked_name(name))
            if row is None:
                raise TokenRefused(f"There is no token {name!r}.", hint="`covid-xnet tokens list` shows all.")
            session.delete(row)

    def of(self, secret: str) -> Token | None:
        """The token of this secret; None if there is none, it was removed, or its time is over."""
        with Session(self._engine) as session:
            row = session.scalars(sa.select(TokenRow).where(TokenRow.digest == _digest(secret))).first()
            token = None if row is None else _token(row)
        return token if token and token.in_force else None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _token(row: TokenRow) -> Token:
    return Token(name=row.name, role=Role(row.role), made_at=utc(row.made_at), ends_at=utc(row.ends_at))
