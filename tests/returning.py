"""Results that wait for destinations, and the desk that returns them: no worker, no networks."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydicom.uid import generate_uid
from sqlalchemy.orm import Session

from dicom_node.demo.node import write_configuration
from dicom_node.destination import Commitment, Destination
from dicom_node.journey.database import prepare
from dicom_node.journey.desk import ReturnDesk
from dicom_node.journey.ledger import CircuitRow, ReadingRow, ReceivedObject, ReturnRow, Study, now
from dicom_node.journey.outcome import Returned
from dicom_node.journey.queue import JourneyQueue
from dicom_node.journey.runs import return_options
from dicom_node.peers import Peer
from dicom_node.results.shelf import ResultShelf
from dicom_node.settings import CONFIG_VARIABLE, Settings
from tests.phantom import make_cr

KINDS = ("overlay", "report")


class Ward:
    """A node's data folder with readings whose results wait."""

    def __init__(
        self,
        folder: Path,
        *destinations: Peer,
        commitment: Commitment = Commitment.AUTO,
        commitment_peer: Peer | None = None,
        **changes: Any,
    ) -> None:
        self.settings = Settings(
            **{
                "data_dir": folder / "data",
                "port": 0,
                "destinations": tuple(
                    Destination(peer=peer, commitment=commitment, commitment_peer=commitment_peer)
                    for peer in destinations
                ),
                "return_attempts": 3,
                "network_timeout": 5.0,
                "retry_seconds": 0.2,
                **changes,
            }
        )
        prepare(self.settings)
        self.queue = JourneyQueue(self.settings)
        self.desk = ReturnDesk(self.settings, self.queue)
        self.journeys: list[str] = []

    def close(self) -> None:
        self.queue.close()

    def add_reading(self, *, destinations: Sequence[Peer] = ()) -> list[str]:
        """One more reading; returns the SOP Instance UIDs of its results, in the order of `KINDS`."""
        journey = f"{len(self.journeys):032x}"
        self.journeys.append(journey)
        uids = [str(generate_uid()) for _ in KINDS]
        source, study = str(generate_uid()), str(generate_uid())
        with Session(self.queue.engine) as session, session.begin():
            session.add(Study(study_instance_uid=study, first_received_at=now()))
            session.add(ReadingRow(journey=journey, read_at=now(), score=0.5, verdict="negative"))
            session.flush()
            session.add(
                ReceivedObject(
                    sop_instance_uid=source, digest=source, sop_class_uid="1.2", transfer_syntax_uid="1.2",
                    study_instance_uid=study, series_instance_uid="1.2", size=1, calling_ae="CR", peer_address="h",
                    received_at=now(), accepted=True, journey=journey,
                )
            )  # fmt: skip
            for kind, uid in zip(KINDS, uids, strict=True):
                ds = make_cr()
                ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid
                ds.StudyInstanceUID = study
                path = ResultShelf(self.settings.results_dir).path(journey, kind, uid)
                path.parent.mkdir(parents=True, exist_ok=True)
                ds.save_as(path, enforce_file_format=True)
                for peer in destinations or [destination.peer for destination in self.settings.destinations]:
                    session.add(
                        ReturnRow(
                            journey=journey, destination=str(peer), kind=kind, sop_class_uid=ds.SOPClassUID,
                            sop_instance_uid=uid, changed_at=now(),
                        )
                    )  # fmt: skip
        return uids

    def enqueue(self, journey: str, peer: Peer) -> None:
        """Let the results of `journey` set out, as a worker does."""
        with Session(self.queue.engine) as session, session.begin():
            self.queue._client.enqueue_in_transaction(
                session, return_options(journey, str(peer), 1, priority=0), journey, str(peer), 1, 0
            )

    def visit(self, journey: int = 0, *, peer: Peer | None = None, turn: int | None = None) -> Returned:
        """Visit with the results of one reading, as the newest run of visits unless `turn` says another."""
        where = str(peer or self.settings.destinations[0].peer)
        name = self.journeys[journey]
        with Session(self.queue.engine) as session:
            newest = session.scalar(
                sa.select(sa.func.max(ReturnRow.turn)).where(ReturnRow.journey == name, ReturnRow.destination == where)
            )
        return Returned(self.desk.return_results(name, where, turn or newest or 1))

    def probe(self, peer: Peer | None = None) -> bool:
        """Let a probe find out whether the destination is back, and send out what is released; its circuit is open."""
        where = str(peer or self.settings.destinations[0].peer)
        opening = self.desk.opening(where)
        assert opening is not None
        return self.desk.probe(where, opening)

    def rows(self, peer: Peer | None = None) -> list[ReturnRow]:
        where = sa.true() if peer is None else ReturnRow.destination == str(peer)
        with Session(self.queue.engine, expire_on_commit=False) as session:
            return list(session.scalars(sa.select(ReturnRow).where(where).order_by(ReturnRow.id)))

    def states(self, peer: Peer | None = None) -> list[str]:
        return [row.state for row in self.rows(peer)]

    def proofs(self, peer: Peer | None = None) -> list[str]:
        return [row.proof for row in self.rows(peer)]

    def circuit(self, peer: Peer | None = None) -> CircuitRow:
        where = str(peer or self.settings.destinations[0].peer)
        with Session(self.queue.engine, expire_on_commit=False) as session:
            return session.scalars(sa.select(CircuitRow).where(CircuitRow.destination == where)).one()

    def queued(self) -> list[str]:
        """Ids of all that was ever queued."""
        with self.queue.engine.connect() as connection:
            return [row[0] for row in connection.execute(sa.text("SELECT workflow_uuid FROM workflow_status"))]


@contextmanager
def returner(ward: Ward, folder: Path) -> Iterator[None]:
    """The returner of a ward as a process, until the end of the block."""
    file = write_configuration(
        folder,
        {
            "data_dir": str(ward.settings.data_dir),
            "destinations": [str(destination.peer) for destination in ward.settings.destinations],
            "network_timeout": ward.settings.network_timeout,
            "retry_seconds": ward.settings.retry_seconds,
            "commitment_timeout": ward.settings.commitment_timeout,
        },
    )
    with (folder / "returner.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dicom_node.roles", "return", "returner"],
            env={**os.environ, CONFIG_VARIABLE: str(file)},
            stdout=log,
            stderr=log,
        )
        try:
            yield
        finally:
            process.kill()
            process.wait()
