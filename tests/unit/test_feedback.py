"""What was verified comes in row by row, can come again, and yields sensitivity and specificity."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from dicom_node import audit
from dicom_node.cli import app
from dicom_node.errors import NodeError
from dicom_node.journey.database import open_engine, prepare
from dicom_node.journey.ledger import ReadingRow, ReceivedObject, Study
from dicom_node.settings import Settings
from dicom_node.watch.feedback import IS_COVID, FeedbackRow, enter, in_force, parse
from dicom_node.watch.performance import account, share
from pipeline.training.corpus import Label

AT = datetime(2026, 11, 1, tzinfo=UTC)
HEADING = "sop_instance_uid,accession_number,label,source,date"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A ledger with ten readings: 1.2.0 to 1.2.9, scores 0.05 to 0.95, threshold 0.5, of two senders."""
    monkeypatch.setenv("COVIDXNET_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    settings = Settings(data_dir=tmp_path / "data")
    prepare(settings)
    engine = open_engine(settings)
    with Session(engine) as session, session.begin():
        for study, accession in (("1", "A"), ("2", "B"), ("3", "C"), ("4", "C")):
            session.add(Study(study_instance_uid=study, accession_number=accession, first_received_at=AT))
        session.flush()
        for n in range(11):
            session.add(
                ReceivedObject(
                    sop_instance_uid=f"1.2.{n}", digest=str(n), sop_class_uid="1", transfer_syntax_uid="1", size=1,
                    study_instance_uid="1" if n < 2 else "2" if n == 10 else "3" if n < 5 else "4",
                    series_instance_uid="1.2.3", peer_address="127.0.0.1", calling_ae="PACS" if n % 2 else "CR2",
                    accepted=True, journey=str(n), received_at=AT,
                )
            )  # fmt: skip
            session.add(
                ReadingRow(
                    journey=str(n), read_at=AT, score=None if n == 10 else 0.05 + n / 10, threshold=0.5,
                    verdict="indeterminate" if n == 4 else "positive", model_digest="d1", model_name="COVID-XNet",
                    model_version="1", failure="blank" if n == 10 else "",
                )
            )  # fmt: skip
    engine.dispose()
    return settings


@pytest.fixture
def session(settings: Settings) -> Iterator[Session]:
    engine = open_engine(settings)
    with Session(engine) as session:
        yield session
    engine.dispose()


def table(*rows: str) -> list[str]:
    return [HEADING, *rows]


def imported(folder: Path, *rows: str) -> Result:
    file = folder / "table.csv"
    file.write_text("\ufeff" + "\n".join(table(*rows)), "utf-8")
    return CliRunner().invoke(app, ["feedback", "import", str(file), "--by", "Ada Example", "--json"])


def test_every_label_of_a_corpus_and_those_of_a_laboratory_are_taken() -> None:
    assert set(IS_COVID) == {label.value for label in Label if label is not Label.UNLABELLED} | {"positive", "negative"}
    assert {label for label, is_covid in IS_COVID.items() if is_covid} == {"covid", "positive"}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (",,covid,PCR,2026-11-01", "sop_instance_uid and accession_number are empty"),
        ("1.2.1,,ill,PCR,2026-11-01", "label 'ill' is none of covid, positive"),
        ("1.2.1,,unlabelled,PCR,2026-11-01", "label 'unlabelled' is none of"),
        ("1.2.1,,covid,,2026-11-01", "source is empty"),
        ("1.2.1,,covid,PCR,01.11.2026", "date '01.11.2026' is none: write 2026-11-30"),
        ("1.2.1,,covid,PCR,2999-01-01", "lies in the future"),
        ("9.9,,covid,PCR,2026-11-01", "'9.9' was not read by this node"),
        ("1.2.10,,covid,PCR,2026-11-01", "'1.2.10' was not read by this node"),
        (",Z,covid,PCR,2026-11-01", "that of no study that this node has read"),
        (",B,covid,PCR,2026-11-01", "that of no study that this node has read"),
        (",C,covid,PCR,2026-11-01", "that of several studies"),
        ("1.2.1", "label '' is none of"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_and_the_others_are_taken(session: Session, row: str, says: str) -> None:
    verified, problems = parse(table("1.2.0,,normal,PCR,2026-11-01", "", row))
    entered = enter(session, verified, problems, by="Ada")
    assert entered.new == 1
    (problem,) = entered.problems
    # Blank lines are no rows for the reader of CSV.
    assert (problem.row, says in problem.reason) == (3, True), problem


@pytest.mark.parametrize("lines", [[], ["patient,diagnosis", "1,covid"], ["sop_instance_uid,label", "1.2.1,covid"]])
def test_another_table_is_refused_as_a_whole(lines: list[str]) -> None:
    with pytest.raises(
        ValueError, match="has no columns sop_instance_uid or accession_number, and label, source, date"
    ):
        parse(lines)


def test_an_accession_number_stands_for_every_radiograph_of_its_study(session: Session) -> None:
    verified, problems = parse(table(",A,Positive,  PCR   twice ,2026-11-01"))
    assert enter(session, verified, problems, by="Ada").new == 2
    rows = in_force(session)
    assert {uid: (row.label, row.source) for uid, row in rows.items()} == {
        "1.2.0": ("positive", "PCR twice"),
        "1.2.1": ("positive", "PCR twice"),
    }


def test_a_table_can_come_again_and_a_later_verdict_corrects_an_earlier_one(session: Session) -> None:
    def bring(*rows: str) -> tuple[int, int, int, int]:
        entered = enter(session, *parse(table(*rows)), by="Ada")
        session.flush()
        assert not entered.problems
        return entered.new, entered.corrected, entered.known, entered.outdated

    first = ("1.2.1,,covid,PCR,2026-11-01", "1.2.1,,normal,PCR,2026-11-01", "1.2.2,,covid,PCR,2026-11-02")
    assert bring(*first) == (2, 0, 0, 0)
    assert in_force(session)["1.2.1"].label == "normal"  # of one date the last row
    assert bring(*first) == (0, 0, 2, 0)
    assert bring("1.2.1,,covid,radiologist,2026-11-03") == (0, 1, 0, 0)
    assert bring("1.2.1,,normal,PCR,2026-11-02") == (0, 0, 0, 1)
    row = in_force(session)["1.2.1"]
    assert (row.label, row.source, row.verified_on, row.entered_by) == (
        "covid",
        "radiologist",
        date(2026, 11, 3),
        "Ada",
    )
    assert abs(datetime.now(UTC) - row.entered_at.replace(tzinfo=UTC)) < timedelta(minutes=5)
    # What was corrected stays.
    assert len(session.scalars(sa.select(FeedbackRow)).all()) == 3


def test_the_command_tells_what_it_took_and_shows_how_often_the_networks_were_right(
    tmp_path: Path, settings: Settings
) -> None:
    # Above the threshold: 5 to 9. Ill are 2, 6, 8 of CR2, and 9 of PACS; the others are 3 and 7 of PACS, 4 of CR2.
    rows = [f"1.2.{n},,{'covid' if n in (2, 6, 8, 9) else 'other'},PCR,2026-11-01" for n in (2, 3, 4, 6, 7, 8, 9)]
    done = imported(tmp_path, *rows, "9.9,,covid,PCR,2026-11-01")
    assert done.exit_code == 1  # for one row
    said = json.loads(done.stdout)
    assert (said["new"], said["corrected"], len(said["problems"])) == (7, 0, 1)
    assert json.loads(imported(tmp_path, *rows).stdout) == {**said, "new": 0, "known": 7, "problems": []}
    shown = json.loads(CliRunner().invoke(app, ["feedback", "show", "--json"]).stdout)
    assert (shown["model"], shown["left_out"]) == ("COVID-XNet 1", 0)
    overall, cr2, pacs = shown["overall"], shown["by_sender"]["CR2"], shown["by_sender"]["PACS"]
    assert [(each["k"], each["n"]) for each in (overall["sensitivity"], overall["specificity"])] == [(3, 4), (2, 3)]
    assert [(each["k"], each["n"]) for each in (cr2["sensitivity"], cr2["specificity"])] == [(2, 3), (1, 1)]
    assert [(each["k"], each["n"]) for each in (pacs["sensitivity"], pacs["specificity"])] == [(1, 1), (1, 2)]
    assert overall["indeterminate"] == cr2["indeterminate"] == 1
    text = CliRunner().invoke(app, ["feedback", "show"], env={"COLUMNS": "160"}).stdout
    assert "75% (30% to 95%; 3 of 4)" in text
    entries = [e for e in audit.entries(settings.audit_dir) if e["event"] == "Import"]
    assert [(e["signed"], e["radiographs"], e["refused"]) for e in entries] == [
        ("Ada Example", 7, 1),
        ("Ada Example", 0, 0),
    ]


def test_the_intervals_are_those_of_wilson() -> None:
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662, and 0 of 20 gives 0 to 0.1611.
    for k, n, low, high in ((81, 263, 0.2553, 0.3662), (0, 20, 0, 0.1611)):
        found = share(k, n)
        assert found.low == pytest.approx(low, abs=5e-5)
        assert found.high == pytest.approx(high, abs=5e-5)
    assert share(0, 0).share is None


def test_what_other_networks_read_is_told_and_not_mixed_in(session: Session) -> None:
    enter(session, *parse(table("1.2.2,,covid,PCR,2026-11-01", "1.2.8,,covid,PCR,2026-11-01")), by="Ada")
    session.execute(
        sa.update(ReadingRow)
        .where(ReadingRow.journey == "2")
        .values(model_digest="d2", read_at=AT + timedelta(days=1), model_version="2")
    )
    found = account(session)
    assert (found.model, found.left_out, found.overall.sensitivity.n) == ("COVID-XNet 2", 1, 1)


def test_a_file_that_is_no_such_table_is_told_in_one_line(tmp_path: Path, settings: Settings) -> None:
    for content in (b"\xff\xfe\x00", b"a,b\n1,2\n", b""):
        (tmp_path / "x.csv").write_bytes(content)
        done = CliRunner().invoke(app, ["feedback", "import", str(tmp_path / "x.csv"), "--by", "Ada"])
        assert isinstance(done.exception, NodeError)
        assert "--help` names the columns" in str(done.exception)


def test_a_node_that_nobody_told_anything_says_so(settings: Settings) -> None:
    assert "nobody verified" in CliRunner().invoke(app, ["feedback", "show"], env={"COLUMNS": "160"}).stdout
