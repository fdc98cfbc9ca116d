"""`covid-xnet`: help, version, and the settings on the command line."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner, Result

from dicom_node import __version__
from dicom_node.cli import app
from dicom_node.errors import ConfigurationError
from dicom_node.settings import Settings, load_settings

COMMANDS = {
    "run", "listen", "work", "return", "echo", "send", "status", "retry", "read",
    "config show", "config example",
    "models list", "models show", "models verify", "models import-rib-suppression",
    "train reference", "train ribs", "train lungs", "train classifier",
}  # fmt: skip
"""What the node has promised; it may have more."""


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("COVIDXNET_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def process(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dicom_node", *map(str, arguments)],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from walk(child, (*path, name))


ALL = dict(walk(typer.main.get_command(app)))


def test_every_promised_command_is_there() -> None:
    assert COMMANDS - {" ".join(path) for path in ALL} == set()


@pytest.mark.parametrize("path", ALL, ids=lambda path: " ".join(path) or "covid-xnet")
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_explains_itself(path: tuple[str, ...], option: str) -> None:
    result = run(*path, option)
    assert result.exit_code == 0
    assert "Usage: " in result.output
    command = ALL[path]
    assert command.help
    silent = [p.name for p in command.params if p.param_type_name == "option" and not p.help]
    assert silent == []


@pytest.mark.parametrize("path", [path for path, command in ALL.items() if not hasattr(command, "commands")])
def test_every_command_shows_an_example_that_parses(path: tuple[str, ...]) -> None:
    """Where the help shows an example, its options are options of the command."""
    text = ALL[path].help or ""
    lines = [line for line in text.replace("\\\n", " ").splitlines() if "covid-xnet " in line]
    assert lines, f"covid-xnet {' '.join(path)} has no example"
    known = {flag for p in (path, ()) for parameter in ALL[p].params for flag in parameter.opts}
    for line in lines:
        words = line[line.index("covid-xnet ") :].split()
        assert " ".join(path) in " ".join(words)
        assert [word for word in words if word.startswith("-") and word not in known] == []


def test_the_version_is_printed() -> None:
    assert run("--version").output == f"covid-xnet {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["--nonsense"], ["models", "nonsense"], ["status", "--limit", "x"]]
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_the_settings_in_force_are_shown_as_toml_that_can_be_used_again(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(
        'ae_title = "MINE"\ndestinations = ["PACS@10.1.2.3:104", "B@[::1]:11112"]\nread_for_processing = true'
    )
    shown = run("-c", file, "config", "show")
    assert shown.exit_code == 0
    values = tomllib.loads(shown.output)
    assert list(values) == list(Settings.model_fields)
    assert values["ae_title"] == "MINE"
    assert values["destinations"] == ["PACS@10.1.2.3:104", "B@[::1]:11112"]
    assert values["read_for_processing"] is True
    again = tmp_path / "again.toml"
    again.write_text(shown.output)
    assert run("-c", again, "config", "show").output == shown.output
    assert json.loads(run("-c", file, "config", "show", "--json").output) == values


def test_the_environment_is_shown_where_it_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "covid-xnet.toml").write_text("port = 104\nworkers = 3\n")
    monkeypatch.setenv("COVIDXNET_PORT", "4242")
    values: dict[str, Any] = json.loads(run("config", "show", "--json").output)
    assert (values["port"], values["workers"]) == (4242, 3)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://node:s3cr3t-W0rd@db.example:5432/covid",
        "postgresql+psycopg://node:s3cr3t-W0rd@db.example/covid?sslmode=require",
        "postgresql+psycopg://node:s3cr3t-W0rd%40%2F@db.example/covid",
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_the_password_of_the_database_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, url: str, form: list[str]
) -> None:
    monkeypatch.setenv("COVIDXNET_DATABASE_URL", url)
    result = run("config", "show", *form)
    assert result.exit_code == 0
    assert "s3cr3t" not in result.output
    assert "W0rd" not in result.output
    assert "db.example" in result.output
    assert "***" in result.output


@pytest.mark.parametrize("command", [["config", "show"], ["status"], ["listen"]])
@pytest.mark.parametrize("url", ["node:s3cr3t-W0rd@db.example", "nonsense://node:s3cr3t-W0rd@db.example/covid"])
def test_a_database_url_that_is_none_is_told_in_one_line_without_its_password(command: list[str], url: str) -> None:
    done = process(*command, COVIDXNET_DATABASE_URL=url)
    assert "s3cr3t" not in done.stdout + done.stderr
    if done.returncode == 0:  # `config show` connects to nothing: what can be parsed is shown
        assert command == ["config", "show"]
        assert "***" in done.stdout
        return
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("covid-xnet: database_url")


def test_the_example_is_a_file_that_can_be_used(tmp_path: Path) -> None:
    example = run("config", "example")
    assert example.exit_code == 0
    # Every line is a comment, but for what a new site begins with.
    assert tomllib.loads(example.output) == {"shadow_until_commissioned": True}
    file = tmp_path / "node.toml"
    file.write_text(example.output.replace("# port = 11112", "port = 11113"))
    assert json.loads(run("-c", file, "config", "show", "--json").output)["port"] == 11113


@pytest.mark.parametrize("command", ["config show", "status", "retry", "run", "listen", "work", "return", "echo A@h:1"])
def test_every_command_of_the_node_refuses_a_wrong_setting(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("COVIDXNET_PORT", "eleven")
    result = run(*command.split())
    assert isinstance(result.exception, ConfigurationError)
    assert "COVIDXNET_PORT = 'eleven'" in str(result.exception)


def test_the_process_ends_with_one_line_and_2_if_a_setting_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("prot = 104\n")
    for done, word in (
        (process("-c", file, "status"), f"{file}: prot is not a setting. Did you mean port?"),
        (process("status", COVIDXNET_WORKERS="0"), "COVIDXNET_WORKERS = '0'"),
        (process("-c", tmp_path / "nowhere.toml", "status"), "nowhere.toml: cannot be read"),
    ):
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("covid-xnet: ")
        assert word in line


def test_the_process_prints_help_when_it_is_told_nothing() -> None:
    done = process()
    assert done.returncode == 2
    assert "Usage: " in done.stdout + done.stderr
    done = process("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"covid-xnet {__version__}\n", "")


def test_a_secret_comes_from_a_file_that_the_environment_names_and_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    file.write_text("postgresql+psycopg://node:geheim1@db/ledger?sslpassword=geheim2\n")
    monkeypatch.setenv("COVIDXNET_DATABASE_URL_FILE", str(file))
    assert load_settings().database_url == file.read_text().strip()
    shown = run("config", "show")
    assert shown.exit_code == 0
    assert "node:***@db/ledger" in shown.output
    assert "geheim" not in shown.output + run("config", "show", "--json").output
    monkeypatch.setenv("COVIDXNET_DATABASE_URL", "sqlite:///plain")
    assert load_settings().database_url == "sqlite:///plain"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("COVIDXNET_DATABASE_URL_FILE", "/nowhere/secret", "/nowhere/secret cannot be read"),
        ("COVIDXNET_DATABASE_LINK_FILE", "/dev/null", "is not a setting"),
        ("COVIDXNET_DATABASE_URL", "geheim no url geheim", "database_url cannot be used"),
        ("COVIDXNET_DATABASE_URL", "strange://node:geheim@db", "database_url cannot be used"),
    ],
)
def test_a_wrong_secret_is_one_line_that_does_not_tell_it(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    problem = run("status").exception
    assert isinstance(problem, ConfigurationError)
    assert words in str(problem)
    assert "geheim" not in str(problem)
