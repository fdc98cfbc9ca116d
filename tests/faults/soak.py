"""`make soak`: many objects of mixed kinds, one after the other, and nothing may grow but the archive.

python -m tests.faults.soak [--objects 10000] [--workers 2] [--json FILE]
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Final

import psutil
from pydicom import Dataset
from pydicom.uid import JPEGLSLossless, RLELossless

from tests.faults.judge import differences, settled
from tests.faults.ward import ROLES, Ward, open_ward
from tests.peers.modality import Modality
from tests.phantom import make_cr, make_dx

TOGETHER: Final = 50
"""Objects between two looks at the processes."""
AHEAD: Final = 20
"""Radiographs that may wait to be read."""
GROWTH: Final = 1.15
"""The last quarter may have so much more memory or descriptors than the second; the first warms up."""
SLOWER: Final = 0.7
"""And so much of its throughput: a machine has other things to do, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """At one moment. rss: bytes, descriptors: open files; of each role."""

    objects: int
    seconds: float
    rss: dict[str, int]
    descriptors: dict[str, int]


KINDS: Final[Sequence[tuple[bool, Callable[[int], Dataset]]]] = (
    (True, lambda seed: make_cr(size=256, seed=seed)),
    (True, lambda seed: make_dx(size=320, seed=seed)),
    (False, lambda seed: make_dx(size=256, view="LL", seed=seed)),
    (True, lambda seed: make_cr(size=256, seed=seed, syntax=RLELossless)),
    (True, lambda seed: make_dx(size=288, seed=seed, syntax=JPEGLSLossless)),
    (False, lambda seed: make_cr(size=256, seed=seed, body_part="HAND")),
)
"""What comes in turn, and whether it is read."""


def soak(ward: Ward, objects: int) -> list[Look]:
    """Send so many objects and wait until all are dealt with; returns what was seen on the way."""
    modality = Modality(ward.node.peer, patience=3600)
    begun, looks = time.monotonic(), []
    for sent in range(0, objects, TOGETHER):
        numbers = range(sent, min(sent + TOGETHER, objects))
        modality.send([KINDS[number % len(KINDS)][1](number % 7) for number in numbers])
        ward.wait_until(lambda: _waiting(ward) <= AHEAD, "the workers keep up", seconds=3600)
        looks.append(_look(ward, len(modality.acknowledged), time.monotonic() - begun))
        print(json.dumps(asdict(looks[-1])), flush=True)
    ward.wait_until(lambda: settled(ward), "the node has nothing left to do", seconds=3600)
    return looks


def _waiting(ward: Ward) -> int:
    time.sleep(0.5)
    return int(ward.node.status()["counts"]["waiting to be read"])


def _look(ward: Ward, objects: int, seconds: float) -> Look:
    rss, descriptors = dict.fromkeys(ROLES, 0), dict.fromkeys(ROLES, 0)
    for process in ward.processes():
        running = psutil.Process(process.pid)
        rss[process.role] = max(rss[process.role], running.memory_info().rss)
        descriptors[process.role] = max(descriptors[process.role], running.num_fds())
    return Look(objects=objects, seconds=round(seconds, 1), rss=rss, descriptors=descriptors)


def complaints(looks: Sequence[Look]) -> list[str]:
    """What grew, or slowed down, between the second quarter and the last."""
    quarter = len(looks) // 4
    if not quarter:
        return ["too few objects to tell"]
    before, after = looks[quarter : 2 * quarter + 1], looks[-quarter - 1 :]
    found = [
        f"{what} of {role} grew from {old:.0f} to {new:.0f}"
        for what in ("rss", "descriptors")
        for role in ROLES
        if (new := mean(getattr(look, what)[role] for look in after))
        > GROWTH * (old := mean(getattr(look, what)[role] for look in before))
    ]
    if (new := _pace(after)) < SLOWER * (old := _pace(before)):
        found.append(f"throughput fell from {old:.2f} to {new:.2f} objects/s")
    return found


def _pace(looks: Sequence[Look]) -> float:
    return (looks[-1].objects - looks[0].objects) / (looks[-1].seconds - looks[0].seconds)


def main() -> int:
    """Exit code 1 if something grew, slowed down, or does not agree."""
    options = argparse.ArgumentParser(description="Send many objects, and see what grows.")
    options.add_argument("--objects", type=int, default=10_000)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as folder,
        open_ward(Path(folder, "ward"), workers=chosen.workers) as ward,
    ):
        looks = soak(ward, chosen.objects)
        found = [*complaints(looks), *differences(ward)]
        expected = 2 * sum(KINDS[number % len(KINDS)][0] for number in range(chosen.objects))
        if (got := ward.returned()) != expected:
            found.append(f"the PACS has {got} objects, not {expected}")
    print(
        f"{chosen.objects} objects in {looks[-1].seconds:.0f} s, {len(looks)} looks; {found or 'all flat, all agrees'}"
    )
    if chosen.json:
        chosen.json.write_text(json.dumps({"looks": [asdict(look) for look in looks], "found": found}, indent=2))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
