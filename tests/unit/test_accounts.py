"""Users of the pages: in the database, on the command line, and how often they may try."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from dicom_node.access import Role
from dicom_node.audit import entries
from dicom_node.cli import app
from dicom_node.journey.database import open_engine, prepare
from dicom_node.journey.ledger import now
from dicom_node.settings import Settings
from dicom_node.web.accounts import AccountRefused, Accounts, SessionRow, UserRow
from dicom_node.web.tries import OF_ADDRESS, OF_NAME_AT_ADDRESS, WINDOW, Tries

GOOD = "four plain words together"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    settings = Settings(data_dir=tmp_path / "data")
    prepare(settings)
    engine = open_engine(settings)
    yield engine
    engine.dispose()


@pytest.fixture
def accounts(engine: sa.Engine) -> Accounts:
    return Accounts(engine, session_hours=1)


@pytest.mark.parametrize(
    ("role", "needed", "allowed"),
    [
        (Role.VIEWER, Role.VIEWER, True), (Role.VIEWER, Role.OPERATOR, False), (Role.VIEWER, Role.ADMIN, False),
        (Role.OPERATOR, Role.VIEWER, True), (Role.OPERATOR, Role.OPERATOR, True), (Role.OPERATOR, Role.ADMIN, False),
        (Role.ADMIN, Role.VIEWER, True), (Role.ADMIN, Role.OPERATOR, True), (Role.ADMIN, Role.ADMIN, True),
    ],
)  # fmt: skip
def test_each_role_may_what_those_before_it_may(role: Role, needed: Role, allowed: bool) -> None:
    assert role.may(needed) is allowed


def test_the_first_start_makes_an_admin_once(accounts: Accounts) -> None:
    password = accounts.first_start()
    assert password is not None
    assert accounts.first_start() is None
    (admin,) = accounts.users()
    assert (admin.name, admin.role, admin.must_change) == ("admin", Role.ADMIN, True)
    assert accounts.sign_in("admin", password) is not None


def test_passwords_and_tokens_are_not_in_the_database(accounts: Accounts, engine: sa.Engine) -> None:
    password = accounts.add("ada", Role.VIEWER)
    token = accounts.sign_in("ada", password)
    assert token is not None
    with Session(engine) as session:
        user, row = session.scalars(sa.select(UserRow)).one(), session.scalars(sa.select(SessionRow)).one()
    assert user.password.startswith("$argon2id$")
    assert password not in user.password
    assert token not in (row.digest, row.csrf)


def test_a_wrong_password_a_wrong_name_and_a_monster_are_no_sign_in(accounts: Accounts) -> None:
    password = accounts.add("ada", Role.VIEWER)
    for name, tried in (("ada", password + "x"), ("eve", password), ("ada", ""), ("ada", "x" * 10**6), ("", "")):
        assert accounts.sign_in(name, tried) is None


def test_a_name_is_the_same_however_a_keyboard_composes_it(accounts: Accounts) -> None:
    password = accounts.add("Zoe\u0308", Role.VIEWER)
    assert accounts.sign_in("Zo\u00eb", password) is not None
    with pytest.raises(AccountRefused, match="already"):
        accounts.add("Zo\u00eb", Role.ADMIN)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\0", "x" * 65])
def test_what_is_no_name_is_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(AccountRefused):
        accounts.add(name, Role.VIEWER)


@pytest.mark.parametrize("new", ["short", "x" * 257, "my name is ADA, hello", "the old one"])
def test_a_bad_new_password_is_refused(accounts: Accounts, new: str) -> None:
    old = accounts.add("ada", Role.VIEWER)
    with pytest.raises(AccountRefused):
        accounts.change_password("ada", old, old if new == "the old one" else new)
    with pytest.raises(AccountRefused, match="not right"):
        accounts.change_password("ada", "wrong", GOOD)
    assert accounts.users()[0].must_change


def test_sessions_end_with_their_time_their_user_and_the_password(accounts: Accounts, engine: sa.Engine) -> None:
    def signed_in() -> str:
        token = accounts.sign_in("ada", password)
        assert token is not None
        assert accounts.session(token) is not None
        return token

    accounts.add("root", Role.ADMIN)
    password = accounts.add("ada", Role.VIEWER)
    token = signed_in()
    accounts.sign_out(token)
    assert accounts.session(token) is None

    token = signed_in()
    accounts.change_password("ada", password, password := GOOD)
    assert accounts.session(token) is None

    token = signed_in()
    password = accounts.reset("ada")
    assert accounts.session(token) is None

    token = signed_in()
    with Session(engine) as session, session.begin():
        session.execute(sa.update(SessionRow).values(ends_at=now() - timedelta(seconds=1)))
    assert accounts.session(token) is None

    token = signed_in()
    accounts.remove("ada")
    assert accounts.session(token) is None
    assert accounts.sign_in("ada", password) is None


def test_the_last_admin_stays_an_admin(accounts: Accounts) -> None:
    accounts.add("one", Role.ADMIN)
    with pytest.raises(AccountRefused, match="last admin"):
        accounts.remove("one")
    with pytest.raises(AccountRefused, match="last admin"):
        accounts.set_role("one", Role.VIEWER)
    accounts.add("two", Role.ADMIN)
    accounts.set_role("one", Role.VIEWER)
    with pytest.raises(AccountRefused, match="last admin"):
        accounts.remove("two")


def test_who_fails_too_often_waits_and_does_not_lock_out_others() -> None:
    time = [0.0]
    tries = Tries(clock=lambda: time[0])
    for _ in range(OF_NAME_AT_ADDRESS):
        assert tries.begin("ada", "10.0.0.1") == 0
    assert tries.begin("ada", "10.0.0.1") == WINDOW
    assert tries.begin("ada", "10.0.0.2") == 0
    assert tries.begin("eve", "10.0.0.1") == 0
    time[0] = WINDOW
    assert tries.begin("ada", "10.0.0.1") == 0


def test_one_address_cannot_go_through_many_names() -> None:
    tries = Tries(clock=lambda: 0.0)
    allowed = sum(tries.begin(f"user {n}", "10.0.0.1") == 0 for n in range(2 * OF_ADDRESS))
    assert allowed == OF_ADDRESS


def test_who_succeeds_has_failed_no_more() -> None:
    tries = Tries(clock=lambda: 0.0)
    for _ in range(10 * OF_ADDRESS):
        assert tries.begin("ada", "10.0.0.1") == 0
        tries.succeeded("ada", "10.0.0.1")


def test_the_commands_add_list_change_and_remove_users_and_leave_a_trail(tmp_path: Path) -> None:
    folder = tmp_path / "data"

    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, ["users", *arguments], env={"COVIDXNET_DATA_DIR": str(folder)})
        assert result.exit_code == code, result.output
        return result.output if not result.exception or code == 0 else str(result.exception)

    assert "There are no users" in run("list")
    first = run("add", "ada", "--role", "admin").split()[-1]
    assert run("password", "ada").split()[-1] != first
    run("add", "Jörg 'x' <b>")
    run("role", "Jörg 'x' <b>", "operator")
    assert json.loads(run("list", "--json")) == [
        {"name": "Jörg 'x' <b>", "role": "operator", "must_change_password": True},
        {"name": "ada", "role": "admin", "must_change_password": True},
    ]
    assert "last admin" in run("remove", "ada", code=1)
    assert "no user 'eve'" in run("role", "eve", "viewer", code=1)
    run("role", "ada", "king", code=2)
    run("remove", "Jörg 'x' <b>")
    assert [(entry["alert"], entry["user"]) for entry in entries(folder / "audit")] == [
        ("user added as admin", "ada"), ("password reset", "ada"), ("user added as viewer", "Jörg 'x' <b>"),
        ("role changed to operator", "Jörg 'x' <b>"), ("user removed", "Jörg 'x' <b>"),
    ]  # fmt: skip
