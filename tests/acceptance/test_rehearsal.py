"""What `covid-xnet judge` foretells is what the node then does."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmwrite
from typer.testing import CliRunner

from dicom_node.cli import app
from tests.listening import Node, associate, send
from tests.phantom import PATIENT_ID, PATIENT_NAME, make_cr, make_dx

KINDS: dict[str, Dataset] = {
    "frontal": make_cr(),
    "stat": make_dx(seed=1, extra={"RequestedProcedurePriority": "STAT"}),
    "lateral": make_cr(view="LL", seed=2),
    "hand": make_cr(body_part="HAND", seed=3),
    "view unknown": make_cr(view=None, seed=4),
    "raw": make_dx(for_processing=True, seed=5),
}


@pytest.fixture
def node(start: Any, monkeypatch: pytest.MonkeyPatch) -> Node:
    running: Node = start(calling_aes=("MODALITY",))
    monkeypatch.setenv("COVIDXNET_DATA_DIR", str(running.settings.data_dir))
    monkeypatch.setenv("COVIDXNET_CALLING_AES", "MODALITY")
    monkeypatch.setenv("COVIDXNET_DESTINATIONS", "PACS@127.0.0.1:104")
    return running


def foretold(tmp_path: Path, dataset: Dataset, *options: str) -> dict[str, Any]:
    file = tmp_path / "file.dcm"
    dcmwrite(file, dataset, enforce_file_format=True)
    result = CliRunner().invoke(app, ["judge", str(file), "--json", *options])
    assert result.exit_code == 0, result.exception
    assert PATIENT_ID not in result.output
    assert PATIENT_NAME not in result.output
    told: dict[str, Any] = json.loads(result.output)
    return told


def counted(node: Node) -> list[tuple[int]]:
    return node.rows("SELECT count(*) FROM received UNION ALL SELECT count(*) FROM rejected")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_foretold_is_what_the_listener_records(node: Node, tmp_path: Path, kind: str) -> None:
    before = counted(node)
    told = foretold(tmp_path, KINDS[kind], "--calling-ae", "MODALITY")
    assert counted(node) == before

    assert send(node, KINDS[kind]).Status == told["status"] == 0x0000
    ((accepted, reason, detail, view, evidence, flags, urgency),) = node.rows(
        "SELECT accepted, reason, detail, view, evidence, flags, urgency FROM received"
    )
    assert told["admitted"]
    assert told["known"] == "new"
    assert (told["read"], told["view"], told["evidence"]) == (bool(accepted), view, evidence)
    assert told["flags"] == json.loads(flags)
    assert told["reason"] == (f"{reason}: {detail}" if reason else "")
    assert told["urgency"] == (urgency if accepted else "")
    assert told["pixels"] == (kind == "view unknown")
    assert told["returns"] == ({"PACS@127.0.0.1:104": ["overlay", "report"]} if accepted else {})

    again = foretold(tmp_path, KINDS[kind], "--calling-ae", "MODALITY")
    assert (again["known"], again["read"]) == ("identical", False)


def test_a_stranger_is_foretold_what_it_gets(node: Node, tmp_path: Path) -> None:
    told = foretold(tmp_path, make_cr(), "--calling-ae", "STRANGER")
    assert (told["admitted"], told["status"]) == (False, None)
    assert told["reason"] == "association rejected: calling AE title not recognised"
    assert associate(node, calling="STRANGER").is_rejected


def test_other_content_under_a_known_uid_is_foretold_by_the_policy(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_cr()
    send(node, first)
    first.PatientComments = "sent again, and changed"
    told = {}
    for policy in ("keep-first", "refuse", "read-again"):
        monkeypatch.setenv("COVIDXNET_DUPLICATE_POLICY", policy)
        each = foretold(tmp_path, first)
        told[policy] = (each["status"], each["known"], each["read"])
    assert told == {
        "keep-first": (0x0000, "different", False),
        "refuse": (0x0111, "", False),
        "read-again": (0x0000, "revised", True),
    }


def test_a_sender_that_is_not_switched_on_is_foretold_that_nothing_is_sent(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVIDXNET_SHADOW_UNTIL_COMMISSIONED", "true")
    told = foretold(tmp_path, make_cr(), "--calling-ae", "MODALITY")
    assert (told["read"], told["shadow"], told["returns"]) == (True, True, {})
    assert foretold(tmp_path, make_cr())["shadow"] is None


def test_without_a_ledger_none_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVIDXNET_DATA_DIR", str(tmp_path / "none"))
    assert foretold(tmp_path, make_cr())["read"]
    assert not (tmp_path / "none").exists()


def test_a_damaged_file_is_foretold_its_status_in_plain_words(node: Node, tmp_path: Path) -> None:
    file = tmp_path / "cut.dcm"
    dcmwrite(file, make_cr(), enforce_file_format=True)
    file.write_bytes(file.read_bytes()[:2000])
    result = CliRunner().invoke(app, ["judge", str(file)])
    assert result.exit_code == 0
    assert "answered 0xC000" in result.output
    assert "not read: The data set is truncated" in result.output
