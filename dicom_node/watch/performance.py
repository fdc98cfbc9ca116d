"""How often the networks were right about radiographs of which somebody verified what they show."""

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.journey.ledger import ReadingRow, ReceivedObject
from dicom_node.watch.feedback import IS_COVID, FeedbackRow, in_force


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """k of n, with its 95 % Wilson interval; shares are None if n is 0."""

    k: int
    n: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One radiograph with a score and a verified verdict."""

    calling_ae: str
    score: float
    threshold: float
    verdict: str
    is_covid: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """Of some radiographs, at the threshold in force when each was read.

    indeterminate: how many of them lay in the band around it; they count on the side of the threshold where they lie.
    """

    sensitivity: Share
    specificity: Share
    indeterminate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Performance of the networks that read last, together and by sender. left_out: verified, but read by others."""

    model: str
    overall: Performance
    by_sender: dict[str, Performance]
    left_out: int


def account(session: Session) -> Account:
    """Ask the ledger; every radiograph counts once, with its last reading."""
    newest = session.scalars(
        sa.select(ReadingRow).where(ReadingRow.score.is_not(None)).order_by(ReadingRow.read_at.desc()).limit(1)
    ).first()
    judged, left_out = judged_by(session, newest.model_digest if newest else "")
    senders = sorted({each.calling_ae for each in judged})
    return Account(
        model=f"{newest.model_name} {newest.model_version}".strip() if newest else "",
        overall=performance(judged),
        by_sender={name: performance(each for each in judged if each.calling_ae == name) for name in senders},
        left_out=left_out,
    )


def judged_by(session: Session, model_digest: str) -> tuple[list[Judged], int]:
    """The verified radiographs that these networks read last, and how many others read."""
    labels = in_force(session)
    verified = sa.select(FeedbackRow.sop_instance_uid)
    rows = session.execute(
        sa.select(ReceivedObject.sop_instance_uid, ReceivedObject.calling_ae, ReadingRow)
        .join(ReadingRow, ReadingRow.journey == ReceivedObject.journey)
        .where(ReadingRow.score.is_not(None), ReceivedObject.sop_instance_uid.in_(verified))
        .order_by(ReadingRow.read_at, ReceivedObject.id)
    )
    last = {uid: (sender, reading) for uid, sender, reading in rows}
    judged = [
        Judged(
            calling_ae=sender,
            score=reading.score,
            threshold=reading.threshold,
            verdict=reading.verdict,
            is_covid=IS_COVID[labels[uid].label],
        )
        for uid, (sender, reading) in last.items()
        if reading.model_digest == model_digest and reading.score is not None and reading.threshold is not None
    ]
    return judged, len(last) - len(judged)


def performance(judged: Iterable[Judged]) -> Performance:
    """Sensitivity and specificity of some radiographs."""
    cases = list(judged)
    ill = [each for each in cases if each.is_covid]
    other = [each for each in cases if not each.is_covid]
    return Performance(
        sensitivity=share(sum(each.score >= each.threshold for each in ill), len(ill)),
        specificity=share(sum(each.score < each.threshold for each in other), len(other)),
        indeterminate=sum(each.verdict == "indeterminate" for each in cases),
    )


def share(k: int, n: int) -> Share:
    """k of n with its interval. Source: Wilson, 1927."""
    from scipy.stats import binomtest  # only where somebody asks

    if n == 0:
        return Share(k=0, n=0, share=None, low=None, high=None)
    interval = binomtest(k, n).proportion_ci(method="wilson")
    return Share(k=k, n=n, share=k / n, low=float(interval.low), high=float(interval.high))
