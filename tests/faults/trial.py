"""One trial: a fresh PACS and node, faults, a verdict, and what was measured meanwhile."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_node.faultpoints import Point
from tests.faults.judge import Verdict
from tests.faults.ward import Ward, open_ward


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of it."""

    name: str
    seed: int
    pacs: str
    verdict: Verdict
    seconds: float
    kills: Mapping[str, int]
    """Role -> how often a process of it was killed from outside."""
    points: Sequence[Point]
    """At which a process died."""
    peak_rss: Mapping[str, int]
    """Role -> bytes."""
    starts: Sequence[float]
    """Seconds from each start of the node until it answered."""

    @property
    def in_a_line(self) -> str:
        v = self.verdict
        return (
            f"{self.name} {self.seed}: {v.acknowledged} radiographs, killed {dict(self.kills)} "
            f"and at {len(self.points)} points, lost {v.lost}, doubled {v.doubled}, orphans {v.orphans}, "
            f"differences {v.differences}, {self.seconds:.0f} s"
        )


def try_out(
    folder: Path,
    name: str,
    seed: int,
    faults: Callable[[Ward], Verdict],
    *,
    points: Sequence[Point] = (),
    workers: int = 1,
) -> Trial:
    """Let `faults` loose on a fresh node."""
    begun = time.monotonic()
    with open_ward(folder, workers=workers) as ward:
        verdict = faults(ward)
        return Trial(
            name=name,
            seed=seed,
            pacs=ward.pacs.name,
            verdict=verdict,
            seconds=time.monotonic() - begun,
            kills=ward.kills,
            points=points,
            peak_rss=ward.peak_rss,
            starts=ward.starts,
        )
