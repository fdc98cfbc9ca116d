"""Tells people about troubles: once, again after some hours, and once more when they are over.

Runs in the returner, the one process that every node has and that waits anyway. What was told of each trouble stands in
the database, and whoever tells claims the row first: of several machines one tells.
"""

import threading
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from dicom_node.alerts.sending import Urgency, send
from dicom_node.alerts.troubles import HERE, OF_ONE_MACHINE, Trouble, look, look_for_drift
from dicom_node.journey.database import open_engine
from dicom_node.journey.ledger import Row, now, utc
from dicom_node.logs import log
from dicom_node.settings import Settings

ROUND_SECONDS: Final = 60.0
SETTLE: Final = timedelta(minutes=5)
"""How long a trouble must be gone to be over, and until somebody tries again what could not be told."""
_DRIFT_EVERY: Final = timedelta(hours=1)


class AlertRow(Row):
    """One trouble that is there, or was a moment ago."""

    __tablename__ = "alerts"

    key: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    text: Mapped[str]
    since: Mapped[datetime]
    gone_at: Mapped[datetime | None]
    """When it was not seen any more; None: it is there."""
    claimed_at: Mapped[datetime | None]
    """When somebody began to tell it; the claim holds for `SETTLE`, for he may have died."""
    told_at: Mapped[datetime | None]
    """When it was told last; None: nobody knows of it yet."""


class Watchman:
    """Looks and tells, for one process."""

    def __init__(self, settings: Settings, engine: sa.Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._drift: list[Trouble] = []
        self._drift_at: datetime | None = None

    def go_round(self, at: datetime) -> None:
        """Look once, and tell what is due. Raises sqlalchemy.exc.SQLAlchemyError."""
        with Session(self._engine) as session:
            if self._drift_at is None or at - self._drift_at >= _DRIFT_EVERY:
                self._drift, self._drift_at = list(look_for_drift(session)), at
            troubles = {trouble.key[:255]: trouble for trouble in (*look(self._settings, session), *self._drift)}
        self._note(troubles, at)
        with Session(self._engine) as session:
            rows = session.scalars(sa.select(AlertRow).order_by(AlertRow.key)).all()
        for row in rows:
            if row.gone_at is None:
                self._tell(row, at)
            elif at - utc(row.gone_at) >= SETTLE:
                self._tell_that_it_is_over(row, at)

    def _note(self, troubles: dict[str, Trouble], at: datetime) -> None:
        for trouble in troubles.values():
            try:
                with Session(self._engine) as session, session.begin():
                    row = session.get(AlertRow, trouble.key[:255])
                    if row is None:
                        session.add(AlertRow(key=trouble.key[:255], text=trouble.text, since=at))
                    else:
                        row.text, row.gone_at = trouble.text, None
            except sa.exc.IntegrityError:  # another machine saw it in the same moment
                continue
        with Session(self._engine) as session, session.begin():
            for row in session.scalars(sa.select(AlertRow).where(AlertRow.gone_at.is_(None))):
                # What another machine sees of itself, this one cannot know.
                elsewhere = row.key.startswith(OF_ONE_MACHINE) and not row.key.endswith(HERE)
                if row.key not in troubles and not elsewhere:
                    row.gone_at = at

    def _tell(self, row: AlertRow, at: datetime) -> None:
        if row.told_at is not None and at - utc(row.told_at) < timedelta(hours=self._settings.alert_reminder_hours):
            return
        again = f" Since {utc(row.since):%Y-%m-%d %H:%M} UTC." if row.told_at is not None else ""
        if self._claim(row, at) and self._send(row.key, row.text + again, Urgency.TROUBLE):
            with Session(self._engine) as session, session.begin():
                session.execute(sa.update(AlertRow).where(AlertRow.key == row.key).values(told_at=at, claimed_at=None))

    def _tell_that_it_is_over(self, row: AlertRow, at: datetime) -> None:
        text = f"It is over, since {utc(row.gone_at or at):%Y-%m-%d %H:%M} UTC. It was: {row.text}"
        if self._claim(row, at) and (row.told_at is None or self._send(row.key, text, Urgency.OVER)):
            with Session(self._engine) as session, session.begin():
                session.execute(sa.delete(AlertRow).where(AlertRow.key == row.key))

    def _claim(self, row: AlertRow, at: datetime) -> bool:
        """Take it on; False if another machine has it, told it meanwhile, or it came or went meanwhile."""
        unchanged = (
            AlertRow.told_at.is_(None) if row.told_at is None else AlertRow.told_at == row.told_at,
            AlertRow.gone_at.is_(None) if row.gone_at is None else AlertRow.gone_at.is_not(None),
        )
        with Session(self._engine) as session, session.begin():
            claimed = session.execute(
                sa.update(AlertRow)
                .where(AlertRow.key == row.key, *unchanged)
                .where(AlertRow.claimed_at.is_(None) | (AlertRow.claimed_at <= at - SETTLE))
                .values(claimed_at=at)
            )
            return bool(claimed.rowcount)  # type: ignore[attr-defined]

    def _send(self, key: str, text: str, urgency: Urgency) -> bool:
        """Whether anybody took it; if nobody did, it is tried again when the claim ends."""
        took = send(self._settings.alert_urls, f"covid-xnet {self._settings.ae_title}: {key}", text, urgency)
        if any(took):
            log.info("alert sent", key=key, taken=sum(took), addresses=len(took))
        else:
            log.error("alert not sent", key=key, addresses=len(took))
        return any(took)


def watch_in_background(settings: Settings) -> None:
    """Go round every minute, in a thread that ends with the process."""

    def run() -> None:
        watchman = Watchman(settings, open_engine(settings))
        pause = threading.Event()
        while True:
            # The edge: whatever ledger, disk or a service does, the next round comes.
            try:
                watchman.go_round(now())
            except Exception as e:
                log.warning("not watched", error=type(e).__name__)
            pause.wait(ROUND_SECONDS)

    threading.Thread(target=run, name="alerts", daemon=True).start()
