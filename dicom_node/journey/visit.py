"""One visit to a destination: give it what waits, then ask it to prove what it has stored."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from sqlalchemy.orm import Session

from dicom_node.destination import Commitment
from dicom_node.errors import NoContextAccepted, PeerUnreachable
from dicom_node.faultpoints import Point, reach
from dicom_node.journey.circuit import circuit_of, has_answered
from dicom_node.journey.ledger import CommitmentRow, Proof, ReturnRow, ReturnState, now, utc
from dicom_node.journey.queue import JourneyQueue
from dicom_node.logs import log
from dicom_node.peers import Peer
from dicom_node.results.shelf import ResultShelf
from dicom_node.returns.commitment import answer_report
from dicom_node.returns.returner import Answer, Sender
from dicom_node.settings import Settings
from dicom_node.wire import OVERLAY_COMPRESSION, STORAGE_COMMITMENT, STUDY_ROOT_FIND, CommitmentFailure

REQUESTS_AT_MOST: Final = 3
"""Times that storage commitment is asked for without an answer, before a weaker proof is taken."""

REPORT_SECONDS: Final = 2.0
"""How long an association is kept open for the report, while nobody knows whether it comes on one of its own."""


DENIED_SECONDS: Final = 600.0
"""How long a destination is not asked for a proof that it denied."""


_DEFERRED: Final = 2**16
"""Bytes of a value that is not read at once."""


PROOFS_ASKED_FOR: Final[Mapping[Commitment, tuple[UID, ...]]] = {
    Commitment.AUTO: (STORAGE_COMMITMENT, STUDY_ROOT_FIND),
    Commitment.REQUIRED: (STORAGE_COMMITMENT,),
    Commitment.OFF: (),
}
"""SOP classes that are proposed beside those of the objects."""


class ProofDenied(Exception):
    """The destination ended the association when it was asked for this proof."""


class Visit:
    """One visit, of the results of one journey to one destination.

    What the ledger learns is written as soon as it is known. A row is read again before it is written: a report may
    have come to the listener meanwhile.
    """

    def __init__(self, settings: Settings, queue: JourneyQueue, journey: str, destination: str) -> None:
        self._settings = settings
        self._queue = queue
        self._journey = journey
        self._destination = destination
        self._commitment = settings.commitment_of(destination)
        known = [other for other in settings.destinations if str(other.peer) == destination]
        self._committing_peer = known[0].commitment_peer if known else None
        self._shelf = ResultShelf(settings.results_dir)
        self._suspected: list[Proof] = []
        with Session(queue.engine) as session, session.begin():
            circuit = circuit_of(session, destination)
            self._reports_apart = circuit.reports_apart
            recently = _is_recent(circuit.denied_at, DENIED_SECONDS)
            self._denied = {Proof(proof) for proof in circuit.denied} if recently else set()
            contact = circuit.last_contact_at and utc(circuit.last_contact_at)
            self._last_contact_at = contact if contact and contact <= now() else None  # else the clock was set back
        self.reached = False
        """Whether there was an association."""

    def make(self) -> str:
        """Go there. Returns why the visit broke off; empty if it came to its end, whatever was answered."""
        self._give_up_waiting()
        while waiting_or_stored := (*self._rows(ReturnState.WAITING), *self._to_be_proved()):
            objects = [(row, self._load(row)) for row in waiting_or_stored if row.state == ReturnState.WAITING]
            try:
                with self._sender(objects, waiting_or_stored) as sender:
                    self.reached = True
                    reach(Point.ASSOCIATED)
                    self._send(sender, objects)
                    with self._committer(sender) as committer:
                        self._prove(sender, committer)
                return ""
            except NoContextAccepted:
                self.reached = True
                self._note([row for row, _ in objects], partial(self._judge, answer=Answer(status=None)))
                return ""
            except ProofDenied as e:
                # It ended the association instead of an answer. If it is still there, that was meant as a refusal.
                if e.args[0] in self._suspected:
                    self._deny(e.args[0])
                self._suspected.append(e.args[0])
            except PeerUnreachable as e:
                if not self.reached:
                    self._note(waiting_or_stored, partial(_postpone, why=str(e)))
                return str(e)
        return ""

    def _sender(self, objects: Iterable[tuple[ReturnRow, Dataset | None]], rows: Iterable[ReturnRow]) -> Sender:
        kinds = {(UID(ds.SOPClassUID), UID(ds.file_meta.TransferSyntaxUID)) for _, ds in objects if ds is not None}
        # Of what is stored, too: an association without any context that the peer takes would be none.
        kinds |= {(UID(row.sop_class_uid), ExplicitVRLittleEndian) for row in rows}
        services = PROOFS_ASKED_FOR[self._commitment]
        if self._committing_peer is not None:
            services = tuple(service for service in services if service != STORAGE_COMMITMENT)
        return self._caller(Peer.parse(self._destination), kinds, services)

    def _caller(self, peer: Peer, kinds: Iterable[tuple[UID, UID]], services: Iterable[UID]) -> Sender:
        record = partial(self._queue.record_report, reporter=peer.ae_title, apart=False)
        return Sender(
            peer,
            kinds,
            calling_ae=self._settings.ae_title,
            timeout=self._settings.network_timeout,
            tls=self._settings.tls_to(Peer.parse(self._destination)),
            compression=[OVERLAY_COMPRESSION[name] for name in self._settings.compression_of(self._destination)],
            services=services,
            on_report=partial(answer_report, record=record, reporter=peer.ae_title),
        )

    @contextmanager
    def _committer(self, sender: Sender) -> Iterator[Sender | None]:
        """Whom to ask for storage commitment: the destination itself, or who does it in its place; None if it is away.

        That one is away is no fault of the destination: its circuit does not open.
        """
        rows = self._to_be_proved()
        if self._committing_peer is None or self._commitment is Commitment.OFF or not rows:
            yield sender
            return
        with ExitStack() as stack:
            committer = None
            try:
                committer = stack.enter_context(self._caller(self._committing_peer, (), (STORAGE_COMMITMENT,)))
            except PeerUnreachable as e:
                if self._commitment is Commitment.REQUIRED:
                    self._note(rows, partial(self._refuse_proof, why=str(e).rstrip(".")))
                elif isinstance(e, NoContextAccepted):
                    self._deny(Proof.COMMITMENT)
                else:
                    self._note(rows, _count_in_vain)
            yield committer

    def _send(self, sender: Sender, objects: Iterable[tuple[ReturnRow, Dataset | None]]) -> None:
        for row, dataset in objects:
            if dataset is None:
                self._note([row], partial(self._refuse, why="Its file cannot be read"))
                continue
            try:
                answer = sender.send(dataset, file=self._file(row))
            except PeerUnreachable as e:
                self._note([row], partial(self._break_off, why=str(e)))
                raise
            reach(Point.RESULT_SENT)
            self._note([row], partial(self._judge, answer=answer), answered=True)

    def _judge(self, row: ReturnRow, *, answer: Answer) -> None:
        row.attempts += 1
        row.status = answer.status
        row.transfer_syntax_uid = answer.transfer_syntax or ""
        if answer.delivered:
            row.state, row.reason, row.changed_at = ReturnState.STORED, "", now()
        else:
            self._refuse(row, why=f"{self._destination} refused it: {answer.in_words}")

    def _break_off(self, row: ReturnRow, *, why: str) -> None:
        contact = self._last_contact_at
        others_went = row.attempts > 0 and contact is not None and contact > utc(row.changed_at)
        _postpone(row, why=why)
        if others_went:  # since this object was tried last, the destination has answered others: the fault is its own
            self._refuse(row, why=why.rstrip("."))

    def _refuse(self, row: ReturnRow, *, why: str, then: ReturnState = ReturnState.WAITING) -> None:
        row.refuse(f"{why}.", at_most=self._settings.return_attempts, then=then)

    def _refuse_proof(self, row: ReturnRow, *, why: str) -> None:
        """It is stored, but without storage commitment that counts for nothing."""
        self._refuse(row, why=why, then=ReturnState.STORED)

    def _prove(self, sender: Sender, committer: Sender | None) -> None:
        """Find the strongest proof that the destination offers for each object that it has stored."""
        ask = [row for row in self._to_be_proved() if self._proof(sender, committer, row) is Proof.COMMITMENT]
        if ask and committer is not None:
            self._ask(committer, ask)
        by_status: list[ReturnRow] = []
        for row in self._to_be_proved():
            proof = self._proof(sender, committer, row)
            if proof is Proof.QUERY:
                self._look_up(sender, row)
            elif proof is Proof.STATUS:
                by_status.append(row)
            # Else it did not take the request just now; another visit asks again.
        if self._commitment is Commitment.REQUIRED:
            why = f"{self._destination} offers no storage commitment"
            self._note(by_status, partial(self._refuse_proof, why=why))
        else:
            self._note(by_status, partial(ReturnRow.deliver, proof=Proof.STATUS))

    def _proof(self, sender: Sender, committer: Sender | None, row: ReturnRow) -> Proof:
        """The strongest one that can be asked for, now or, where `committer` is away, by another visit."""
        if self._commitment is Commitment.OFF:
            return Proof.STATUS
        always = self._commitment is Commitment.REQUIRED
        if (committer is None or committer.accepts(STORAGE_COMMITMENT)) and (
            always or (row.asked < REQUESTS_AT_MOST and Proof.COMMITMENT not in self._denied)
        ):
            return Proof.COMMITMENT
        if sender.accepts(STUDY_ROOT_FIND) and row.asked < 2 * REQUESTS_AT_MOST and Proof.QUERY not in self._denied:
            return Proof.QUERY
        return Proof.STATUS

    def _ask(self, sender: Sender, rows: Sequence[ReturnRow]) -> None:
        transaction = generate_uid(prefix=None)
        # Written before it is sent: the report may be faster than the answer.
        self._note(rows, partial(_await, transaction=transaction), transaction=transaction)
        reach(Point.COMMITMENT_DUE)
        objects = [(row.sop_class_uid, row.sop_instance_uid) for row in rows]
        with self._asking(Proof.COMMITMENT, rows):
            answer = sender.ask_for_commitment(transaction, objects)
        reach(Point.COMMITMENT_ASKED)
        why = f"{self._destination} takes no request for storage commitment: {answer.in_words}"
        if not answer.delivered:
            self._note(rows, partial(self._forget, why=why), answered=True)
            if answer.status != CommitmentFailure.RESOURCE_LIMITATION:
                self._deny(Proof.COMMITMENT)
        elif not self._reports_apart:
            sender.wait_for_report(REPORT_SECONDS)

    def _give_up_waiting(self) -> None:
        """Forget requests for storage commitment that have not been answered in time."""
        seconds = self._settings.commitment_timeout
        why = f"{self._destination} did not report storage commitment within {seconds:g} s"
        late = [row for row in self._rows(ReturnState.STORED) if not _is_recent(row.asked_at, seconds)]
        self._note([row for row in late if row.transaction_uid], partial(self._forget, why=why))

    def _forget(self, row: ReturnRow, *, why: str) -> None:
        if self._commitment is Commitment.REQUIRED:
            self._refuse_proof(row, why=why)
        else:
            row.transaction_uid, row.reason = "", f"{why}."

    def _look_up(self, sender: Sender, row: ReturnRow) -> None:
        header = self._load(row, pixels=False)
        with self._asking(Proof.QUERY, [row]):
            found = None if header is None else sender.finds(header)
        if found is False:
            self._note([row], partial(self._refuse, why=f"{self._destination} does not find it by C-FIND"))
        else:
            self._note([row], partial(ReturnRow.deliver, proof=Proof.QUERY if found else Proof.STATUS))

    @contextmanager
    def _asking(self, proof: Proof, rows: Sequence[ReturnRow]) -> Iterator[None]:
        """Ask for `proof`. Raises ProofDenied instead of PeerUnreachable if the peer ended the association at once."""
        began = time.monotonic()
        try:
            yield
        except PeerUnreachable as e:
            if proof is Proof.QUERY:
                self._note(rows, _count_in_vain)
            if self._commitment is not Commitment.AUTO or time.monotonic() - began >= self._settings.network_timeout:
                raise
            self._note(rows, partial(self._forget, why=str(e).rstrip(".")))
            raise ProofDenied(proof) from None

    def _deny(self, proof: Proof) -> None:
        """Remember that the destination does not give `proof`, so that not every result finds it out again."""
        self._denied.add(proof)
        with Session(self._queue.engine) as session, session.begin():
            circuit = circuit_of(session, self._destination)
            circuit.denied, circuit.denied_at = sorted(self._denied), now()
        log.warning("proof denied", destination=self._destination, proof=proof)

    def _note(
        self,
        rows: Sequence[ReturnRow],
        change: Callable[[ReturnRow], None],
        *,
        answered: bool = False,
        transaction: str = "",
    ) -> None:
        """Change `rows` in one commit, but for those that someone else has changed since they were read.

        answered: the destination did, just now. transaction: of a request for storage commitment that begins with it.
        """
        if not rows:
            return
        with Session(self._queue.engine, expire_on_commit=False) as session, session.begin():
            circuit = circuit_of(session, self._destination)
            fresh = [(row, session.get(ReturnRow, row.id, with_for_update=True)) for row in rows]
            news = []
            for row, found in fresh:
                if found is not None and (found.state, found.transaction_uid) == (row.state, row.transaction_uid):
                    before = (found.state, found.reason, found.attempts)
                    change(found)
                    if before != (found.state, found.reason, found.attempts):
                        news.append(found)
                    row.state, row.transaction_uid, row.asked = found.state, found.transaction_uid, found.asked
            if transaction:
                session.add(
                    CommitmentRow(
                        transaction_uid=transaction,
                        journey=self._journey,
                        destination=self._destination,
                        asked_at=now(),
                    )
                )
            if answered:
                has_answered(circuit)
            session.flush()
            reach(Point.RETURN_WRITTEN)
        for row in news:
            log.info(
                "result " + row.state,
                journey=self._journey,
                destination=self._destination,
                kind=row.kind,
                status=None if row.status is None else f"0x{row.status:04X}",
                transfer_syntax=row.transfer_syntax_uid,
                proof=row.proof,
                reason=row.reason,
                attempt=row.attempts,
            )

    def _to_be_proved(self) -> list[ReturnRow]:
        return [row for row in self._rows(ReturnState.STORED) if not row.transaction_uid]

    def _rows(self, *states: ReturnState) -> list[ReturnRow]:
        with Session(self._queue.engine, expire_on_commit=False) as session:
            return list(
                session.scalars(
                    sa.select(ReturnRow)
                    .where(ReturnRow.journey == self._journey, ReturnRow.destination == self._destination)
                    .where(ReturnRow.state.in_(states))
                    .order_by(ReturnRow.attempts, ReturnRow.id)
                )
            )

    def _load(self, row: ReturnRow, *, pixels: bool = True) -> Dataset | None:
        path = self._file(row)
        try:
            # Its pixels are read when somebody asks for them: most peers take the file as it lies.
            dataset = dcmread(path, stop_before_pixels=not pixels, defer_size=_DEFERRED)
            data = dataset.get_item("PixelData", keep_deferred=True)
            if isinstance(data, RawDataElement) and data.value_tell + data.length > path.stat().st_size:
                raise InvalidDicomError("its pixels are cut off")
            return dataset
        except (OSError, InvalidDicomError) as e:
            log.error("result cannot be read", journey=self._journey, kind=row.kind, error=type(e).__name__)
            return None

    def _file(self, row: ReturnRow) -> Path:
        return self._shelf.path(self._journey, row.kind, row.sop_instance_uid)


def _is_recent(moment: datetime | None, seconds: float) -> bool:
    """Whether `moment` is less than `seconds` ago.

    False if it is still to come: the clock was set back since, and nobody knows how long ago it was.
    """
    return moment is not None and timedelta(0) <= now() - utc(moment) < timedelta(seconds=seconds)


def _postpone(row: ReturnRow, *, why: str) -> None:
    row.attempts += 1
    row.reason, row.changed_at = why, now()


def _count_in_vain(row: ReturnRow) -> None:
    row.asked += 1


def _await(row: ReturnRow, *, transaction: str) -> None:
    row.transaction_uid, row.asked_at, row.asked = transaction, now(), row.asked + 1
