"""How often somebody may try to sign in: counts what failed, in the memory of the one process that serves the pages."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

WINDOW: Final = 300.0
"""Seconds that a failure counts."""
OF_NAME_AT_ADDRESS: Final = 5
OF_ADDRESS: Final = 30
OF_NAME: Final = 50
"""Failures in the window. More of a name from everywhere than from one address, so that nobody can lock others out."""
_MOST_KEYS: Final = 20_000


class Tries:
    """Failures to sign in, by name and by address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[tuple[str, str], deque[float]] = {}
        self._lock = threading.Lock()

    def begin(self, name: str, address: str) -> float:
        """Count a try as failed until `succeeded` says otherwise, unless there were too many.

        Returns 0, or the seconds until the next one is allowed. Counted before it is verified, so that many at the
        same time are not all allowed.
        """
        with self._lock:
            now = self._clock()
            wait = 0.0
            limits = _limits(name, address)
            for key, most in limits.items():
                failures = self._failures.get(key, deque())
                while failures and failures[0] <= now - WINDOW:
                    failures.popleft()
                if len(failures) >= most:
                    wait = max(wait, failures[-most] + WINDOW - now)
            if not wait:
                for key in limits:
                    self._failures.setdefault(key, deque()).append(now)
                self._forget(now)
            return wait

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of this name at this address."""
        with self._lock:
            for key in _limits(name, address):
                if failures := self._failures.get(key):
                    failures.pop()
            self._failures.pop((name, address), None)

    def _forget(self, now: float) -> None:
        if len(self._failures) > _MOST_KEYS:
            kept = {key: times for key, times in self._failures.items() if times and times[-1] > now - WINDOW}
            self._failures = dict(list(kept.items())[-_MOST_KEYS:])


def _limits(name: str, address: str) -> dict[tuple[str, str], int]:
    return {(name, address): OF_NAME_AT_ADDRESS, ("", address): OF_ADDRESS, (name, ""): OF_NAME}
