"""Whether second networks that read in shadow agree with the first, and which are right more often."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from dicom_node.journey.comparisons import ComparisonRow
from dicom_node.journey.ledger import ReadingRow, ReceivedObject
from dicom_node.watch.feedback import IS_COVID, in_force

VERDICTS: Final = ("negative", "indeterminate", "positive")
FEWEST_OF_A_CLASS: Final = 5
"""Verified radiographs with, and without COVID-19, below which areas under the curve say nothing."""
_RESAMPLES: Final = 2000

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One radiograph that both read. is_covid: None if nobody verified it."""

    first: float
    second: float
    verdicts: tuple[str, str]
    is_covid: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Areas:
    """Areas under the ROC curve on so many radiographs; low, high: 95 % bootstrap interval of the difference."""

    positives: int
    negatives: int
    first: float
    second: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Of the second networks that read last with the first networks that read what they read last.

    confusion: verdict of the first -> verdict of the second -> how many. spearman, pearson: of the scores; None if
    there are too few, or all are the same. areas: None if too few were verified. milliseconds: medians.
    """

    first: str
    second: str
    thresholds: tuple[float, float]
    both: int
    failed: int
    confusion: dict[str, dict[str, int]]
    spearman: float | None
    pearson: float | None
    areas: Areas | None
    milliseconds: tuple[float, float]
    pairs: tuple[Pair, ...]

    @property
    def agreement(self) -> float:
        """Share of equal verdicts, [0, 1]."""
        return sum(self.confusion[verdict][verdict] for verdict in VERDICTS) / self.both


def compare(session: Session) -> Comparison | None:
    """Ask the ledger; None if no second networks have read anything."""
    last = session.execute(
        sa.select(ComparisonRow, ReadingRow)
        .join(ReadingRow, ReadingRow.journey == ComparisonRow.journey)
        .where(ComparisonRow.failure == "")
        .order_by(ComparisonRow.read_at.desc())
        .limit(1)
    ).first()
    if last is None:
        return None
    second, first = last
    rows = session.execute(
        sa.select(ReceivedObject.sop_instance_uid, ReadingRow, ComparisonRow)
        .join(ReadingRow, ReadingRow.journey == ReceivedObject.journey)
        .join(ComparisonRow, ComparisonRow.journey == ReadingRow.journey)
        .where(ComparisonRow.model_digest == second.model_digest, ReadingRow.model_digest == first.model_digest)
        .order_by(ReceivedObject.id)
    ).all()
    labels = in_force(session)
    both = [(one, two) for _, one, two in rows if one.score is not None and two.score is not None]
    pairs = [
        Pair(
            first=one.score,
            second=two.score,
            verdicts=(one.verdict, two.verdict),
            is_covid=IS_COVID[labels[uid].label] if uid in labels else None,
        )
        for uid, one, two in rows
        if one.score is not None and two.score is not None
    ]
    a, b = np.array([pair.first for pair in pairs]), np.array([pair.second for pair in pairs])
    return Comparison(
        first=f"{first.model_name} {first.model_version}",
        second=f"{second.model_name} {second.model_version}",
        thresholds=(first.threshold or 0.0, second.threshold or 0.0),
        both=len(pairs),
        failed=len(rows) - len(pairs),
        confusion={
            one: {two: sum(pair.verdicts == (one, two) for pair in pairs) for two in VERDICTS} for one in VERDICTS
        },
        spearman=_correlation(a, b, ranks=True),
        pearson=_correlation(a, b, ranks=False),
        areas=_areas(pairs),
        milliseconds=(
            float(np.median([one.milliseconds or 0.0 for one, _ in both])),
            float(np.median([two.milliseconds or 0.0 for _, two in both])),
        ),
        pairs=tuple(pairs),
    )


def _correlation(a: Numbers, b: Numbers, *, ranks: bool) -> float | None:
    from scipy.stats import pearsonr, spearmanr

    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float((spearmanr if ranks else pearsonr)(a, b).statistic)


def _areas(pairs: Sequence[Pair]) -> Areas | None:
    from scipy.stats import bootstrap

    verified = [pair for pair in pairs if pair.is_covid is not None]
    ill = np.array([bool(pair.is_covid) for pair in verified], np.bool_)
    if min(ill.sum(), (~ill).sum()) < FEWEST_OF_A_CLASS:
        return None
    a, b = np.array([pair.first for pair in verified]), np.array([pair.second for pair in verified])

    def difference(one: Numbers, two: Numbers, is_ill: Numbers) -> float:
        mask = is_ill.astype(bool)
        # A sample of one class has no area, and says nothing about the difference.
        return area(two, mask) - area(one, mask) if 0 < mask.sum() < len(mask) else 0.0

    interval = bootstrap(
        (a, b, ill.astype(float)), difference, paired=True, vectorized=False, method="percentile",
        n_resamples=_RESAMPLES, rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return Areas(
        positives=int(ill.sum()),
        negatives=int((~ill).sum()),
        first=area(a, ill),
        second=area(b, ill),
        difference=area(b, ill) - area(a, ill),
        low=float(interval.low),
        high=float(interval.high),
    )


def area(scores: Numbers, ill: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: the share of pairs of which the ill one has the higher score. Hanley, McNeil 1982."""
    from scipy.stats import rankdata

    positives, negatives = int(ill.sum()), int((~ill).sum())
    return float((rankdata(scores)[ill].sum() - positives * (positives + 1) / 2) / (positives * negatives))
