"""The first half of the journey: an object from the spool becomes a reading and result objects on disk."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from pydicom import dcmread
from sqlalchemy.orm import Session

from dicom_node.destination import BY_DEFAULT, Destination, ResultChoice, ResultKind
from dicom_node.errors import NeverReadable, OutOfResources, RetryLater
from dicom_node.faultpoints import Point, reach
from dicom_node.journey.bounds import Bounds
from dicom_node.journey.ledger import ReadingRow, ReceivedObject, ReturnRow, node_id, now
from dicom_node.journey.outcome import Outcome
from dicom_node.journey.second_look import look
from dicom_node.journey.senders import in_shadow
from dicom_node.logs import log
from dicom_node.results.compose import Results, compose, compose_failure, save
from dicom_node.results.shelf import ResultShelf
from dicom_node.settings import Settings
from dicom_node.spool import Spool
from dicom_node.verdict import Accepted, Refused, View
from pipeline.errors import UnreadableRadiograph
from pipeline.flow import Networks, read
from pipeline.radiograph import from_dicom
from pipeline.reading import Reading

MAXIMUM_ATTEMPTS: Final = 100
"""Times that a worker may begin a radiograph without coming to an end, before it is set aside as poison."""
MAXIMUM_STRIKES: Final = 2
"""Times that it may end a worker itself, by what it needs or by a crash."""


class Reader:
    """Reads radiographs, one at a time. One per worker process."""

    def __init__(self, settings: Settings, engine: sa.Engine, networks: Networks, bounds: Bounds) -> None:
        self._settings = settings
        self._engine = engine
        self._networks = networks
        self._bounds = bounds
        with Session(engine) as session:
            self._node = node_id(session)
        self._spool = Spool(settings.spool_dir, minimum_free_bytes=0)
        self._shelf = ResultShelf(settings.results_dir)

    def take_up(self, settings: Settings, networks: Networks) -> None:
        """Read with other settings, or at another operating point, from the next radiograph on."""
        self._settings, self._networks = settings, networks

    def read(self, journey: str) -> str:
        """Read the radiograph of `journey`, unless the ledger already has its reading; returns an `Outcome`.

        Whatever goes wrong ends in the ledger or is tried again; nothing is raised.
        """
        try:
            with Session(self._engine) as session, session.begin():
                row = session.scalars(sa.select(ReceivedObject).where(ReceivedObject.journey == journey)).one()
                if row.reading is not None:
                    return Outcome.FAILED if row.reading.failure else Outcome.READ
                if not row.accepted:
                    return Outcome.NOT_READ
                row.attempts += 1
                attempts = row.attempts
                session.flush()  # what is expunged is no longer written
                session.expunge(row)
            reach(Point.READING_BEGUN)
            if attempts > MAXIMUM_ATTEMPTS:
                return self._fail(journey, f"Set aside: {MAXIMUM_ATTEMPTS} attempts to read it did not come to an end.")
            if len(row.strikes) >= MAXIMUM_STRIKES:
                # The last: what an operator may have raised since the first is in it.
                return self._fail(journey, f"Set aside: {row.strikes[-1]}, {len(row.strikes)} times.")
            with self._bounds.around(journey):
                return self._read(journey, row)
        except (UnreadableRadiograph, NeverReadable) as e:
            return self._fail(journey, str(e))
        except (RetryLater, OSError, sa.exc.OperationalError) as e:
            # The machine's trouble, not the radiograph's.
            log.warning("reading postponed", journey=journey, reason=_in_a_line(e))
            self._forgive(journey)
            return Outcome.LATER
        except Exception as e:  # the edge of the journey: one radiograph must not stop the others
            log.exception("reading failed unexpectedly", journey=journey)
            return self._fail(journey, f"Unexpected error in the node: {type(e).__name__}.")

    def heed_last_words(self) -> None:
        """Count against a radiograph that the last worker of this name died of it, and begin to keep the bounds.

        Raises OutOfResources if the ledger or the disk cannot take it, ConfigurationError if the bounds are too tight.
        """
        try:
            said = self._bounds.last_words()
            if said is not None:
                with Session(self._engine) as session, session.begin():
                    for row in session.scalars(sa.select(ReceivedObject).where(ReceivedObject.journey == said.journey)):
                        row.strikes = [*row.strikes, said.reason]
                log.error("worker ended by a radiograph", journey=said.journey, reason=said.reason, stack=said.stack)
            self._bounds.set_up()
        except (OSError, sa.exc.OperationalError) as e:
            raise OutOfResources(f"The worker cannot begin: {e}.") from e

    def destinations_of(self, journey: str) -> list[str]:
        """Where the results of `journey` are to go."""
        with Session(self._engine) as session:
            return list(
                session.scalars(
                    sa.select(ReturnRow.destination)
                    .where(ReturnRow.journey == journey)
                    .group_by(ReturnRow.destination)
                    .order_by(sa.func.min(ReturnRow.id))
                )
            )

    def _read(self, journey: str, row: ReceivedObject) -> Outcome:
        settings, networks = self._settings, self._networks  # of one moment: others may be taken up meanwhile
        try:
            source = dcmread(self._spool.path(row.digest))
        except FileNotFoundError:
            raise NeverReadable("The object is no longer in the spool.") from None
        radiograph = from_dicom(source, maximum_pixels=int(settings.maximum_megapixels * 1e6))
        del source.PixelData  # decoded: a second copy would only cost memory
        accepted = Accepted(view=View(row.view), evidence=row.evidence, flags=tuple(row.flags))
        verdict = look(accepted, radiograph, networks.view)
        if isinstance(verdict, Refused):
            return self._refuse(journey, verdict)
        with Session(self._engine) as session:
            shadow = in_shadow(session, settings, journey)
        reading = read(radiograph, networks)
        reach(Point.RADIOGRAPH_READ)
        read_at = now()
        self._shelf.sweep(journey)
        made: dict[ResultChoice, Results] = {}
        destinations = () if shadow else settings.destinations
        for choice in [destination.choice for destination in destinations] or [BY_DEFAULT]:
            if choice not in made:
                made[choice] = compose(
                    source,
                    radiograph,
                    reading,
                    journey=journey,
                    view=verdict.view,
                    evidence=verdict.evidence,
                    flags=verdict.flags,
                    read_at=read_at,
                    node=self._node,
                    choice=choice,
                )
                for kind, dataset in made[choice].by_kind().items():
                    save(dataset, self._shelf.path(journey, kind, dataset.SOPInstanceUID))
                    reach(Point.RESULT_SAVED)
        self._record(journey, verdict, reading, made, read_at, destinations, shadow=shadow)
        reach(Point.READING_RECORDED)
        log.info(
            "radiograph read",
            journey=journey,
            score=round(reading.score, 4),
            verdict=reading.verdict.value,
            shadow=shadow,
            milliseconds=round(reading.milliseconds, 1),
            model=f"{reading.model.name} {reading.model.version}",
        )
        return Outcome.READ

    def _refuse(self, journey: str, refused: Refused) -> Outcome:
        """Enter that the pixels speak against a reading; the object keeps its journey, which ends here."""
        with Session(self._engine) as session, session.begin():
            session.execute(
                sa.update(ReceivedObject)
                .where(ReceivedObject.journey == journey)
                .values(accepted=False, reason=refused.reason.value, detail=refused.detail)
            )
        log.info("radiograph not read", journey=journey, reason=refused.reason.value, detail=refused.detail)
        return Outcome.NOT_READ

    def _record(
        self,
        journey: str,
        accepted: Accepted,
        reading: Reading,
        made: Mapping[ResultChoice, Results],
        read_at: datetime,
        destinations: Sequence[Destination],
        *,
        shadow: bool,
    ) -> None:
        with Session(self._engine) as session, session.begin():
            session.execute(
                sa.update(ReceivedObject)
                .where(ReceivedObject.journey == journey)
                .values(view=accepted.view, evidence=accepted.evidence, flags=list(accepted.flags))
            )
            session.add(
                ReadingRow(
                    journey=journey,
                    read_at=read_at,
                    score=reading.score,
                    probability=reading.probability,
                    commissioning=None if reading.commissioning is None else reading.commissioning.summary(),
                    verdict=reading.verdict.value,
                    threshold=reading.threshold,
                    lungs_found=reading.lungs_found,
                    model_name=reading.model.name,
                    model_version=reading.model.version,
                    model_digest=reading.model.digest,
                    milliseconds=reading.milliseconds,
                    stages=dict(reading.stages),
                    statistics=dict(reading.statistics),
                    shadow=shadow,
                    repairs=_repairs(made),
                )
            )
            session.flush()
            self._send_out(session, journey, made, read_at, destinations)
            session.flush()
            reach(Point.READING_WRITTEN)

    def _send_out(
        self,
        session: Session,
        journey: str,
        made: Mapping[ResultChoice, Results],
        composed_at: datetime,
        destinations: Sequence[Destination],
    ) -> None:
        for destination in destinations:
            if destination.choice not in made:
                continue
            for kind, dataset in made[destination.choice].by_kind().items():
                session.add(
                    ReturnRow(
                        journey=journey,
                        destination=str(destination.peer),
                        kind=kind,
                        sop_class_uid=dataset.SOPClassUID,
                        sop_instance_uid=dataset.SOPInstanceUID,
                        series_instance_uid=dataset.SeriesInstanceUID,
                        changed_at=composed_at,
                    )
                )

    def _fail(self, journey: str, reason: str) -> Outcome:
        failed_at, settings = now(), self._settings
        try:
            with Session(self._engine) as session:
                before = session.get(ReadingRow, journey)
                shadow = in_shadow(session, settings, journey)
            if before is not None:  # of another run of the journey, which was faster
                return Outcome.FAILED if before.failure else Outcome.READ
            log.error("radiograph cannot be read", journey=journey, reason=reason)
            destinations = settings.destinations if settings.report_failures and not shadow else ()
            made = self._report_failure(journey, reason, failed_at, destinations) if destinations else {}
            with Session(self._engine) as session, session.begin():
                session.add(
                    ReadingRow(
                        journey=journey, read_at=failed_at, failure=reason, shadow=shadow, repairs=_repairs(made)
                    )
                )
                session.flush()
                self._send_out(session, journey, made, failed_at, destinations)
        except (OSError, sa.exc.OperationalError) as e:
            log.warning("reading postponed", journey=journey, reason=_in_a_line(e))
            self._forgive(journey)
            return Outcome.LATER
        return Outcome.FAILED

    def _report_failure(
        self, journey: str, reason: str, failed_at: datetime, destinations: Sequence[Destination]
    ) -> Mapping[ResultChoice, Results]:
        """Reports on a radiograph without a reading, for the destinations that get reports.

        Empty if not even a report can refer to it: the ledger has the reason all the same.
        """
        made: dict[ResultChoice, Results] = {}
        with Session(self._engine) as session:
            row = session.scalars(sa.select(ReceivedObject).where(ReceivedObject.journey == journey)).one()
            session.expunge(row)
        try:
            source = dcmread(self._spool.path(row.digest), stop_before_pixels=True)
            for choice in {destination.choice for destination in destinations}:
                if ResultKind.REPORT in choice.objects:
                    made[choice] = compose_failure(
                        source,
                        reason,
                        model=self._networks.model,
                        journey=journey,
                        view=row.view,
                        flags=tuple(row.flags),
                        failed_at=failed_at,
                        node=self._node,
                        choice=choice,
                    )
        except OSError:
            raise
        except Exception as e:  # the edge of the journey: what cannot be read may be anything
            log.warning("failure not reported", journey=journey, reason=f"{type(e).__name__}: it has no valid header")
            return {}
        for results in made.values():
            for kind, dataset in results.by_kind().items():
                save(dataset, self._shelf.path(journey, kind, dataset.SOPInstanceUID))
        return made

    def _forgive(self, journey: str) -> None:
        try:
            with Session(self._engine) as session, session.begin():
                session.execute(
                    sa.update(ReceivedObject)
                    .where(ReceivedObject.journey == journey)
                    .values(attempts=ReceivedObject.attempts - 1)
                )
        except sa.exc.OperationalError:
            log.warning("the ledger cannot be written", journey=journey)


def _in_a_line(error: Exception) -> str:
    """What is wrong, without the traceback that pydicom puts into what it raises when a disk is full."""
    return str(error).partition("\n")[0]


def _repairs(made: Mapping[ResultChoice, Results]) -> list[str]:
    """What was repaired in the results of one radiograph, whatever their form."""
    return list(dict.fromkeys(repair for results in made.values() for repair in results.repairs))
