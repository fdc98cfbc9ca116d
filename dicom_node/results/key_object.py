"""A positive reading as a Key Object Selection, so that a worklist or viewer can find it. PS3.3 A.35.4."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom import Dataset
from pydicom.uid import UID

from dicom_node import concepts
from dicom_node.results import wording
from dicom_node.results.equipment import MANUFACTURER, Device, sign
from dicom_node.results.order import refer_to_requests
from dicom_node.results.origin import hand_on, stamp, without_names
from dicom_node.results.structured_report import observer
from pipeline.reading import Reading, Verdict

SERIES_NUMBER_BASE: Final = 49_000
"""Series of key objects are numbered 49000 + the source's SeriesNumber."""

SERIES_DESCRIPTION: Final = "COVID-XNet key object - NOT FOR DIAGNOSIS"


def key_object(
    header: Dataset,
    others: Sequence[Dataset],
    reading: Reading,
    *,
    device: Device,
    sop_instance_uid: UID,
    series_instance_uid: UID,
    moment: datetime,
) -> Dataset | None:
    """Select the radiograph, and the results `others` on it, as of interest.

    header: what `origin.carry_over` took from the source. moment: when it was read, on the clock of the source.
    Returns a Key Object Selection Document, TID 2010; None if the reading is not positive.
    """
    if reading.verdict is not Verdict.POSITIVE:
        return None
    radiograph = without_names(header)
    result = KeyObjectSelectionDocument(
        evidence=[radiograph, *others],
        content=KeyObjectSelection(
            document_title=concepts.OF_INTEREST,
            referenced_objects=[radiograph, *others],
            observer_device_context=observer(device),
            description=f"{wording.conclusion(reading)} Remarks: {'; '.join(wording.details(reading))}.",
        ),
        series_instance_uid=series_instance_uid,
        series_number=SERIES_NUMBER_BASE + (header.SeriesNumber or 0),
        series_description=SERIES_DESCRIPTION,
        sop_instance_uid=sop_instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
    )
    for item in result.ContentSequence:
        # highdicom names every reference "Source"; TID 2010 forbids a name in rows 8 to 10.
        if item.ValueType in ("IMAGE", "COMPOSITE"):
            del item.ConceptNameCodeSequence
    hand_on(header, result)
    refer_to_requests(header, result)
    sign(result, header, device)
    stamp(result, moment)
    result.ContentDate, result.ContentTime = result.SeriesDate, result.SeriesTime
    return result
