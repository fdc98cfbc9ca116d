"""Tokens of the API: in the database, and on the command line."""

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
from dicom_node.errors import NodeError
from dicom_node.journey.database import open_engine, prepare
from dicom_node.journey.ledger import now
from dicom_node.settings import Settings
from dicom_node.web.tokens import BEGINNING, TokenRefused, TokenRow, Tokens


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    settings = Settings(data_dir=tmp_path / "data")
    prepare(settings)
    engine = open_engine(settings)
    yield engine
    engine.dispose()


def test_a_token_is_known_by_its_secret_which_the_database_does_not_hold(engine: sa.Engine) -> None:
    tokens = Tokens(engine)
    secret = tokens.add("ris", Role.OPERATOR, days=1)
    assert secret.startswith(BEGINNING)
    assert len(secret) > 40
    found = tokens.of(secret)
    assert found is not None
    assert (found.name, found.role) == ("ris", Role.OPERATOR)
    assert timedelta(hours=23) < found.ends_at - now() <= timedelta(days=1)
    with engine.connect() as connection:
        held = str(connection.execute(sa.text("SELECT * FROM api_tokens")).all())
    assert secret.removeprefix(BEGINNING) not in held
    for other in ("", "x", secret + "x", secret[:-1], found.name, held):
        assert tokens.of(other) is None


def test_a_token_ends_when_it_is_removed_and_when_its_time_is_over(engine: sa.Engine) -> None:
    tokens = Tokens(engine)
    first, second = tokens.add("a", Role.VIEWER, days=1), tokens.add("b", Role.VIEWER, days=1)
    tokens.remove("a")
    assert tokens.of(first) is None
    assert tokens.of(second) is not None
    with Session(engine) as session, session.begin():
        session.execute(sa.update(TokenRow).values(ends_at=now() - timedelta(seconds=1)))
    assert tokens.of(second) is None
    assert [(token.name, token.in_force) for token in tokens.all()] == [("b", False)]
    again = tokens.add("a", Role.VIEWER, days=1)
    assert tokens.of(first) is None, "not even if the name comes back"
    assert tokens.of(again) is not None


@pytest.mark.parametrize("name", ["'; DROP TABLE api_tokens; --", "é ü 😀", "<b>", "a" * 64, '"'])
def test_a_name_may_be_odd(engine: sa.Engine, name: str) -> None:
    tokens = Tokens(engine)
    secret = tokens.add(name, Role.VIEWER, days=1)
    assert [token.name for token in tokens.all()] == [name]
    with pytest.raises(TokenRefused, match="already"):
        tokens.add(name, Role.VIEWER, days=1)
    tokens.remove(name)
    assert tokens.of(secret) is None


@pytest.mark.parametrize(
    ("name", "days"),
    [
        ("", 1), (" ", 1), ("a\nb", 1), ("a" * 65, 1), ("a", 0), ("a", -1), ("a", 4e3), ("a", float("nan")),
        ("a", float("inf")),
    ],
)  # fmt: skip
def test_a_name_or_a_time_that_is_none_is_refused(engine: sa.Engine, name: str, days: float) -> None:
    with pytest.raises(NodeError):
        Tokens(engine).add(name, Role.VIEWER, days=days)
    assert Tokens(engine).all() == []


def test_the_command_line_makes_lists_and_removes_tokens_and_the_audit_trail_tells(tmp_path: Path) -> None:
    environment = {"COVIDXNET_DATA_DIR": str(tmp_path / "data")}

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, ["tokens", *words], env=environment)
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "There are no tokens" in run("list")
    secret = run("add", "RIS bridge", "--role", "operator", "--days", "90").strip()
    assert secret.startswith(BEGINNING)
    assert "RIS bridge" in run("list")
    (listed,) = json.loads(run("list", "--json"))
    assert (listed["name"], listed["role"], listed["in_force"]) == ("RIS bridge", "operator", True)
    assert secret not in run("list", "--json")
    assert "removed" in run("remove", "RIS bridge")
    assert json.loads(run("list", "--json")) == []
    refused = CliRunner().invoke(app, ["tokens", "remove", "RIS bridge"], env=environment)
    assert isinstance(refused.exception, TokenRefused)
    said = [(entry["alert"], entry["token"]) for entry in entries(tmp_path / "data" / "audit")]
    assert said == [("token added as operator", "RIS bridge"), ("token removed", "RIS bridge")]
