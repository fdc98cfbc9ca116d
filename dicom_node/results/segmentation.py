"""The lungs in which the node looked, as a Segmentation on the radiograph. PS3.3 A.51."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import cv2
import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import UID

from dicom_node import concepts
from dicom_node.results.equipment import MANUFACTURER, Device, coded, sign
from dicom_node.results.identity import derive_uid
from dicom_node.results.order import attribute_requests
from dicom_node.results.origin import LOSS, hand_on, stamp, without_names
from dicom_node.results.wording import DISCLAIMER
from dicom_node.wire import NODE_MODEL_NAME
from models.registry import ModelIdentity
from pipeline.reading import Reading

SERIES_NUMBER_BASE: Final = 29_000
"""Series of segmentations are numbered 29000 + the source's SeriesNumber."""

SERIES_DESCRIPTION: Final = "COVID-XNet lungs - NOT FOR DIAGNOSIS"

_SIDES: Final[Mapping[str, Code | None]] = {
    "Right lung": concepts.RIGHT,
    "Left lung": concepts.LEFT,
    "Lung": None,
}
_COLOURS: Final = {
    "Right lung": CIELabColor(80, -32, -10),
    "Left lung": CIELabColor(80, -10, -32),
    "Lung": CIELabColor(80, -32, -10),
}


def segmentation(
    header: Dataset,
    reading: Reading,
    *,
    device: Device,
    sop_instance_uid: UID,
    series_instance_uid: UID,
    moment: datetime,
) -> Dataset | None:
    """Outline the lungs, pixel for pixel of the source.

    header: what `origin.carry_over` took from the source. moment: when it was read, on the clock of the source.
    Returns a binary Segmentation with the right and the left lung where the source says which side is which, else
    with the segment "Lung"; None if the node found no lungs, for a segmentation of nothing tells nothing.
    """
    lungs = _lungs(header, reading.lungs)
    if not lungs:
        return None
    masks = [
        cv2.resize(mask.astype(np.float32), (header.Columns, header.Rows), interpolation=cv2.INTER_LINEAR) > 0.5
        for mask in lungs.values()
    ]
    result = Segmentation(
        source_images=[without_names(header)],
        pixel_array=np.stack(masks, axis=-1)[None].astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[
            _description(number, label, reading.model) for number, label in enumerate(lungs, start=1)
        ],
        series_instance_uid=series_instance_uid,
        series_number=SERIES_NUMBER_BASE + (header.SeriesNumber or 0),
        series_description=SERIES_DESCRIPTION,
        sop_instance_uid=sop_instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=NODE_MODEL_NAME,
        software_versions=MANUFACTURER,
        device_serial_number=device.serial_number,
        content_label="LUNGS",
        content_description=f"Lungs. {DISCLAIMER}",
        omit_empty_frames=False,
    )
    hand_on(header, result)
    attribute_requests(header, result)
    if "BodyPartExamined" in header:  # and no Laterality: the segments say which lung is which
        result.BodyPartExamined = header.BodyPartExamined
    sign(result, header, device)
    stamp(result, moment)
    result.ContentDate, result.ContentTime = result.SeriesDate, result.SeriesTime
    result.PatientOrientation = list(header.PatientOrientation) if "PatientOrientation" in header else None
    for keyword in LOSS:
        if keyword in header:
            result[keyword] = header[keyword]
    # highdicom draws this UID by lot; the same reading must give the same bytes.
    dimensions = derive_uid(sop_instance_uid, reading.model.digest, "dimension organization")
    for item in (*result.DimensionOrganizationSequence, *result.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions
    return result


def _lungs(header: Dataset, found: NDArray[np.bool_]) -> Mapping[str, NDArray[np.bool_]]:
    """Masks by the labels of their segments, on the grid of `found`."""
    if not found.any():
        return {}
    count, labels, _, centres = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
    first_side = str(header.PatientOrientation[0])[:1] if "PatientOrientation" in header else ""
    # Two lungs side by side, and a source that says towards which side of the patient its rows run: else the side
    # would be a guess.
    if count != 3 or first_side not in ("L", "R") or abs(centres[1, 0] - centres[2, 0]) < 0.1 * found.shape[1]:
        return {"Lung": found}
    by_column = sorted((1, 2), key=lambda number: float(centres[number, 0]))
    right, left = by_column if first_side == "L" else reversed(by_column)
    return {"Right lung": labels == right, "Left lung": labels == left}


def _description(number: int, label: str, model: ModelIdentity) -> SegmentDescription:
    description = SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=concepts.ANATOMICAL_STRUCTURE,
        segmented_property_type=concepts.LUNG,
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=model.name,
            family=concepts.ARTIFICIAL_INTELLIGENCE,
            version=model.version,
            source=MANUFACTURER,
            parameters={"sha256": model.digest},
        ),
        display_color=_COLOURS[label],
    )
    description.SegmentDescription = f"{label}, as the node found it. {DISCLAIMER}"
    side = _SIDES[label]
    if side is not None:
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [coded(side)]
    return description
