"""The faults themselves: kills at random moments, and each fault point in turn, while radiographs come in."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Final

from dicom_node.faultpoints import Point
from tests.faults.judge import Verdict, judge, settled
from tests.faults.ward import ROLES, SUPERVISOR, Ward
from tests.peers.modality import Modality
from tests.phantom import make_cr

PATIENCE: Final = 900.0
AGAIN_SECONDS: Final = 20.0
BACKLOG: Final = 8
"""Radiographs that may be under way: enough that each process has work whenever it is killed."""

VICTIMS: Final = (
    *((role,) for role in ROLES),
    (SUPERVISOR,),
    ("listen", "work"),
    ("work", "return"),
    ("listen", "return"),
    ROLES,
)


class Stream:
    """A modality that sends small radiographs, one after the other, until it is told to stop."""

    def __init__(self, ward: Ward, *, seed: int) -> None:
        self._ward = ward
        self._modality = Modality(ward.node.peer, patience=PATIENCE)
        self._seeds = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        while not self._stop.is_set():
            if len(self._modality.acknowledged) - self._ward.returned() // 2 < BACKLOG:
                self._modality.send([make_cr(size=256, seed=self._seeds.randrange(8))])
            time.sleep(0.05)

    @property
    def acknowledged(self) -> list[str]:
        return list(self._modality.acknowledged)

    @property
    def attempts(self) -> int:
        return self._modality.attempts

    def stop(self) -> None:
        self._stop.set()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()


@contextmanager
def streaming(ward: Ward, *, seed: int) -> Iterator[Stream]:
    """Radiographs come in during the block; afterwards all that was acknowledged has been dealt with."""
    stream = Stream(ward, seed=seed)
    try:
        yield stream
    finally:
        stream.stop()
    ward.wait_until(lambda: stream.ended, "the modality gets its last answer", seconds=PATIENCE)
    ward.wait_until(lambda: settled(ward), "the node has nothing left to do", seconds=PATIENCE)


def storm(ward: Ward, *, seed: int, kills: int) -> Verdict:
    """Kill processes of the node, alone and together, at random moments, `kills` times."""
    moments = random.Random(seed)
    with streaming(ward, seed=seed) as stream:
        for _ in range(kills):
            _let_pass(ward, stream, objects=moments.choice((0, 0, 1, 1, 2)), seconds=moments.uniform(0, 0.7))
            for role in moments.choice(VICTIMS):
                ward.kill(role)
    return judge(ward, stream.acknowledged)


def each_point(ward: Ward, *, seed: int, points: tuple[Point, ...] = tuple(Point)) -> Verdict:
    """Let a process die at each fault point, one after the other; fails if one is never reached."""
    with streaming(ward, seed=seed) as stream:
        for point in points:
            ward.arm(point)
            _await(ward, point)
    return judge(ward, stream.acknowledged)


def _let_pass(ward: Ward, stream: Stream, *, objects: int, seconds: float) -> None:
    """Wait for so many more acknowledgements: a crowded machine gets more time. Then for a moment."""
    wanted = len(stream.acknowledged) + objects
    ward.wait_until(lambda: len(stream.acknowledged) >= wanted, "the node takes objects", seconds=PATIENCE)
    time.sleep(seconds)
    ward.revive()


def _await(ward: Ward, point: Point) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ward.has_fired(point):
        assert time.monotonic() < deadline, f"the node never comes by {point}; its log is {ward.node.log}"
        if provoke := PROVOKED.get(point):
            provoke(ward)  # again: the last time, those of a supervisor that had just died itself may have felt it
        soon = time.monotonic() + AGAIN_SECONDS
        ward.wait_until(partial(_fired_or_late, ward, point, soon), f"the node comes by {point}")


def _fired_or_late(ward: Ward, point: Point, late: float) -> bool:
    return ward.has_fired(point) or time.monotonic() > late


def _kill(ward: Ward, role: str) -> None:
    ward.wait_until(lambda: ward.kill(role), f"there is somebody to kill: {role}")


def _without_pacs(ward: Ward) -> None:
    ward.close_pacs()
    ward.wait_until(ward.parked, "the node notices that the PACS is down", seconds=PATIENCE)
    ward.open_pacs()


PROVOKED: Final[Mapping[Point, Callable[[Ward], object]]] = {
    Point.RETURN_PARKED: _without_pacs,
    Point.CIRCUIT_CLOSED: _without_pacs,
    Point.LEDGER_MIGRATED: lambda ward: _kill(ward, SUPERVISOR),
    Point.DATABASE_PREPARED: lambda ward: _kill(ward, SUPERVISOR),
    Point.ROLE_STARTED: lambda ward: _kill(ward, "return"),
    Point.ROLE_DIED: lambda ward: _kill(ward, "return"),
}
"""What a stream of radiographs alone does not bring about."""
