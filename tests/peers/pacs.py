"""What a PACS has of which radiograph, counted from outside."""

import time
from collections import Counter
from collections.abc import Iterable

from pydicom import Dataset

from dicom_node.demo.orthanc import Orthanc
from dicom_node.wire import COMPREHENSIVE_3D_SR, RADIOGRAPHS, SECONDARY_CAPTURE

ONE_OF_EACH = Counter({SECONDARY_CAPTURE: 1, COMPREHENSIVE_3D_SR: 1})
"""What each radiograph that is read brings."""


def results_of(objects: Iterable[Dataset]) -> dict[str, Counter[str]]:
    """SOP Instance UID of each radiograph that a result refers to -> SOP class of its results -> how many."""
    found: dict[str, Counter[str]] = {}
    for dataset in objects:
        if dataset.SOPClassUID in RADIOGRAPHS:
            continue
        sources = {str(e.value) for e in dataset.iterall() if e.keyword == "ReferencedSOPInstanceUID"}
        assert sources, f"{dataset.SOPClassUID.name} refers to nothing"
        for uid in sources:
            found.setdefault(uid, Counter())[dataset.SOPClassUID] += 1
    # A report also refers to the overlay: that is no radiograph.
    own = {str(dataset.SOPInstanceUID) for dataset in objects}
    return {uid: counted for uid, counted in found.items() if uid not in own}


def wait_for(pacs: Orthanc, instances: int, *, seconds: float = 120.0, settle: float = 2.0) -> list[Dataset]:
    """Wait until the PACS has so many objects, and a little longer for what should not come; returns them."""
    deadline = time.monotonic() + seconds
    while (got := len(pacs.instances())) < instances:
        assert time.monotonic() < deadline, f"the PACS has {got} objects after {seconds:.0f} s, not {instances}"
        time.sleep(0.2)
    time.sleep(settle)
    return pacs.objects()
