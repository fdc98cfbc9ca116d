"""Settings that are changed while the node runs: each of its processes takes up those that it can.

A process works with one frozen `Settings` at a time. When its files have changed, and stay as they are, it reads them
anew and gives the parts of the process another `Settings`; associations and journeys that are under way go on.
"""

import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from dicom_node.errors import ConfigurationError
from dicom_node.logs import log
from dicom_node.settings import Settings, load_settings, settings_file
from dicom_node.site_file import site_file

TAKEN_UP: Final = frozenset(
    {
        "destinations",
        "calling_aes",
        "shadow_until_commissioned",
        "report_failures",
        "stat_aes",
        "stat_by_priority",
        "stat_attributes",
        "stat_words",
        "read_for_processing",
        "minimum_side",
    }
)
"""What a running node takes up; all else needs a restart."""

LOOK_SECONDS: Final = 1.0


class Changes:
    """Looks after the files of the settings in a thread of its own; a context manager."""

    def __init__(
        self,
        settings: Settings,
        take_up: Callable[[Settings], None],
        *,
        others: Sequence[Path] = (),
        every: float = LOOK_SECONDS,
    ) -> None:
        """settings: what the process started with. others: files that are as good as settings.

        every: seconds between two looks.
        take_up: gets the settings that are in force from now on; called in the thread.
        """
        self._settings = settings
        self._take_up = take_up
        self._file = settings_file()
        self._others = others
        self._every = every
        self._files = [*([self._file] if self._file else []), site_file(settings.data_dir)]
        self._seen: list[str] = []
        # The settings were read before now: nothing of them counts as taken up yet.
        self._taken: list[str] = []
        self._taken_of_others = _digests(others)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="changes", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(self._every):
            try:
                self.look()
            # The edge: whatever is wrong with a file, the process goes on with what it has.
            except Exception:
                log.exception("changes not looked at")

    def look(self) -> None:
        """Take up what has changed, if it is the same as at the last look: half of a file may be valid, too."""
        found, of_others = _digests(self._files), _digests(self._others)
        settled, self._seen = found + of_others == self._seen, found + of_others
        if not settled or (found, of_others) == (self._taken, self._taken_of_others):
            return
        changed = self._read_anew() if found != self._taken else False
        if changed or of_others != self._taken_of_others:
            self._take_up(self._settings)
        self._taken, self._taken_of_others = found, of_others

    def _read_anew(self) -> bool:
        try:
            # By the name of the file: that it is gone must not bring the defaults back.
            wanted = load_settings(self._file)
        except ConfigurationError as e:
            log.error("settings not taken up", reason=str(e))
            return False
        changed = {name for name in Settings.model_fields if getattr(wanted, name) != getattr(self._settings, name)}
        if late := changed - TAKEN_UP:
            log.warning("settings need a restart", names=",".join(sorted(late)))
        if not (now := changed & TAKEN_UP):
            return False
        self._settings = self._settings.model_copy(update={name: getattr(wanted, name) for name in now})
        log.info("settings taken up", names=",".join(sorted(now)))
        return True


def _digests(files: Sequence[Path]) -> list[str]:
    found = []
    for file in files:
        try:
            found.append(hashlib.sha256(file.read_bytes()).hexdigest())
        except OSError as e:
            found.append(type(e).__name__)
    return found
