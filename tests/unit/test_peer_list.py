"""`covid-xnet peers`, and how the file that it writes stands between the others."""

import json
import os
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from dicom_node.audit import entries
from dicom_node.cli import app
from dicom_node.destination import ResultKind
from dicom_node.errors import ConfigurationError, NodeError
from dicom_node.journey.ledger import ReturnRow, ReturnState
from dicom_node.journey.peer_list import ResultsWait, add_sender
from dicom_node.peers import Caller, Peer
from dicom_node.settings import load_settings
from dicom_node.site_file import as_toml, read_toml
from tests.peers.scripted_pacs import scripted_pacs
from tests.returning import Ward


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in list(os.environ):
        if name.startswith("COVIDXNET_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "covid-xnet.toml").write_text('data_dir = "data"\ndestinations = ["FIRST@10.0.0.1:104"]\n')
    return tmp_path


def peers(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["peers", *arguments])


def done(*arguments: str) -> str:
    result = peers(*arguments)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def test_a_destination_is_added_changed_and_removed_and_the_file_of_the_site_wins(folder: Path) -> None:
    done("add", "PACS@10.1.2.3:104")
    assert [str(d.peer) for d in load_settings().destinations] == ["FIRST@10.0.0.1:104", "PACS@10.1.2.3:104"]

    done("add", "PACS@10.1.2.3:104", "--with", "tls=true", "--with", "objects=report,segmentation")
    changed = load_settings().destinations[-1]
    assert (changed.tls, changed.objects) == (True, (ResultKind.REPORT, ResultKind.SEGMENTATION))
    assert "PACS@10.1.2.3:104: report, segmentation, tls=True" in done("list")

    done("remove", "FIRST")
    assert [str(d.peer) for d in load_settings().destinations] == ["PACS@10.1.2.3:104"]
    said = json.loads(done("list", "--json"))
    assert said["destinations_from"] == "data/site.toml"
    assert said["senders_from"] == "the defaults"
    assert not [path for path in (folder / "data").iterdir() if path.name.startswith(".site")]
    assert (folder / "data" / "site.toml").stat().st_mode & 0o777 == 0o600


def test_an_encrypted_destination_is_not_forgotten_while_results_wait_that_would_go_there_without_tls(
    folder: Path,
) -> None:
    done("add", "PACS@10.1.2.3:104", "--with", "tls=true")
    ward = Ward(folder)  # in the same data folder
    ward.add_reading(destinations=[Peer.parse("PACS@10.1.2.3:104")])
    refused = peers("remove", "PACS")
    assert isinstance(refused.exception, ResultsWait)
    assert "results wait for PACS@10.1.2.3:104" in str(refused.exception)
    assert len(load_settings().destinations) == 2
    with Session(ward.queue.engine) as session, session.begin():
        session.execute(sa.update(ReturnRow).values(state=ReturnState.DELIVERED))
    ward.close()
    done("remove", "PACS")
    assert len(load_settings().destinations) == 1


def test_the_audit_trail_names_who_was_added_and_removed(folder: Path) -> None:
    done("add", "--sender", "CT1@10.1.2.0/24")
    done("add", "PACS@10.1.2.3:104")
    done("remove", "PACS")
    told = [e for e in entries(folder / "data" / "audit") if e.get("alert") == "Network Configuration"]
    assert [(e.get("sender"), e.get("destination"), e["added"]) for e in told] == [
        ("CT1@10.1.2.0/24", None, True),
        (None, "PACS@10.1.2.3:104", True),
        (None, "PACS@10.1.2.3:104", False),
    ]


def test_the_first_sender_closes_the_door_and_the_last_one_opens_it_only_if_that_is_said() -> None:
    assert "who is not on it may send no more" in done("add", "--sender", "CT1")
    assert "may send no more" not in done("add", "--sender", "CT2@10.1.2.3")
    done("remove", "--sender", "CT1")
    refused = peers("remove", "--sender", "CT2@10.1.2.3")
    assert isinstance(refused.exception, ConfigurationError)
    assert load_settings().calling_aes == ("CT2@10.1.2.3",)
    done("remove", "--sender", "CT2@10.1.2.3", "--open-to-all")
    assert load_settings().calling_aes == ()


@pytest.mark.parametrize("name", ['A"B', "A'B # [x]", "A=B,C"])
def test_a_name_with_quotes_is_written_so_that_it_is_read_as_it_was(name: str) -> None:
    done("add", f"{name}@10.1.2.3:104")
    done("add", "--sender", name)
    settings = load_settings()
    assert settings.destinations[-1].peer.ae_title == name
    assert settings.calling_aes == (name,)


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "PÄCS@10.1.2.3:104"),
        ("add", "A\\B@10.1.2.3:104"),
        ("add", "PACS"),
        ("add", "--sender", "Ü"),
        ("add", "--sender", "CT1@10.1.2.3:104"),
        ("add", "PACS@10.1.2.3:104", "--with", "tls"),
        ("remove", "--sender", "NOBODY"),
        ("remove", "NOBODY"),
        ("add", "PACS@10.1.2.3:104", "--with", "tsl=true"),
        ("add", "PACS@10.1.2.3:104", "--with", "objects=report,reports"),
    ],
)
def test_what_is_no_peer_is_refused_and_nothing_is_written(folder: Path, arguments: tuple[str, ...]) -> None:
    result = peers(*arguments)
    assert result.exit_code != 0
    assert isinstance(result.exception, NodeError | SystemExit)
    assert not (folder / "data" / "site.toml").exists()


def test_a_misspelt_option_of_a_destination_brings_the_nearest() -> None:
    assert "Did you mean tls?" in str(peers("add", "PACS@10.1.2.3:104", "--with", "tsl=true").exception)


def test_a_list_that_the_environment_sets_is_not_changed_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVIDXNET_DESTINATIONS", "ENV@10.9.9.9:104")
    result = peers("add", "PACS@10.1.2.3:104")
    assert "COVIDXNET_DESTINATIONS is set, and wins over every file." in str(result.exception)
    assert json.loads(done("list", "--json"))["destinations_from"] == "COVIDXNET_DESTINATIONS"


def test_a_key_that_does_not_belong_into_the_file_of_the_site_is_named(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "site.toml").write_text("port = 104\n")
    with pytest.raises(ConfigurationError, match=r"site\.toml: port does not belong here"):
        load_settings()
    (folder / "data" / "site.toml").write_text('calling_aes = ["A\\\\B"]\n')
    with pytest.raises(ConfigurationError, match=r"site\.toml: calling_aes"):
        load_settings()


def test_none_of_many_who_add_at_once_is_lost() -> None:
    done("add", "--sender", "CT0")
    together = [threading.Thread(target=add_sender, args=(Caller(f"CT{n}"),)) for n in range(1, 9)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    assert set(load_settings().calling_aes) == {f"CT{n}" for n in range(9)}


def test_any_text_comes_back_from_toml_as_it_was(tmp_path: Path) -> None:
    text = "\"'\\\t\n\x7f\x01é𝄞"
    (tmp_path / "any.toml").write_text(f"key = {as_toml(text)}\n", encoding="utf-8")
    assert read_toml(tmp_path / "any.toml") == {"key": text}


def test_a_destination_is_asked_before_it_is_added() -> None:
    with scripted_pacs() as pacs:
        said = json.loads(peers("test", str(pacs.peer), "--json").stdout)
    by_name = {check["name"].removeprefix(f"{pacs.peer} "): check for check in said["checks"]}
    assert by_name["echo"]["well"]
    assert "contexts" in by_name
    gone = peers("test", str(pacs.peer), "--json")
    assert gone.exit_code == 1
    assert json.loads(gone.stdout)["checks"][0]["remedy"]
    assert peers("test", "PACS").exit_code == 2
    assert peers("test", "PACS@10.1.2.3:104", "--with", "objects=everything").exit_code == 2
