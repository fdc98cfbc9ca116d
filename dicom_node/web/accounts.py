"""Who may use the pages: users with a role, their passwords, and who is signed in. In the database of the node."""

import hashlib
import secrets
import threading
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy.orm import Mapped, Session, mapped_column

from dicom_node.access import Role
from dicom_node.errors import NodeError
from dicom_node.journey.ledger import Row, now, utc

SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 256
"""Characters. A longer one is no safer and would cost more to hash."""
FIRST_USER: Final = "admin"
_LONGEST_NAME: Final = 64

_HASHER: Final = PasswordHasher()
"""Argon2id with the parameters of RFC 9106 section 4 for little memory, which are the library's own."""
_HASHING: Final = threading.Lock()
"""One at a time: each takes 64 MiB, and whoever calls decides how many are asked for."""


class AccountRefused(NodeError):
    """The change of a user is not possible; the message says why."""


class UserRow(Row):
    """One user of the pages."""

    __tablename__ = "users"

    name: Mapped[str] = mapped_column(sa.String(_LONGEST_NAME), primary_key=True)
    role: Mapped[str] = mapped_column(sa.String(16))
    password: Mapped[str] = mapped_column(sa.String(255))
    """Argon2 hash in the PHC string format, with its parameters and salt."""
    must_change: Mapped[bool]
    """Whether the password was made by the node, to be used once."""
    changed_at: Mapped[datetime]


class SessionRow(Row):
    """One browser in which a user is signed in."""

    __tablename__ = "web_sessions"

    digest: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    """SHA-256 of the token in the cookie: who reads the database can sign in as nobody."""
    user: Mapped[str] = mapped_column(sa.ForeignKey("users.name", ondelete="CASCADE"), index=True)
    csrf: Mapped[str] = mapped_column(sa.String(64))
    """What each form of this session has to bring back."""
    ends_at: Mapped[datetime] = mapped_column(index=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user of the pages."""

    name: str
    role: Role
    must_change: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A session that is in force. csrf: what its forms have to bring back."""

    user: User
    csrf: str


class Accounts:
    """Users and sessions. Each call is one transaction; any number of processes may use the same database."""

    def __init__(self, engine: sa.Engine, *, session_hours: float) -> None:
        self._engine = engine
        self._lasts = timedelta(hours=session_hours)

    def first_start(self) -> str | None:
        """Make the first user, an admin, if there is none; returns its one-time password, or None."""
        with Session(self._engine) as session:
            if session.scalar(sa.select(sa.func.count()).select_from(UserRow)):
                return None
        return self.add(FIRST_USER, Role.ADMIN)

    def users(self) -> list[User]:
        """All users, by name."""
        with Session(self._engine) as session:
            return [_user(row) for row in session.scalars(sa.select(UserRow).order_by(UserRow.name))]

    def add(self, name: str, role: Role) -> str:
        """Add a user; returns a one-time password. Raises AccountRefused if the name is taken or is none."""
        name = checked_name(name)
        password, hashed = _one_time()
        try:
            with Session(self._engine) as session, session.begin():
                session.add(UserRow(name=name, role=role, password=hashed, must_change=True, changed_at=now()))
        except sa.exc.IntegrityError:
            raise AccountRefused(f"There is a user {name!r} already.", hint="Choose another name.") from None
        return password

    def remove(self, name: str) -> None:
        """Remove a user, and end all its sessions at once. Raises AccountRefused; the last admin stays."""
        with Session(self._engine) as session, session.begin():
            row = _row(session, name)
            _keep_an_admin(session, row)
            session.execute(sa.delete(SessionRow).where(SessionRow.user == name))
            session.delete(row)

    def set_role(self, name: str, role: Role) -> None:
        """Give a user another role, also in sessions that run. Raises AccountRefused; one admin has to stay."""
        with Session(self._engine) as session, session.begin():
            row = _row(session, name)
            if role is not Role.ADMIN:
                _keep_an_admin(session, row)
            row.role = role

    def reset(self, name: str) -> str:
        """Give a user a new one-time password and end all its sessions; returns it. Raises AccountRefused."""
        password, hashed = _one_time()
        with Session(self._engine) as session, session.begin():
            row = _row(session, name)
            row.password, row.must_change, row.changed_at = hashed, True, now()
            session.execute(sa.delete(SessionRow).where(SessionRow.user == name))
        return password

    def change_password(self, name: str, old: str, new: str) -> None:
        """Let a user choose a password; ends all its sessions. Raises AccountRefused if it is not good enough."""
        if not SHORTEST_PASSWORD <= len(new) <= LONGEST_PASSWORD:
            raise AccountRefused(f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters.")
        if new == old or name.casefold() in new.casefold():
            raise AccountRefused("The new password is the old one, or holds the user's name.")
        if self._verified(name, old) is None:
            raise AccountRefused("The old password is not right.")
        with _HASHING:
            hashed = _HASHER.hash(_normal(new))
        with Session(self._engine) as session, session.begin():
            row = _row(session, name)
            row.password, row.must_change, row.changed_at = hashed, False, now()
            session.execute(sa.delete(SessionRow).where(SessionRow.user == name))

    def sign_in(self, name: str, password: str) -> str | None:
        """Begin a session; returns its token, or None if name or password is wrong.

        It takes the same time whether there is such a user or not.
        """
        hashed = self._verified(name, password)
        if hashed is None:
            return None
        token = secrets.token_urlsafe(32)
        with Session(self._engine) as session, session.begin():
            # Removed, or given another password, since it was verified?
            row = session.get(UserRow, _normal(name), with_for_update=True)
            if row is None or row.password != hashed:
                return None
            session.execute(sa.delete(SessionRow).where(SessionRow.ends_at < now()))
            session.add(
                SessionRow(
                    digest=_digest(token), user=row.name, csrf=secrets.token_urlsafe(32), ends_at=now() + self._lasts
                )
            )
        return token

    def session(self, token: str) -> SignedIn | None:
        """The session of a token; None if there is none, it is over, or its user was removed."""
        with Session(self._engine) as session:
            found = session.execute(
                sa.select(SessionRow, UserRow)
                .join(UserRow, UserRow.name == SessionRow.user)
                .where(SessionRow.digest == _digest(token))
            ).first()
            if found is None or utc(found[0].ends_at) < now():
                return None
            return SignedIn(user=_user(found[1]), csrf=found[0].csrf)

    def sign_out(self, token: str) -> None:
        """End a session."""
        with Session(self._engine) as session, session.begin():
            session.execute(sa.delete(SessionRow).where(SessionRow.digest == _digest(token)))

    def _verified(self, name: str, password: str) -> str | None:
        """The hash of the user's password if `password` is it."""
        with Session(self._engine) as session:
            row = session.get(UserRow, _normal(name))
            hashed = None if row is None else row.password
        if len(password) > LONGEST_PASSWORD:
            return None
        try:
            with _HASHING:
                _HASHER.verify(hashed or _nobodys_hash(), _normal(password))
        except (VerificationError, InvalidHashError):
            return None
        return hashed


def checked_name(text: str) -> str:
    """A user's name in its normal form; raises AccountRefused unless it has 1 to 64 printable characters."""
    name = _normal(text)
    if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
        raise AccountRefused(
            f"{text!r} is no name.", hint=f"It has 1 to {_LONGEST_NAME} characters that can be printed."
        )
    return name


def _normal(text: str) -> str:
    # Keyboards differ in how they compose letters.
    return unicodedata.normalize("NFKC", text).strip()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _one_time() -> tuple[str, str]:
    password = "-".join(secrets.token_hex(2) for _ in range(5))  # 80 bits, easy to type
    with _HASHING:
        return password, _HASHER.hash(password)


@cache
def _nobodys_hash() -> str:
    return _HASHER.hash(secrets.token_hex())


def _user(row: UserRow) -> User:
    return User(name=row.name, role=Role(row.role), must_change=row.must_change)


def _row(session: Session, name: str) -> UserRow:
    row = session.get(UserRow, _normal(name))
    if row is None:
        raise AccountRefused(f"There is no user {name!r}.", hint="`covid-xnet users list` shows all.")
    return row


def _keep_an_admin(session: Session, row: UserRow) -> None:
    others = sa.select(sa.func.count()).where(UserRow.role == Role.ADMIN, UserRow.name != row.name)
    if row.role == Role.ADMIN and not session.scalar(others):
        raise AccountRefused(f"{row.name!r} is the last admin.", hint="Make another user an admin first.")
