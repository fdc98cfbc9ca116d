"""Time that nobody sets, for pynetdicom: importing this lets its timers run by the monotonic clock.

By the wall clock, as they come (pynetdicom 3.0, timer.py), a clock that is set forward ends every association, and one
that is set back keeps those that should end.
"""

import time
from types import SimpleNamespace

from pynetdicom import timer

timer.time = SimpleNamespace(time=time.monotonic)
