"""A second set of networks reads beside the first, so that a site sees what it would say before it is let in.

It comes after the results of the first have set out, in a step of its own, and writes into a table of its own: nothing
of it is sent, and whatever goes wrong with it, the first has done its work.
"""

from pathlib import Path

import sqlalchemy as sa
from pydicom import dcmread
from sqlalchemy.orm import Session

from dicom_node.journey.bounds import Bounds
from dicom_node.journey.comparisons import ComparisonRow
from dicom_node.journey.ledger import ReadingRow, ReceivedObject, now
from dicom_node.logs import log
from dicom_node.settings import Settings
from dicom_node.spool import Spool
from models.registry import WeightsMismatch
from pipeline.flow import Networks, load_networks, read
from pipeline.radiograph import from_dicom

BEGUN = "It did not come to its end."
"""Failure of a reading that is going on, and that stays if its worker dies of it: it is not begun again."""


def second_networks(settings: Settings) -> Networks | None:
    """The networks of `shadow_weights_dir`; None if there are none, or they cannot be used, which the log says."""
    if not settings.shadow_weights_dir:
        return None
    try:
        return load_networks(Path(settings.shadow_weights_dir))
    except (WeightsMismatch, OSError, RuntimeError) as e:  # OpenVINO raises the last of a file that is no network
        log.error("second networks ignored", reason=str(e) if isinstance(e, WeightsMismatch) else type(e).__name__)
        return None


class SecondReader:
    """Reads what the first has read. One per worker process."""

    def __init__(self, settings: Settings, engine: sa.Engine, networks: Networks, bounds: Bounds) -> None:
        self._settings = settings
        self._engine = engine
        self._networks = networks
        self._bounds = bounds
        self._spool = Spool(settings.spool_dir, minimum_free_bytes=0)

    def read(self, journey: str) -> bool:
        """Read the radiograph of `journey`, once, if the first has read it; whether there is a score. Raises nothing.

        Within the bounds of a worker, beyond which the worker ends, and the next one finds that it was begun.
        """
        try:
            digest = self._begin(journey)
            if digest is None:
                return False
            try:
                with self._bounds.around(journey):
                    source = dcmread(self._spool.path(digest))
                    radiograph = from_dicom(source, maximum_pixels=int(self._settings.maximum_megapixels * 1e6))
                    reading = read(radiograph, self._networks)
            except Exception as e:  # the edge: whatever the second cannot do must not stop the worker
                self._write(journey, failure=f"{type(e).__name__}: the second networks could not read it.")
                return False
            self._write(
                journey,
                failure="",
                score=reading.score,
                verdict=reading.verdict.value,
                threshold=reading.threshold,
                milliseconds=reading.milliseconds,
            )
            return True
        except sa.exc.SQLAlchemyError as e:
            log.warning("second reading not recorded", journey=journey, error=type(e).__name__)
            return False

    def _begin(self, journey: str) -> str | None:
        """Write that it begins; the digest of the object, or None if there is nothing to do."""
        model = self._networks.model
        with Session(self._engine) as session, session.begin():
            first = session.get(ReadingRow, journey)
            if first is None or first.failure or session.get(ComparisonRow, (journey, model.digest)) is not None:
                return None
            session.add(
                ComparisonRow(
                    journey=journey,
                    model_digest=model.digest,
                    model_name=model.name,
                    model_version=model.version,
                    read_at=now(),
                    failure=BEGUN,
                )
            )
            return session.scalar(sa.select(ReceivedObject.digest).where(ReceivedObject.journey == journey))

    def _write(self, journey: str, **values: object) -> None:
        with Session(self._engine) as session, session.begin():
            session.execute(
                sa.update(ComparisonRow)
                .where(ComparisonRow.journey == journey, ComparisonRow.model_digest == self._networks.model.digest)
                .values(read_at=now(), **values)
            )
