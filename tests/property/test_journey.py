"""Any order of legal events, with faults in between, leaves ledger and queue in a state that goes on or has ended."""

import random
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy.orm import Session

from dicom_node.journey.database import prepare
from dicom_node.journey.ledger import (
    OPEN_STATES,
    CommitmentRow,
    Proof,
    ReadingRow,
    ReceivedObject,
    ReturnRow,
    ReturnState,
    now,
)
from dicom_node.journey.live import live_runs
from dicom_node.journey.mending import awaited, executors_of, forgotten, mend
from dicom_node.journey.queue import JourneyQueue, Received, Recorded, journey_of
from dicom_node.journey.runs import JOURNEY_VERSION
from dicom_node.journey.tallies import counts
from dicom_node.returns.commitment import Report
from dicom_node.settings import Settings
from tests.unit.test_tallies import counted

PACS = "PACS@127.0.0.1:104"
UIDS = st.sampled_from(["1.2.1", "1.2.2", "1.2.3"])
CHANCE = st.randoms(use_true_random=False)
ATTEMPTS = 3

CHEST = Received(
    sop_instance_uid="",
    sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
    transfer_syntax_uid="1.2.840.10008.1.2.1",
    study_instance_uid="1.2",
    series_instance_uid="1.2.0",
    accession_number="",
    patient_id="",
    study_date="",
    digest="",
    size=1,
    calling_ae="CR1",
    peer_address="127.0.0.1",
    accepted=True,
)


class Journey(RuleBasedStateMachine):
    """The model is what was acknowledged and what was closed; ledger and queue are real, on SQLite."""

    prepared: Path | None = None

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.settings = Settings(data_dir=self.folder / "data", workers=1, return_attempts=ATTEMPTS)
        if Journey.prepared is None:
            Journey.prepared = Path(tempfile.mkdtemp()) / "data"
            prepare(Settings(data_dir=Journey.prepared))
        shutil.copytree(Journey.prepared, self.settings.data_dir)
        self.queue = JourneyQueue(self.settings)
        self.acknowledged: dict[str, dict[str, int]] = {}
        self.delivered: set[str] = set()
        self.asked: list[str] = []

    def teardown(self) -> None:
        if hasattr(self, "queue"):
            self.queue.close()
            shutil.rmtree(self.folder)

    def set_run(self, journey: str, status: str, executor: str = "", name: str = "") -> None:
        """What DBOS does to the live runs of a journey; name: of the workflow, empty for all."""
        with self.queue.engine.begin() as connection:
            connection.execute(
                sa.text(
                    "UPDATE workflow_status "
                    "SET status = :status, executor_id = :executor, application_version = :version "
                    "WHERE workflow_uuid LIKE :journey AND status IN ('ENQUEUED', 'PENDING') AND name LIKE :name"
                ),
                {
                    "status": status,
                    "executor": executor,
                    "version": JOURNEY_VERSION,
                    "journey": f"{journey}%",
                    "name": name or "%",
                },
            )

    # What the modality does

    @rule(uid=UIDS, content=st.sampled_from("ab"))
    def receive(self, uid: str, content: str) -> None:
        before = self.acknowledged.setdefault(uid, {})
        said = self.queue.record(replace(CHEST, sop_instance_uid=uid, digest=f"{uid}{content}"))
        assert said is (Recorded.IDENTICAL if content in before else Recorded.DIFFERENT if before else Recorded.NEW)
        before[content] = before.get(content, 0) + 1

    # What the worker does, and what is done to it

    @rule(uid=UIDS)
    def begin_and_die(self, uid: str) -> None:
        self.set_run(journey_of(uid), "PENDING", "worker-1")

    @rule(uid=UIDS)
    def a_worker_never_comes_back(self, uid: str) -> None:
        self.set_run(journey_of(uid), "PENDING", "worker-9")

    @rule(uid=UIDS, end=st.sampled_from(["ERROR", "CANCELLED"]))
    def a_run_is_lost(self, uid: str, end: str) -> None:
        self.set_run(journey_of(uid), end)

    @rule(uid=UIDS, failure=st.sampled_from(["", "", "damaged"]))
    def read(self, uid: str, failure: str) -> None:
        journey = journey_of(uid)
        with Session(self.queue.engine) as session, session.begin():
            known = session.scalar(sa.select(ReceivedObject.id).where(ReceivedObject.journey == journey))
            if known is None or session.get(ReadingRow, journey) is not None:
                return
            session.add(ReadingRow(journey=journey, read_at=now(), failure=failure))
            session.flush()
            for kind in () if failure else ("overlay", "report"):
                session.add(
                    ReturnRow(
                        journey=journey,
                        destination=PACS,
                        kind=kind,
                        sop_class_uid="1",
                        sop_instance_uid=f"{uid}.{kind}",
                        changed_at=now(),
                    )
                )
        self.set_run(journey, "SUCCESS", name="read_radiograph")
        if not failure:
            self.queue.return_anew(journey, PACS)

    # What the PACS does

    def rows(self, session: Session, uid: str, *states: ReturnState) -> list[ReturnRow]:
        return list(
            session.scalars(
                sa.select(ReturnRow).where(ReturnRow.journey == journey_of(uid), ReturnRow.state.in_(states))
            )
        )

    @rule(uid=UIDS, taken=st.booleans())
    def visit(self, uid: str, taken: bool) -> None:
        with Session(self.queue.engine) as session, session.begin():
            for row in self.rows(session, uid, ReturnState.WAITING):
                if not taken:
                    row.refuse("no", at_most=ATTEMPTS)
                    continue
                row.state, row.transaction_uid = ReturnState.STORED, f"2.25.{len(self.asked) + 1}"
                self.asked.append(uid)
                session.add(
                    CommitmentRow(
                        transaction_uid=row.transaction_uid, journey=row.journey, destination=PACS, asked_at=now()
                    )
                )

    @precondition(lambda self: self.asked)
    @rule(chance=CHANCE, committed=st.booleans())
    def report(self, chance: random.Random, committed: bool) -> None:
        """Early or late, once or twice, for the latest request or one that is long out of date."""
        number = chance.randrange(len(self.asked))
        uids = tuple(f"{self.asked[number]}.{kind}" for kind in ("overlay", "report"))
        known = self.queue.record_report(
            Report(
                transaction_uid=f"2.25.{number + 1}",
                committed=uids if committed else (),
                failed={} if committed else dict.fromkeys(uids, 0x0112),
            ),
            reporter="PACS",
            apart=True,
        )
        assert known

    @rule()
    def a_report_of_nobody(self) -> None:
        report = Report(transaction_uid="2.25.999", committed=("1.2.1.report",), failed={})
        assert not self.queue.record_report(report, reporter="PACS", apart=True)

    # What the operator does

    @rule()
    def retry(self) -> None:
        self.queue.retry_returns()

    @rule()
    def retry_failed(self) -> None:
        self.queue.retry_readings()

    # What must be true whatever happened

    @invariant()
    def what_was_acknowledged_is_there_once(self) -> None:
        if not hasattr(self, "queue"):
            return
        with Session(self.queue.engine) as session:
            rows = session.execute(
                sa.select(ReceivedObject.sop_instance_uid, ReceivedObject.digest, ReceivedObject.times_received)
            )
            found = {(uid, digest.removeprefix(uid)): times for uid, digest, times in rows}
            journeys = session.scalars(sa.select(ReceivedObject.journey).where(ReceivedObject.journey.is_not(None)))
            read = [str(journey) for journey in journeys]
        wanted = {(uid, c): times for uid, contents in self.acknowledged.items() for c, times in contents.items()}
        assert found == wanted
        assert sorted(read) == sorted(journey_of(uid) for uid, contents in self.acknowledged.items() if contents)

    @invariant()
    def the_tallies_are_what_a_count_finds(self) -> None:
        if hasattr(self, "queue"):
            with Session(self.queue.engine) as session:
                assert counts(session) == counted(session)

    @invariant()
    def what_is_closed_stays_closed(self) -> None:
        if not hasattr(self, "queue"):
            return
        with Session(self.queue.engine) as session:
            rows = session.scalars(sa.select(ReturnRow)).all()
            assert {row.state for row in rows} <= set(ReturnState)
            closed = {row.sop_instance_uid for row in rows if row.state == ReturnState.DELIVERED}
            assert all(row.proof == Proof.COMMITMENT for row in rows if row.sop_instance_uid in closed)
        assert self.delivered <= closed
        self.delivered = closed

    @invariant()
    def what_is_not_closed_goes_on(self) -> None:
        """At the next start at the latest."""
        if not hasattr(self, "queue"):
            return
        mend(self.settings, self.queue)
        with Session(self.queue.engine) as session:
            readings, returns = awaited(session)
            live = live_runs(session, self.settings.data_dir, executors=executors_of(self.settings))
            assert forgotten(readings, returns, live) == ([], [])
            assert live.stranded == []
            assert {row.journey for row in session.scalars(sa.select(ReturnRow)) if row.state in OPEN_STATES} == {
                journey for journey, _ in returns
            }


TestJourney = Journey.TestCase
TestJourney.settings = settings(
    max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
