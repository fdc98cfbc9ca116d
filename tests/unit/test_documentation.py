"""What is written about the node is true of the code: nothing left out, nothing that is no longer there."""

import ast
import configparser
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy.orm import Session

from dicom_node.cli import app
from dicom_node.cli.config import example_text
from dicom_node.journey.database import open_engine, prepare
from dicom_node.journey.ledger import ReturnState
from dicom_node.journey.queue import KNOWN_UID
from dicom_node.journey.tallies import counts
from dicom_node.reception.intake import Flag, Reason
from dicom_node.settings import PREFIX, Settings
from dicom_node.supervisor import GRACE_SECONDS
from dicom_node.wire import StoreStatus

ROOT = Path(__file__).parents[2]
HANDBOOK = ROOT / "deploy" / "handbook"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "deploy").rglob("*.md")])
WRITTEN = [*PAGES, *sorted(p for p in (ROOT / "deploy").rglob("*") if p.suffix in (".lua", ".service", ".example"))]
SOURCES = sorted(p for room in ("dicom_node", "pipeline", "models", "tests") for p in (ROOT / room).rglob("*.py"))

COMMANDS: Any = typer.main.get_command(app)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def sections(page: str, level: str) -> dict[str, str]:
    """Heading -> text below it, up to the next heading of the same or a higher level."""
    text = (HANDBOOK / page).read_text("utf-8")
    parts = re.split(rf"^(#{{1,{len(level)}}}) (.+)$", text, flags=re.MULTILINE)
    return {
        heading: body
        for mark, heading, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
        if mark == level
    }


def rows(page: str) -> dict[str, str]:
    """First cell of each row of the tables of a page -> the whole row."""
    lines = (HANDBOOK / page).read_text("utf-8").splitlines()
    return {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its full name."""
    if not hasattr(command, "commands"):
        yield " ".join(path), command
        return
    if command.invoke_without_command:
        yield " ".join(path), command
    for name, inner in command.commands.items():
        yield from leaves(inner, (*path, name))


LEAVES = dict(leaves(COMMANDS))


@pytest.mark.parametrize("setting", Settings.model_fields)
def test_every_setting_is_documented_with_its_variable_and_its_default(setting: str) -> None:
    documented = sections("configuration.md", "###")
    assert setting in documented
    default = Settings.model_fields[setting].default
    if setting == "workers":
        shown = "the number of cores"
    else:
        plain = list(default) if isinstance(default, tuple) else str(default) if isinstance(default, Path) else default
        shown = f"`{json.dumps(plain)}`"
    assert documented[setting].strip().splitlines()[0] == f"`{PREFIX}{setting.upper()}`, default{_of(setting)} {shown}"


def _of(setting: str) -> str:
    return ":" if setting == "workers" else ""


def test_no_setting_is_documented_that_does_not_exist() -> None:
    assert set(sections("configuration.md", "###")) == set(Settings.model_fields)


def test_the_example_of_the_settings_is_what_the_command_prints() -> None:
    assert (ROOT / "deploy" / "covid-xnet.toml.example").read_text("utf-8") == example_text()


def test_the_commands_that_are_documented_are_the_ones_that_exist() -> None:
    assert set(sections("commands.md", "###")) == {f"covid-xnet {name}" for name in LEAVES}


@pytest.mark.parametrize("command", LEAVES)
def test_every_option_and_argument_of_a_command_is_documented(command: str) -> None:
    text = sections("commands.md", "###")[f"covid-xnet {command}"]
    # What the commands of a group have in common stands before the first of them.
    for chapter in sections("commands.md", "##").values():
        if text in chapter:
            text += chapter.split("\n### ")[0]
    for parameter in LEAVES[command].params:
        if parameter.param_type_name == "argument":
            assert parameter.metavar in text
            continue
        names = [name for name in parameter.opts if name.startswith("--") and name != "--help"]
        for name in names:
            assert f"`{name}" in text
        if names and not parameter.required and parameter.default not in (None, False):
            assert str(parameter.default) in text


def test_every_option_before_the_command_is_documented() -> None:
    before = (HANDBOOK / "commands.md").read_text("utf-8").split("\n## ")[0]
    names = {name for parameter in COMMANDS.params for name in parameter.opts}
    assert {"--config", "-c", "--version"} <= names
    assert all(f"`{name}" in before for name in names)


def _examples() -> list[tuple[str, str]]:
    """Page and arguments of every command line: in blocks of code, and between backticks."""
    found = []
    for page in PAGES:
        inline = re.findall(r"`(?:covid-xnet|node) ((?:[a-z]|-)[^`]*)`", page.read_text("utf-8"))
        found += [(name_of(page), " ".join(example.split())) for example in inline]
        for block in re.findall(r"^```\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if match := re.search(r"(?:^|[ /])(?:covid-xnet|node) (?=-|[a-z]+)(.*)", line.split(" #")[0]):
                    found.append((name_of(page), match[1]))
    return found


@pytest.mark.parametrize(("page", "example"), _examples())
def test_every_example_names_a_command_and_options_that_exist(page: str, example: str) -> None:
    words = shlex.split(example.split(">")[0].split("|")[0])
    known = {name for parameter in COMMANDS.params for name in parameter.opts} | {"--help", "-h"}
    command = COMMANDS
    while words and (words[0].startswith("-") or hasattr(command, "commands")):
        if getattr(command, "invoke_without_command", False) and words[0] not in command.commands:
            break
        word = words.pop(0)
        if word == "...":
            return
        if word.startswith("-"):
            assert word in known, page
            words = words[1:] if word in ("-c", "--config") else words
        elif word in getattr(command, "commands", {}):
            command = command.commands[word]
            known = known | {name for parameter in command.params for name in parameter.opts}
        else:
            pytest.fail(f"{page}: {example!r} has no command {word!r}")
    assert all(word in known for word in words if word.startswith("-")), page


def test_there_are_examples_to_check() -> None:
    assert len(_examples()) > 50


@pytest.mark.parametrize("reason", [*(str(reason) for reason in Reason), KNOWN_UID, *(str(flag) for flag in Flag)])
def test_every_reason_and_flag_of_the_gate_is_explained(reason: str) -> None:
    assert reason in rows("operations.md")


@pytest.mark.parametrize("status", StoreStatus)
def test_every_status_that_the_node_answers_is_explained(status: StoreStatus) -> None:
    assert f"0x{status:04X}" in rows("operations.md")


def test_every_word_of_the_status_is_explained(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    prepare(settings)
    with Session(open_engine(settings)) as session:
        words = counts(session)
    assert len(words) == 11
    assert words.keys() <= rows("operations.md").keys()


@pytest.mark.parametrize("state", ReturnState)
def test_every_state_of_a_return_is_explained(state: ReturnState) -> None:
    assert f"*{state}*" in sections("operations.md", "##")["Returns"]


@cache
def _events() -> list[tuple[str, frozenset[str]]]:
    """Event and keys of every call that logs."""
    found = []
    for source in SOURCES:
        if source.is_relative_to(ROOT / "tests"):
            continue
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "log"
                and node.func.attr in ("info", "warning", "error", "exception")
            ):
                event = node.args[0].left if isinstance(node.args[0], ast.BinOp) else node.args[0]
                assert isinstance(event, ast.Constant), f"{name_of(source)}:{node.lineno} has no plain event"
                states = [f" {state}" for state in ReturnState] if isinstance(node.args[0], ast.BinOp) else [""]
                keys = frozenset(keyword.arg or "" for keyword in node.keywords)
                found += [(f"{str(event.value).strip()}{state}", keys) for state in states]
    return found


@cache
def _listed_events() -> dict[str, str]:
    """Event -> its row in the table of the log; rows may hold several."""
    table = sections("operations.md", "##")["Log"]
    cells = [(line.split("|")[1].strip(), line) for line in table.splitlines() if line.startswith("| ")]
    # An event may have a comma in its name.
    names = {event for event, _ in _events()}
    return {name: line for cell, line in cells for name in ([cell] if cell in names else cell.split(", "))}


@pytest.mark.parametrize(("event", "keys"), _events())
def test_every_log_event_is_listed_with_its_keys(event: str, keys: frozenset[str]) -> None:
    assert event in _listed_events()
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}\b", _listed_events()[event])] == []


def test_no_log_event_is_listed_that_does_not_exist() -> None:
    assert _listed_events().keys() - {"event"} == {event for event, _ in _events()}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_and_picture_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.is_relative_to(ROOT), target
        assert path.exists(), target
        assert not anchor or anchor in _anchors(path), target


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_of_the_handbook_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert len(list(HANDBOOK.glob("*.md"))) >= 6
    assert all(f"({name_of(page)})" in readme for page in HANDBOOK.glob("*.md"))


@pytest.mark.parametrize("file", [*WRITTEN, *SOURCES, ROOT / "Makefile", ROOT / "pyproject.toml"], ids=name_of)
def test_nothing_is_marked_as_unfinished(file: Path) -> None:
    # Written backwards, so that this file does not hold them.
    markers = [word[::-1] for word in ("ODOT", "EMXIF", "X" * 3, "DBT", "KCAH", "PIW")]
    found = re.findall(rf"\b(?:{'|'.join(markers)})\b", file.read_text("utf-8"))
    assert found == []


@pytest.mark.parametrize("page", [ROOT / "README.md", HANDBOOK / "results.md", HANDBOOK / "start.md"], ids=name_of)
def test_who_reads_about_results_is_told_that_they_are_not_for_diagnosis(page: Path) -> None:
    assert re.search(r"investigational,\s+not\s+for\s+diagnosis", page.read_text("utf-8"), re.IGNORECASE)


def test_the_service_gives_the_supervisor_time_and_does_not_repeat_a_wrong_setting() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(ROOT / "deploy" / "systemd" / "covid-xnet.service")
    service = unit["Service"]
    assert float(service["TimeoutStopSec"]) > GRACE_SECONDS
    assert service["ExecStart"].endswith("/covid-xnet run")
    assert (service["Restart"], service["RestartPreventExitStatus"]) == ("on-failure", "2")
    assert service["ProtectSystem"] == "strict"
    assert service["StateDirectory"] == "covid-xnet"
