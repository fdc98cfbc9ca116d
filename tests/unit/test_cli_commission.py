"""`covid-xnet commission | show | undo`: on a ledger, on lines and on files; what is wrong is said with its row."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from dicom_node.cli import app
from dicom_node.errors import NodeError
from dicom_node.journey.database import open_engine, prepare
from dicom_node.journey.ledger import ReadingRow, ReceivedObject, Study
from dicom_node.settings import Settings
from models.registry import Registry
from pipeline.commissioning import Commissioning
from pipeline.flow import load_networks
from tests.phantom import as_bytes, make_cr

COUNT, LABELLED = 90, 20
DIGEST = load_networks().model.digest


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("COVIDXNET_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return Settings(data_dir=tmp_path / "data")


def run(*arguments: str | Path, types: str = "") -> Result:
    return CliRunner().invoke(app, ["commission", *map(str, arguments)], input=types)


def error_of(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, NodeError)
    message = str(result.exception)
    assert "\n" not in message
    return message


def score_of(number: int) -> float:
    """Every other radiograph has COVID-19; the scores of this site are low."""
    logit = np.random.default_rng(number).normal(-2 + 2 * (number % 2), 1)
    return float(1 / (1 + np.exp(-logit)))


def lines(folder: Path, digest: str = DIGEST, **changes: Any) -> Path:
    file = folder / "scores.jsonl"
    rows = [
        {
            "file": f"x/{n}.png", "accepted": True, "score": score_of(n), "model_digest": digest,
            "sop_instance_uid": f"1.2.{n}", **changes,
        }
        for n in range(COUNT)
    ]  # fmt: skip
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def labels(folder: Path, *more: str, column: str = "sop_instance_uid", count: int = LABELLED) -> Path:
    file = folder / "labels.csv"
    name = "1.2.{}" if column == "sop_instance_uid" else "x/{}.png"
    rows = [f"{name.format(n)},{('normal', 'covid')[n % 2]}" for n in range(count)]
    file.write_text("\n".join([f"{column},label", *rows, *more]) + "\n")
    return file


def test_a_site_is_commissioned_shown_and_taken_back(tmp_path: Path, settings: Settings) -> None:
    arguments = ("--scores", lines(tmp_path), "--labels", labels(tmp_path))
    looked_at = run(*arguments)
    assert looked_at.exit_code == 0, looked_at.output
    assert "Nobody signed: nothing was changed" in looked_at.output
    file = settings.data_dir / "commissioning.json"
    assert not file.exists()
    assert run("show").output == "Not commissioned at this site.\n"

    done = run(*arguments, "--by", "  Ada   Example ", "--sensitivity", "0.9")
    assert done.exit_code == 0, done.output
    for words in (
        "70 unlabelled and 20 labelled",
        "sensitivity",
        "here, covid-19",
        "of 10;",
        "threshold",
        "running node",
    ):
        assert words in done.output
    signed = Commissioning.load(file)
    point = Registry.load().entries["covid_xnet"].operating_point
    assert point is not None
    assert (signed.unlabelled, signed.labelled, signed.positives) == (70, 20, 10)
    assert (signed.by, signed.sensitivity, signed.source) == ("Ada Example", 0.9, "scores")
    assert (signed.model_digest, signed.recipe_digest) == (DIGEST, point.recipe_digest)
    assert abs((datetime.now(UTC) - datetime.fromisoformat(signed.at)).total_seconds()) < 300
    # The scores of this site are low: the threshold goes down with them.
    assert signed.threshold < 0.25 < point.threshold
    judged = np.array([score_of(n) for n in range(1001, 3001, 2)])
    assert np.mean(judged >= signed.threshold) > 0.75

    shown = run("show")
    assert "by Ada Example" in shown.output
    assert "IGNORED" not in shown.output
    assert json.loads(run("show", "--json").output)["threshold"] == signed.threshold

    assert run("undo").exit_code == 0
    assert not file.exists()
    assert "is not commissioned" in error_of(run("undo"))
    assert json.loads(run("show", "--json").output) is None


def test_the_labels_may_name_files(tmp_path: Path, settings: Settings) -> None:
    arguments = ("--scores", lines(tmp_path, sop_instance_uid=None), "--labels", labels(tmp_path, column="file"))
    assert run(*arguments, "--by", "Ada").exit_code == 0
    assert Commissioning.load(settings.data_dir / "commissioning.json").positives == 10


def fill_ledger(settings: Settings) -> None:
    prepare(settings)
    engine = open_engine(settings)
    with Session(engine) as session, session.begin():
        at = datetime(2026, 11, 1, tzinfo=UTC)
        session.add(Study(study_instance_uid="1.2", first_received_at=at))
        session.flush()
        for n in range(COUNT + 10):
            session.add(
                ReceivedObject(
                    sop_instance_uid=f"1.2.{n}", digest=str(n), sop_class_uid="1", transfer_syntax_uid="1",
                    study_instance_uid="1.2", series_instance_uid="1.2.3", size=1, peer_address="127.0.0.1",
                    calling_ae="PACS" if n < COUNT else "OTHER", accepted=True, journey=str(n),
                    received_at=at.replace(day=1 if n < COUNT - 5 else 20),
                )
            )  # fmt: skip
            session.add(
                ReadingRow(journey=str(n), read_at=at, score=score_of(n), model_digest=DIGEST, lungs_found=n != 50)
            )
    engine.dispose()


def test_the_ledger_of_a_node_in_shadow_is_enough(tmp_path: Path, settings: Settings) -> None:
    fill_ledger(settings)
    done = run("--labels", labels(tmp_path), "--by", "Ada", "--calling-ae", "PACS", "--until", "2026-11-10")
    assert done.exit_code == 0, done.output
    signed = Commissioning.load(settings.data_dir / "commissioning.json")
    # Without the ten of another sender, the five that came later, and one without lungs.
    assert (signed.unlabelled, signed.labelled) == (COUNT - 5 - 1 - LABELLED, LABELLED)
    assert signed.source == "ledger, from PACS, until 2026-11-10 00:00"
    assert "To sign also switches on what comes from PACS." in done.output
    assert "It changes nothing yet: shadow_until_commissioned is false" in done.output
    known = json.loads(run("show", "--json").output)["senders"]
    assert [(s["calling_ae"], s["on"], s["by"]) for s in known] == [("OTHER", False, None), ("PACS", True, "Ada")]
    assert "Senders stay switched on: PACS." in run("undo").output


def test_what_other_networks_read_is_not_taken(tmp_path: Path, settings: Settings) -> None:
    assert "Let the node read radiographs" in error_of(run("--labels", labels(tmp_path), "--by", "Ada"))
    fill_ledger(settings)
    engine = open_engine(settings)
    with Session(engine) as session, session.begin():
        session.execute(sa.update(ReadingRow).values(model_digest="other"))
    engine.dispose()
    assert "has no score of COVID-XNet" in error_of(run("--labels", labels(tmp_path), "--by", "Ada"))
    other = error_of(run("--scores", lines(tmp_path, digest="other"), "--labels", labels(tmp_path), "--by", "Ada"))
    assert "scores.jsonl, line 1, was read with other networks" in other
    assert not (settings.data_dir / "commissioning.json").exists()


@pytest.mark.parametrize(
    ("more", "count", "says"),
    [
        (
            ("9.9,covid", "9.8,normal"),
            LABELLED,
            "labels.csv, row 22: '9.9' was not read with these networks, and 1 more",
        ),
        (("1.2.0,covid",), LABELLED, "labels.csv, row 22: '1.2.0' has another label in a row before"),
        (("1.2.40,ill",), LABELLED, "labels.csv, row 22: label 'ill' is none of covid, normal"),
        ((), 8, "4 labelled radiographs with COVID-19 are too few: 5 are needed"),
        ((), 41, "49 unlabelled radiographs are too few: 50 are needed"),
        (tuple(f"1.2.{n},unlabelled" for n in range(40)), 0, "0 labelled radiographs with COVID-19 are too few"),
    ],
)
def test_labels_that_cannot_be_used_are_told_with_their_row(
    tmp_path: Path, settings: Settings, more: tuple[str, ...], count: int, says: str
) -> None:
    arguments = ("--scores", lines(tmp_path), "--labels", labels(tmp_path, *more, count=count), "--by", "Ada")
    assert says in error_of(run(*arguments))
    assert not (settings.data_dir / "commissioning.json").exists()


def test_one_class_only_is_told(tmp_path: Path) -> None:
    file = labels(tmp_path)
    file.write_text(file.read_text().replace("covid", "normal"))
    assert "0 labelled radiographs with COVID-19 are too few" in error_of(
        run("--scores", lines(tmp_path), "--labels", file)
    )


def test_a_table_or_lines_of_another_kind_are_told(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("patient,diagnosis\n1,covid\n")
    assert "has no columns sop_instance_uid or file, and label" in error_of(
        run("--scores", lines(tmp_path), "--labels", table)
    )
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"file": "a", "score": 0.5}\n')
    assert "wrong.jsonl, line 1, is none of covid-xnet read --json" in error_of(run("--scores", wrong))


def test_wrong_usage_is_told_before_anything_is_read(tmp_path: Path) -> None:
    for arguments in (
        ("--scores", lines(tmp_path), "--calling-ae", "PACS"),
        ("--by", "a\\b"),
        ("--by", "x" * 65),
        ("--since", "yesterday"),
        ("--sensitivity", "2"),
    ):
        assert run(*arguments).exit_code == 2


def test_a_file_that_somebody_changed_is_ignored_and_said_to_be(tmp_path: Path, settings: Settings) -> None:
    assert run("--scores", lines(tmp_path), "--labels", labels(tmp_path), "--by", "Ada").exit_code == 0
    file = settings.data_dir / "commissioning.json"
    image = tmp_path / "chest.dcm"
    image.write_bytes(as_bytes(make_cr()))
    found = json.loads(CliRunner().invoke(app, ["read", "--json", str(image)]).stdout)
    assert found["commissioning"]["by"] == "Ada"
    file.write_text(file.read_text().replace(DIGEST, "0" * 64))
    assert "IGNORED: COVID-XNet" in run("show").output
    done = CliRunner().invoke(app, ["read", "--json", str(image)])
    again = json.loads(done.stdout)
    assert again["commissioning"] is None
    assert again["score"] == found["score"]
    assert "Not commissioned at this site: COVID-XNet" in done.stderr
    file.write_text("{")
    assert "commissioning.json cannot be read" in error_of(run("show"))
    assert run("undo").exit_code == 0


def test_files_are_read_on_the_spot(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    for n in range(2):
        (folder / f"{n}.dcm").write_bytes(as_bytes(make_cr(seed=n)))
    (folder / "notes.txt").write_text("no radiograph")
    assert "2 unlabelled radiographs are too few" in error_of(run("--files", folder))
    (folder / "bad.dcm").write_text("no DICOM")
    assert "bad.dcm: It is neither DICOM nor PNG nor JPEG" in error_of(run("--files", folder))
