"""Whether radiographs and scores of a sender are still those that it was switched on with.

The reference is the week before somebody switched the sender on, which is the week that it was commissioned on; where
too few of it were read then, or with other networks, the first readings. What came last is compared with it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from dicom_node.journey.ledger import ReadingRow, ReceivedObject, utc
from dicom_node.journey.senders import SenderRow
from dicom_node.verdict import Flag

FEWEST: Final = 100
"""Readings below which neither side says anything: PSI of ten bins is 0.09 by chance alone with twice 200."""
LATEST: Final = 200
"""Readings that are compared with the reference, and that are one where there is no week."""
PSI_OF_DRIFT: Final = 0.25
"""Where the usual rule calls for action. Source: Siddiqi, Credit Risk Scorecards, 2006, chapter 9."""
P_OF_DRIFT: Final = 0.001
_WEEK: Final = timedelta(days=7)
_BINS: Final = 10

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """One quantity of a sender: how far it moved, and its values at both times."""

    quantity: str
    psi: float
    reference: tuple[float, ...]
    latest: tuple[float, ...]

    def ks(self) -> tuple[float, float]:
        """The statistic of Kolmogorov and Smirnov, and its p value."""
        # Seventy megabytes, which processes that watch take only if something moved.
        from scipy.stats import ks_2samp

        test = ks_2samp(self.reference, self.latest, method="asymp")
        return float(test.statistic), float(test.pvalue)

    @property
    def drifted(self) -> bool:
        """Whether it moved far, and surely."""
        return self.psi >= PSI_OF_DRIFT and self.ks()[1] < P_OF_DRIFT


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How many of how many objects, at both times."""

    name: str
    reference: tuple[int, int]
    latest: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One sender under the networks that read it last. shifts: empty as long as too few were read."""

    calling_ae: str
    model: str
    reference_of: str
    read: tuple[int, int]
    shifts: tuple[Shift, ...]
    rates: tuple[Rate, ...]

    @property
    def drifted(self) -> list[str]:
        """Names of the quantities that drifted."""
        return [shift.quantity for shift in self.shifts if shift.drifted]


def drifts(session: Session) -> list[Drift]:
    """Every sender of which the networks read something, by its title."""
    senders = session.scalars(sa.select(ReceivedObject.calling_ae).distinct().order_by(ReceivedObject.calling_ae)).all()
    found = (_drift(session, calling_ae) for calling_ae in senders)
    return [drift for drift in found if drift is not None]


def psi(reference: Numbers, latest: Numbers) -> float:
    """Population stability index over the tenths of the reference, half an object added to each bin.

    Source: Siddiqi, Credit Risk Scorecards, 2006, chapter 9.
    """
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, _BINS + 1)[1:-1]))

    def shares(values: Numbers) -> Numbers:
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1) + 0.5
        return np.asarray(counts / counts.sum())

    before, now = shares(reference), shares(latest)
    return float(((now - before) * np.log(now / before)).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    received_at: datetime
    row: ReadingRow
    flags: list[str]


def _drift(session: Session, calling_ae: str) -> Drift | None:
    query = (
        sa.select(ReceivedObject.received_at, ReadingRow, ReceivedObject.flags)
        .join(ReadingRow, ReadingRow.journey == ReceivedObject.journey)
        .where(ReceivedObject.calling_ae == calling_ae, ReadingRow.failure == "")
    )
    newest, first = ReceivedObject.received_at.desc(), ReceivedObject.received_at

    def readings(of: "sa.Select[datetime, ReadingRow, list[str]]") -> list[_Read]:
        return [_Read(received_at=utc(at), row=row, flags=flags) for at, row, flags in session.execute(of)]

    newest_read = readings(query.order_by(newest).limit(1))
    if not newest_read:
        return None
    last = newest_read[0].row
    query = query.where(ReadingRow.model_digest == last.model_digest)
    reference, reference_of = readings(query.order_by(first).limit(LATEST)), f"the first {LATEST}"
    switch = session.get(SenderRow, calling_ae)
    if switch is not None and switch.on:
        week = (ReceivedObject.received_at >= switch.at - _WEEK, ReceivedObject.received_at < switch.at)
        if len(found := readings(query.where(*week).order_by(first))) >= FEWEST:
            reference, reference_of = found, f"the week before {utc(switch.at):%Y-%m-%d %H:%M} UTC"
    after = query.where(ReceivedObject.received_at > reference[-1].received_at)
    latest = readings(after.order_by(newest).limit(LATEST))[::-1]
    enough = min(len(reference), len(latest)) >= FEWEST
    return Drift(
        calling_ae=calling_ae,
        model=f"{last.model_name} {last.model_version}".strip(),
        reference_of=reference_of,
        read=(len(reference), len(latest)),
        shifts=tuple(_shifts(reference, latest)) if enough else (),
        rates=tuple(_rates(session, calling_ae, reference, latest)),
    )


def _shifts(reference: Sequence[_Read], latest: Sequence[_Read]) -> list[Shift]:
    found = []
    names = ["score", *latest[-1].row.statistics]
    for name in names:
        before, now = _values(reference, name), _values(latest, name)
        if min(len(before), len(now)) < FEWEST:  # read before there were statistics
            continue
        found.append(
            Shift(
                quantity=name,
                psi=psi(before, now),
                reference=tuple(before.tolist()),
                latest=tuple(now.tolist()),
            )
        )
    return found


def _values(reads: Sequence[_Read], name: str) -> Numbers:
    values = [read.row.score if name == "score" else read.row.statistics.get(name) for read in reads]
    return np.array([value for value in values if value is not None], np.float64)


def _rates(session: Session, calling_ae: str, reference: Sequence[_Read], latest: Sequence[_Read]) -> list[Rate]:
    def of_readings(name: str, holds: Callable[[_Read], bool]) -> Rate:
        (a, n), (b, m) = ((sum(map(holds, reads)), len(reads)) for reads in (reference, latest))
        return Rate(name=name, reference=(a, n), latest=(b, m))

    def of_objects(name: str, condition: sa.ColumnElement[bool]) -> Rate:
        found = []
        for reads in (reference, latest):
            if not reads:
                found.append((0, 0))
                continue
            meant = (
                ReceivedObject.calling_ae == calling_ae,
                ReceivedObject.received_at >= reads[0].received_at,
                ReceivedObject.received_at <= reads[-1].received_at,
            )
            joined = (
                sa.select(sa.func.count())
                .select_from(ReceivedObject)
                .outerjoin(ReadingRow, ReadingRow.journey == ReceivedObject.journey)
                .where(*meant)
            )
            found.append((session.scalar(joined.where(condition)) or 0, session.scalar(joined) or 0))
        return Rate(name=name, reference=found[0], latest=found[1])

    return [
        of_objects("not read", ReceivedObject.accepted.is_(False)),
        of_objects("failed", ReadingRow.failure != ""),
        of_readings("unsure", lambda read: bool({Flag.VIEW_UNKNOWN, Flag.UNLIKE_A_FRONTAL}.intersection(read.flags))),
        of_readings("no lungs", lambda read: not read.row.lungs_found),
        of_readings("indeterminate", lambda read: read.row.verdict == "indeterminate"),
        of_readings("positive", lambda read: read.row.verdict == "positive"),
    ]
