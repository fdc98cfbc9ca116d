"""What the triggers of SQLite write down is what a count finds, whatever happened to the rows, and since when."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.orm import Session

from dicom_node.journey.database import open_engine, prepare
from dicom_node.journey.ledger import ReadingRow, ReceivedObject, RejectedObject, ReturnRow, ReturnState, Study, now
from dicom_node.journey.prepared import MIGRATIONS
from dicom_node.journey.tallies import counts, returns_by_destination
from dicom_node.settings import Settings


def counted(session: Session) -> dict[str, int]:
    """The same, asked of the rows."""

    def count(query: str) -> int:
        return int(session.scalar(sa.text(f"SELECT count(*) FROM {query}")) or 0)

    return {
        "received": count("received"),
        "not read": count("received WHERE NOT accepted"),
        "rejected": count("rejected"),
        "waiting to be read": count("received WHERE accepted AND journey NOT IN (SELECT journey FROM readings)"),
        "read": count("readings WHERE failure = ''"),
        "failed": count("readings WHERE failure <> ''"),
        "in shadow": count("readings WHERE shadow"),
        "waiting to be returned": count("returns WHERE state = 'waiting'"),
        "stored": count("returns WHERE state = 'stored'"),
        "returned": count("returns WHERE state = 'delivered'"),
        "set aside": count("returns WHERE state = 'set aside'"),
    }


def fill(session: Session) -> None:
    session.add(Study(study_instance_uid="1.2", first_received_at=now()))
    session.flush()
    for number in range(6):
        session.add(
            ReceivedObject(
                sop_instance_uid=f"1.2.{number}", digest=f"d{number}", sop_class_uid="1", transfer_syntax_uid="1",
                study_instance_uid="1.2", series_instance_uid="1.2.9", size=1, calling_ae="CR", peer_address="h",
                received_at=now(), accepted=number != 5, journey=f"j{number}",
            )
        )  # fmt: skip
        session.add(
            RejectedObject(
                sop_instance_uid="1", sop_class_uid="1", calling_ae="CR", peer_address="h", status=1, reason="",
                rejected_at=now(),
            )
        )  # fmt: skip
    session.flush()
    for number in range(4):
        session.add(
            ReadingRow(journey=f"j{number}", read_at=now(), failure="broken" * (number == 3), shadow=number == 2)
        )
        session.flush()
        for place, state in enumerate((ReturnState.WAITING, ReturnState.STORED, ReturnState.DELIVERED)):
            session.add(
                ReturnRow(
                    journey=f"j{number}", destination=f"PACS@h:{104 + number % 2}", kind="report", sop_class_uid="1",
                    sop_instance_uid=f"1.3.{number}.{place}", state=state, changed_at=now(),
                )
            )  # fmt: skip
        session.flush()


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    settings = Settings(data_dir=tmp_path)
    prepare(settings)
    return open_engine(settings)


def test_tallies_follow_inserts_updates_and_deletes(engine: sa.Engine) -> None:
    with Session(engine) as session, session.begin():
        fill(session)
    with Session(engine) as session, session.begin():
        before = counts(session)
        assert before == counted(session)
        assert before["waiting to be read"] == 1
        assert before["in shadow"] == 1
        session.execute(sa.update(ReturnRow).where(ReturnRow.state == "stored").values(state=ReturnState.DELIVERED))
        session.execute(sa.update(ReturnRow).values(attempts=3))
        session.execute(sa.delete(ReturnRow).where(ReturnRow.journey == "j3"))
        session.execute(sa.delete(ReadingRow).where(ReadingRow.journey == "j3"))
        session.execute(sa.update(ReceivedObject).where(ReceivedObject.journey == "j4").values(accepted=False))
        session.flush()
        after = counts(session)
        assert after == counted(session)
        assert (after["waiting to be read"], after["returned"]) == (1, 6)
        assert returns_by_destination(session) == {
            "PACS@h:104": {"waiting": 2, "delivered": 4},
            "PACS@h:105": {"waiting": 1, "delivered": 2},
        }


def test_what_was_rolled_back_is_not_counted(engine: sa.Engine) -> None:
    with Session(engine) as session:
        fill(session)
        session.rollback()
        assert set(counts(session).values()) == {0}


def test_an_upgrade_counts_what_was_there_before(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    engine = open_engine(settings)
    configuration = Config()
    configuration.set_main_option("script_location", str(MIGRATIONS))
    configuration.attributes["engine"] = engine
    command.upgrade(configuration, "head")
    command.downgrade(configuration, "0015")
    with Session(engine) as session, session.begin():
        fill(session)
    prepare(settings)
    with Session(engine) as session:
        found = counts(session)
        assert found == counted(session)
        assert found["received"] == 6
