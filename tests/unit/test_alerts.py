"""Troubles are told once, again after hours, and once more when they are over: by a real webhook and a real mail."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller
from pydantic import SecretStr
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from dicom_node.alerts.troubles import look
from dicom_node.alerts.watchman import SETTLE, AlertRow, Watchman
from dicom_node.cli import app
from dicom_node.demo.node import running_node
from dicom_node.demo.orthanc import free_port
from dicom_node.errors import ConfigurationError
from dicom_node.journey.database import open_engine, prepare
from dicom_node.journey.ledger import CircuitRow, CircuitState, ReadingRow, now
from dicom_node.journey.queue import JourneyQueue
from dicom_node.settings import Settings, load_settings
from tests.listening import wait_until
from tests.unit.test_database import CHEST

PACS = "PACS@10.1.2.3:104"
MINUTE = timedelta(minutes=1)


class Hook:
    """A webhook on a port of its own, which keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.status = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://node:s3cret@127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def titles(self) -> list[str]:
        return [f"{told['type']}: {told['title'].partition(': ')[2]}" for told in self.told]


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    hook = Hook()
    yield hook
    hook.server.shutdown()
    hook.server.server_close()


@pytest.fixture
def settings(tmp_path: Path, hook: Hook) -> Settings:
    settings = Settings(
        data_dir=tmp_path / "data", minimum_free_megabytes=1, alert_urls=(SecretStr(hook.url),), alert_reminder_hours=6
    )
    prepare(settings)
    return settings


@pytest.fixture
def engine(settings: Settings) -> Iterator[sa.Engine]:
    engine = open_engine(settings)
    yield engine
    engine.dispose()


def set_circuit(engine: sa.Engine, state: CircuitState, minutes: int = 60) -> None:
    with Session(engine) as session, session.begin():
        session.merge(CircuitRow(destination=PACS, state=state, since=now() - minutes * MINUTE, failures=1, openings=1))


def keys(settings: Settings, engine: sa.Engine) -> set[str]:
    with Session(engine) as session:
        return {
            trouble.key.partition("@" if trouble.key.startswith("disk") else "?")[0].strip()
            for trouble in look(settings, session)
        }


def test_a_trouble_is_told_once_again_after_hours_and_once_more_when_it_is_over(
    settings: Settings, engine: sa.Engine, hook: Hook
) -> None:
    watchman, at = Watchman(settings, engine), now()
    watchman.go_round(at)
    assert hook.told == []
    set_circuit(engine, CircuitState.OPEN)
    for minutes in range(5):
        watchman.go_round(at + minutes * MINUTE)
    assert hook.titles == [f"warning: destination {PACS}"]
    assert f"`covid-xnet echo {PACS}` tries it" in hook.told[0]["message"]
    watchman.go_round(at + timedelta(hours=7))
    assert hook.titles == [f"warning: destination {PACS}"] * 2
    assert "Since " in hook.told[1]["message"]

    # It comes and goes: no word of it before it has been away for a while.
    later = at + timedelta(hours=8)
    for minutes, state in enumerate((CircuitState.CLOSED, CircuitState.OPEN, CircuitState.CLOSED)):
        set_circuit(engine, state)
        watchman.go_round(later + minutes * MINUTE)
    assert len(hook.told) == 2
    watchman.go_round(later + 3 * MINUTE + SETTLE)
    assert hook.titles[2:] == [f"success: destination {PACS}"]
    with Session(engine) as session:
        assert session.scalars(sa.select(AlertRow)).all() == []


def test_of_several_machines_one_tells(settings: Settings, engine: sa.Engine, hook: Hook) -> None:
    set_circuit(engine, CircuitState.OPEN)
    at = now()
    Watchman(settings, engine).go_round(at)  # the row is there

    def all_at_once(moment: Any) -> None:
        watchmen = [Watchman(settings, engine) for _ in range(6)]
        threads = [threading.Thread(target=watchman.go_round, args=(moment,)) for watchman in watchmen]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    all_at_once(at + timedelta(hours=7))
    assert len(hook.told) == 2
    set_circuit(engine, CircuitState.CLOSED)
    all_at_once(at + timedelta(hours=8))
    all_at_once(at + timedelta(hours=9))
    assert hook.titles[2:] == [f"success: destination {PACS}"]


def test_what_nobody_took_is_told_again_and_what_passed_untold_is_forgotten(
    settings: Settings, engine: sa.Engine, hook: Hook
) -> None:
    set_circuit(engine, CircuitState.OPEN)
    watchman, at = Watchman(settings, engine), now()
    hook.status = 500
    watchman.go_round(at)
    watchman.go_round(at + MINUTE)
    assert len(hook.told) == 1
    hook.status = 200
    watchman.go_round(at + MINUTE + SETTLE)
    assert len(hook.told) == 2
    watchman.go_round(at + 3 * MINUTE + SETTLE)
    assert len(hook.told) == 2

    with Session(engine) as session, session.begin():
        session.execute(sa.update(AlertRow).values(told_at=None))
    set_circuit(engine, CircuitState.CLOSED)
    watchman.go_round(at + timedelta(hours=1))
    watchman.go_round(at + timedelta(hours=2))
    assert len(hook.told) == 2


def test_every_kind_of_trouble_is_seen_and_none_where_all_is_well(settings: Settings, engine: sa.Engine) -> None:
    assert keys(settings, engine) == set()
    queue = JourneyQueue(settings)
    queue.record(CHEST)
    queue.close()
    assert keys(settings, engine) == set()  # it came just now
    assert keys(settings.model_copy(update={"alert_minutes": 1e-6}), engine) == {"queue reading"}
    assert keys(settings.model_copy(update={"minimum_free_megabytes": 1e12}), engine) == {"disk"}
    assert keys(settings.model_copy(update={"data_dir": settings.data_dir / "gone"}), engine) == {"disk"}
    set_circuit(engine, CircuitState.HALF_OPEN, minutes=1)
    assert keys(settings, engine) == set()  # it may be back in a moment
    set_circuit(engine, CircuitState.HALF_OPEN)
    assert keys(settings, engine) == {f"destination {PACS}"}
    set_circuit(engine, CircuitState.CLOSED)
    with Session(engine) as session, session.begin():
        session.add_all(
            ReadingRow(journey=str(n), read_at=now(), failure="blank" if n % 9 == 0 else "") for n in range(50)
        )
    assert keys(settings, engine) == {"failures"}  # 6 of 50 are more than 10 %
    assert keys(settings.model_copy(update={"alert_failed_percent": 12}), engine) == set()


def test_a_test_reaches_webhook_and_mail_and_says_who_did_not_take_it(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mails: list[Any] = []

    class Sink:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            mails.append(envelope)
            return "250 taken"

    controller = Controller(Sink(), hostname="127.0.0.1", port=free_port())
    controller.start()
    mail = f"mailto://127.0.0.1:{controller.port}?from=node@example.org&to=it@example.org"
    secret = tmp_path / "urls"
    secret.write_text(json.dumps([hook.url, mail]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COVIDXNET_ALERT_URLS_FILE", str(secret))
    try:
        done = CliRunner().invoke(app, ["alerts", "test"])
        assert (done.exit_code, done.output) == (0, "1. json: taken\n2. mailto: taken\n")
        assert [told["title"] for told in hook.told] == ["covid-xnet COVIDXNET: test"]
        (envelope,) = mails
        assert envelope.rcpt_tos == ["it@example.org"]
        assert message_from_bytes(envelope.content)["Subject"] == "covid-xnet COVIDXNET: test"
    finally:
        controller.stop()
    secret.write_text(json.dumps([hook.url, mail, "nosuch://s3cret"]))
    done = CliRunner().invoke(app, ["alerts", "test"])
    assert done.exit_code == 1
    assert done.output.splitlines()[1:] == [
        f"{n}. {kind}: NOT TAKEN: check address, name and password" for n, kind in ((2, "mailto"), (3, "nosuch"))
    ]
    assert "s3cret" not in done.output


@pytest.mark.parametrize("value", ["no address s3cret", '["json://ok", 5, "s3cret"]', '{"s3cret": 1}'])
def test_an_address_that_is_none_is_refused_and_no_message_quotes_one(
    value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COVIDXNET_ALERT_URLS", value)
    with pytest.raises(ConfigurationError, match="ALERT_URLS") as told:
        load_settings()
    assert "s3cret" not in str(told.value)


def test_addresses_are_never_shown(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COVIDXNET_ALERT_URLS", "json://node:s3cret@host/x,json://node:s3cret@host/y")
    for arguments in (["config", "show"], ["config", "show", "--json"]):
        shown = CliRunner().invoke(app, arguments).output
        assert "s3cret" not in shown
        assert '"**********", "**********"' in " ".join(shown.split())
    assert "s3cret" not in repr(load_settings())


def test_nobody_to_tell_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["alerts", "test"])
    assert isinstance(done.exception, ConfigurationError)
    assert "nobody looks for troubles" in CliRunner().invoke(app, ["alerts", "show"]).output


def test_the_returner_of_a_node_tells_that_the_disk_is_low(tmp_path: Path, hook: Hook) -> None:
    settings = {
        "ae_title": "COVIDXNET", "port": free_port(), "workers": 1, "minimum_free_megabytes": 1e12,
        "alert_urls": [hook.url],
    }  # fmt: skip
    with running_node(tmp_path, settings) as node:
        wait_until(lambda: bool(hook.told), 120)
        assert hook.titles[0].startswith("warning: disk @")
        assert "C-STORE is answered 0xA700" in hook.told[0]["message"]
        wait_until(lambda: json.loads(node.command("alerts", "show", "--json"))[0]["told_at"] is not None, 60)
        (shown,) = json.loads(node.command("alerts", "show", "--json"))
        assert (shown["key"], shown["over"]) == (hook.titles[0].partition(": ")[2], False)
    log = (tmp_path / "node.log").read_text()
    assert 'event="alert sent"' in log
    assert "s3cret" not in log
