"""Whether a radiograph is STAT: by who sends it, by the priority of the C-STORE request, or by what its header says."""

from dataclasses import dataclass
from typing import Final

from pydicom import Dataset

from dicom_node.journey.urgency import Urgency
from dicom_node.reception.attributes import items, texts
from dicom_node.reception.words import plain, words
from dicom_node.settings import Settings

HIGH_PRIORITY: Final = 0x0001
"""Priority (0000,0700) of a C-STORE request. PS3.7 table 9.3-1: 0 medium, 1 high, 2 low."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Haste:
    """The answer, and what gave it: "" if nothing did."""

    urgency: Urgency = Urgency.ROUTINE
    evidence: str = ""


def haste(header: Dataset, *, calling_ae: str, priority: int | None, settings: Settings) -> Haste:
    """Find out how soon the object with this header shall be read. Never raises.

    priority: of the C-STORE request. The first of calling AE title, priority and attributes that says STAT is the
    evidence, which never quotes the header.
    """
    if calling_ae in settings.stat_aes:
        return Haste(urgency=Urgency.STAT, evidence="calling AE title")
    if settings.stat_by_priority and priority == HIGH_PRIORITY:
        return Haste(urgency=Urgency.STAT, evidence="priority of the C-STORE request")
    wanted = {plain(word) for word in settings.stat_words}
    for keyword in settings.stat_attributes:
        # What was scheduled stands in the items of the request.
        for dataset in (header, *items(header, "RequestAttributesSequence")):
            if any(wanted.intersection(words(plain(value))) for value in texts(dataset, keyword)):
                return Haste(urgency=Urgency.STAT, evidence=keyword)
    return Haste()
