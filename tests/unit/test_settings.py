"""Settings: one table, clear errors."""

import json
import os
import re
from enum import StrEnum
from pathlib import Path

import pytest

from dicom_node.cli.config import example_text
from dicom_node.destination import BY_DEFAULT, Compression, Destination, OverlaySize, ResultChoice, ResultKind
from dicom_node.errors import ConfigurationError
from dicom_node.peers import Peer
from dicom_node.settings import Settings, load_settings
from dicom_node.site_file import as_toml


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("COVIDXNET_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "ae_title", "host", "port"),
    [
        ("PACS@10.1.2.3:104", "PACS", "10.1.2.3", 104),
        (" PACS@localhost:4242 ", "PACS", "localhost", 4242),
        ("MY PACS@pacs.hospital.example:11112", "MY PACS", "pacs.hospital.example", 11112),
        ("PACS@[::1]:104", "PACS", "::1", 104),
    ],
)
def test_a_peer_is_read_from_ae_title_host_and_port(text: str, ae_title: str, host: str, port: int) -> None:
    peer = Peer.parse(text)
    assert (peer.ae_title, peer.host, peer.port) == (ae_title, host, port)
    assert Peer.parse(str(peer)) == peer


@pytest.mark.parametrize(
    "text", ["PACS", "PACS@host", "@host:104", "PACS@host:0", "PACS@host:65536", "A" * 17 + "@host:104", "A\\B@h:1", ""]
)
def test_what_is_no_peer_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"peer|port|AE title"):
        Peer.parse(text)


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('ae_title = "FROMFILE"\nport = 104\ndestinations = ["PACS@10.0.0.1:104"]\n')
    monkeypatch.setenv("COVIDXNET_PORT", "11113")
    settings = load_settings(file)
    assert (settings.ae_title, settings.port) == ("FROMFILE", 11113)
    assert settings.destinations == (Destination(peer=Peer("PACS", "10.0.0.1", 104)),)


def test_the_file_is_found_in_the_working_folder_or_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "covid-xnet.toml").write_text('ae_title = "HERE"\n')
    assert load_settings().ae_title == "HERE"
    (tmp_path / "other.toml").write_text('ae_title = "THERE"\n')
    monkeypatch.setenv("COVIDXNET_CONFIG", str(tmp_path / "other.toml"))
    assert load_settings().ae_title == "THERE"


@pytest.mark.parametrize("value", ["A@h:1,B@[::1]:2", " A@h:1 , B@[::1]:2 ", '["A@h:1", "B@[::1]:2"]'])
def test_lists_in_the_environment_are_json_or_separated_by_commas(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("COVIDXNET_DESTINATIONS", value)
    monkeypatch.setenv("COVIDXNET_CALLING_AES", "CT1, CR2")
    settings = load_settings()
    assert [destination.peer for destination in settings.destinations] == [Peer("A", "h", 1), Peer("B", "::1", 2)]
    assert settings.calling_aes == ("CT1", "CR2")


@pytest.mark.parametrize(
    "text",
    [
        'destinations = ["A@h:1", { peer = "B@h:2", objects = ["key-object", "report"], overlay_size = 1024 }]',
        'destinations = ["A@h:1", { peer = "B@h:2", objects = ["report", "key-object"], overlay_size = "1024" }]',
        '[[destinations]]\npeer = "A@h:1"\n[[destinations]]\npeer = "B@h:2"\nobjects = ["report", "key-object"]\n'
        "overlay_size = 1024",
    ],
)
def test_a_destination_may_be_a_table_that_says_what_it_gets(tmp_path: Path, text: str) -> None:
    file = tmp_path / "node.toml"
    file.write_text(text)
    first, second = load_settings(file).destinations
    assert first == Destination(peer=Peer("A", "h", 1))
    assert first.choice == BY_DEFAULT
    assert second.peer == Peer("B", "h", 2)
    assert second.objects == (ResultKind.REPORT, ResultKind.KEY_OBJECT)
    assert second.choice == ResultChoice(
        objects=(ResultKind.REPORT, ResultKind.KEY_OBJECT), overlay_size=OverlaySize.SMALL
    )


@pytest.mark.parametrize("value", ['["A@h:1", {"peer": "B@h:2", "report_class": "comprehensive"}]'])
def test_a_table_in_the_environment_is_json_and_is_shown_as_it_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    monkeypatch.setenv("COVIDXNET_DESTINATIONS", value)
    destinations = load_settings().destinations
    assert [destination.report_class.value for destination in destinations] == ["comprehensive-3d", "comprehensive"]
    assert [destination.plain for destination in destinations] == json.loads(value)
    file = tmp_path / "again.toml"
    file.write_text(f"destinations = {as_toml(json.loads(value))}")
    monkeypatch.delenv("COVIDXNET_DESTINATIONS")
    assert load_settings(file).destinations == destinations


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('{"overlay_size": "full"}', ["COVIDXNET_DESTINATIONS[0].peer", "AET@host:port"]),
        ('{"peer": "A@h"}', ["COVIDXNET_DESTINATIONS", "A@h", "AET@host:port"]),
        ('{"peer": "A@h:1", "overlay_sise": 1024}', ["COVIDXNET_DESTINATIONS[0].overlay_sise", "overlay_size"]),
        ('{"peer": "A@h:1", "zzzz": 1}', ["COVIDXNET_DESTINATIONS[0].zzzz", "character_set"]),
        ('{"peer": "A@h:1", "overlay_size": 512}', ["COVIDXNET_DESTINATIONS[0].overlay_size", "512", "1024"]),
        ('{"peer": "A@h:1", "overlay_layout": "both"}', ["[0].overlay_layout", "both", "side-by-side"]),
        ('{"peer": "A@h:1", "objects": ["ct"]}', ["[0].objects", "ct", "key-object"]),
        ('{"peer": "A@h:1", "objects": []}', ["[0].objects", "at least 1"]),
        ('{"peer": "A@h:1", "objects": ["report", "report"]}', ["[0].objects", "twice"]),
        ('{"peer": "A@h:1", "objects": "report"}', ["[0].objects", "report"]),
        ('{"peer": "A@h:1", "report_class": "basic"}', ["[0].report_class", "basic", "comprehensive-3d"]),
        ('{"peer": "A@h:1", "character_set": "latin"}', ["[0].character_set", "latin", "source"]),
        ('{"peer": "A@h:1"}, "A@h:1"', ["COVIDXNET_DESTINATIONS", "twice"]),
    ],
)
def test_a_wrong_key_of_a_destination_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, table: str, says: list[str]
) -> None:
    monkeypatch.setenv("COVIDXNET_DESTINATIONS", f"[{table}]")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in says if word not in message] == []


@pytest.mark.parametrize("key", Destination.model_fields)
def test_every_key_of_a_destination_is_documented_with_its_values(key: str) -> None:
    page = (Path(__file__).parents[2] / "deploy" / "handbook" / "configuration.md").read_text("utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{key}` |")]
    field = Destination.model_fields[key]
    kind = {"objects": ResultKind, "overlay_compression": Compression}.get(key, field.annotation)
    values = [str(value) for value in kind] if isinstance(kind, type) and issubclass(kind, StrEnum) else []
    assert key in ("peer", "commitment_peer", "objects") or values or kind is bool
    assert [value for value in values if f'`"{value}"`' not in row] == []


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("COVIDXNET_PROT", "1", ["COVIDXNET_PROT", "COVIDXNET_PORT"]),
        ("COVIDXNET_PORT", "70000", ["COVIDXNET_PORT", "70000", "65535", "TCP port"]),
        ("COVIDXNET_PORT", "abc", ["COVIDXNET_PORT", "'abc'", "integer"]),
        ("COVIDXNET_AE_TITLE", "A" * 17, ["COVIDXNET_AE_TITLE", "16"]),
        ("COVIDXNET_DESTINATIONS", "PACS@host", ["COVIDXNET_DESTINATIONS", "AET@host:port"]),
        ("COVIDXNET_DESTINATIONS", "A@h:1,A@h:1", ["COVIDXNET_DESTINATIONS", "twice"]),
        ("COVIDXNET_DESTINATIONS", "[1", ["COVIDXNET_DESTINATIONS", "JSON"]),
        ("COVIDXNET_LOG_FORMAT", "xml", ["COVIDXNET_LOG_FORMAT", "json"]),
        ("COVIDXNET_CONFIG", "/nowhere/node.toml", ["/nowhere/node.toml", "No such file"]),
    ],
)
def test_a_wrong_variable_is_named_with_what_would_be_right(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: list[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in says if word not in message] == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prot = 1\n", ["prot", "port"]),
        ("port = 0.5\n", ["port", "0.5"]),
        ("zzzz = 1\n", ["zzzz", "config example"]),
        ("port = \n", ["TOML"]),
        ('destinations = "PACS"\n', ["destinations", "AET@host:port"]),
    ],
)
def test_a_wrong_key_of_the_file_is_named_with_what_would_be_right(tmp_path: Path, text: str, says: list[str]) -> None:
    file = tmp_path / "node.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file)
    message = str(caught.value)
    assert str(file) in message
    assert "\n" not in message
    assert [word for word in says if word not in message] == []


def test_the_example_names_every_setting_and_is_the_default_once_uncommented_but_for_a_new_site(tmp_path: Path) -> None:
    lines = [line.removeprefix("# ") for line in example_text().splitlines() if re.match(r"(# )?[a-z_]+ = ", line)]
    file = tmp_path / "node.toml"
    file.write_text("\n".join(lines))
    new_site = {"workers": 1, "shadow_until_commissioned": True}
    assert load_settings(file).model_copy(update={"workers": 1}) == Settings().model_copy(update=new_site)
    assert [line.split(" = ")[0] for line in lines] == list(Settings.model_fields)


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
