"""What came on one association, for the audit trail."""

from collections import Counter
from typing import Any, Final

_MOST_STUDIES: Final = 100


class Traffic:
    """Counts the objects of an association by study and by the status they were answered with."""

    def __init__(self) -> None:
        self._studies: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()

    def note(self, status: int, study_instance_uid: str) -> None:
        """An object was answered with `status`; study_instance_uid: "" if nobody got so far."""
        self._statuses[status] += 1
        if study_instance_uid:
            known = study_instance_uid in self._studies or len(self._studies) < _MOST_STUDIES
            self._studies[study_instance_uid if known else "others"] += 1

    @property
    def failed(self) -> bool:
        """Whether any object was answered with a failure."""
        return any(self._statuses.keys() - {0})

    def details(self) -> dict[str, Any]:
        """For the trail; empty if nothing came."""
        if not self._statuses:
            return {}
        return {
            "studies": dict(self._studies),
            "statuses": {f"0x{status:04X}": number for status, number in self._statuses.items()},
        }
