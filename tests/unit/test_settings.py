"""Settings: one table, clear errors."""

import os
from pathlib import Path

import pytest

from dicom_node.cli.config import example_text
from dicom_node.errors import ConfigurationError
from dicom_node.settings import Peer, Settings, load_settings


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
    assert settings.destinations == (Peer("PACS", "10.0.0.1", 104),)


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
    assert settings.destinations == (Peer("A", "h", 1), Peer("B", "::1", 2))
    assert settings.calling_aes == ("CT1", "CR2")


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


def test_the_example_names_every_setting_and_is_the_default_once_uncommented(tmp_path: Path) -> None:
    lines = [line for line in example_text().splitlines() if line.startswith("# ") and " = " in line]
    file = tmp_path / "node.toml"
    file.write_text("\n".join(line.removeprefix("# ") for line in lines))
    assert load_settings(file).model_copy(update={"workers": 1}) == Settings().model_copy(update={"workers": 1})
    assert [line[2:].split(" = ")[0] for line in lines] == list(Settings.model_fields)


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
