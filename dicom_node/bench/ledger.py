"""Whether a ledger of a million readings is still as quick as an empty one."""

import hashlib
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.bench.report import Report, Section, Value, quantile
from dicom_node.destination import ResultKind
from dicom_node.journey.database import open_engine, prepare
from dicom_node.journey.ledger import (
    Proof,
    ReadingRow,
    ReceivedObject,
    ReturnRow,
    ReturnState,
    Study,
    latest,
    latest_rejected,
)
from dicom_node.journey.queue import JourneyQueue, Received, journey_of
from dicom_node.journey.tallies import counts, returns_by_destination
from dicom_node.settings import Settings
from dicom_node.wire import COMPREHENSIVE_3D_SR, COMPUTED_RADIOGRAPHY, SECONDARY_CAPTURE

_AT_ONCE: Final = 10_000
_BEGUN: Final = datetime(2020, 1, 1, tzinfo=UTC)
_DESTINATION: Final = "PACS@127.0.0.1:104"


def measure(*, readings: Sequence[int], inserts: int, queries: int) -> Report:
    """Fill a ledger step by step, and at each step time what the node asks of it.

    readings: how many it has at each step, ascending. inserts: objects that are received then; queries: of each kind.
    """
    began = time.monotonic()
    rows: list[dict[str, Value]] = []
    with TemporaryDirectory(prefix="covid-xnet-bench-") as name:
        settings = Settings(data_dir=Path(name))
        prepare(settings)
        queue = JourneyQueue(settings)
        try:
            there = 0
            for wanted in readings:
                _fill(queue.engine, there, wanted)
                there = wanted
                rows.append(_row(queue, Path(name), wanted, inserts, queries))
        finally:
            queue.close()
    return Report(
        command="ledger",
        sections=[
            Section(
                title="The ledger as it grows",
                note="Milliseconds. Each reading has a study, an object, and two results that were returned. Insert: "
                "one received object with its journey, committed and synced. Queries: the 95th percentile.",
                rows=rows,
            )
        ],
        seconds=time.monotonic() - began,
    )


def _row(queue: JourneyQueue, folder: Path, readings: int, inserts: int, queries: int) -> dict[str, Value]:
    study = f"2.25.{readings // 2}"
    questions: dict[str, Callable[[Session], Any]] = {
        "status: counts": counts,
        "status: list of 20": lambda session: (latest(session, 20), latest_rejected(session, 20)),
        "one study": lambda session: latest(session, None, study=study),
        "destinations": returns_by_destination,
    }
    row: dict[str, Value] = {"readings": readings}
    times = [_timed(partial(queue.record, _received(f"{readings}.{number}"))) for number in range(inserts)]
    row["insert, median"], row["insert, p95"] = median(times), quantile(times, 0.95)
    for name, question in questions.items():
        engine = open_engine(Settings(data_dir=folder))
        found = []
        for _ in range(queries):
            with Session(engine) as session:
                found.append(_timed(partial(question, session)))
        engine.dispose()
        row[name] = quantile(found, 0.95)
    row["database MB"] = sum(file.stat().st_size for file in folder.glob("covid-xnet.sqlite*")) / 1e6
    return row


def _timed(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begin)


def _received(name: str) -> Received:
    uid = f"2.25.9.{name}"
    return Received(
        sop_instance_uid=uid,
        sop_class_uid=COMPUTED_RADIOGRAPHY,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        study_instance_uid=f"{uid}.1",
        series_instance_uid=f"{uid}.2",
        accession_number="",
        patient_id="SYNTHETIC",
        study_date="20200101",
        digest=hashlib.sha256(uid.encode()).hexdigest(),
        size=12_500_000,
        calling_ae="BENCH",
        peer_address="127.0.0.1",
        accepted=True,
        view="PA",
    )


def _fill(engine: sa.Engine, begin: int, end: int) -> None:
    """Write readings `begin` to `end` as if they had come, been read and been returned, one a minute."""
    for first in range(begin, end, _AT_ONCE):
        numbers = range(first, min(end, first + _AT_ONCE))
        with engine.begin() as connection:
            for table, rows in _rows(numbers).items():
                connection.execute(sa.insert(table), rows)


def _rows(numbers: range) -> dict[Any, list[dict[str, Any]]]:
    rows: dict[Any, list[dict[str, Any]]] = {Study: [], ReceivedObject: [], ReadingRow: [], ReturnRow: []}
    for number in numbers:
        uid, at = f"2.25.1{number:08}", _BEGUN + timedelta(minutes=number)
        journey, study = journey_of(uid), f"2.25.{number}"
        rows[Study].append({"study_instance_uid": study, "patient_id": f"SYNTHETIC-{number}", "first_received_at": at})
        rows[ReceivedObject].append(
            {
                "sop_instance_uid": uid,
                "digest": hashlib.sha256(uid.encode()).hexdigest(),
                "sop_class_uid": COMPUTED_RADIOGRAPHY,
                "transfer_syntax_uid": "1.2.840.10008.1.2.1",
                "study_instance_uid": study,
                "series_instance_uid": f"{uid}.1",
                "size": 12_500_000,
                "calling_ae": "BENCH",
                "peer_address": "127.0.0.1",
                "received_at": at,
                "accepted": True,
                "view": "PA",
                "journey": journey,
                "priority": number + 1,
            }
        )
        rows[ReadingRow].append(
            {
                "journey": journey,
                "read_at": at,
                "score": 0.5,
                "verdict": "negative",
                "threshold": 0.5,
                "lungs_found": True,
                "model_name": "COVID-XNet",
                "model_version": "1",
                "model_digest": "0" * 64,
                "milliseconds": 100.0,
                "stages": {"lungs": 50.0},
            }
        )
        for kind, sop_class in ((ResultKind.OVERLAY, SECONDARY_CAPTURE), (ResultKind.REPORT, COMPREHENSIVE_3D_SR)):
            rows[ReturnRow].append(
                {
                    "journey": journey,
                    "destination": _DESTINATION,
                    "kind": kind,
                    "sop_class_uid": sop_class,
                    "sop_instance_uid": f"{uid}.{kind}",
                    "series_instance_uid": f"{uid}.{kind}.1",
                    "state": ReturnState.DELIVERED,
                    "proof": Proof.STATUS,
                    "changed_at": at,
                }
            )
    return rows
