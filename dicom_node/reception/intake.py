"""The gate: which objects are radiographs that the node reads. Pure: a header in, a verdict out."""

from typing import Final

from pydicom import Dataset

from dicom_node.reception.anatomy import Chest, chest
from dicom_node.reception.attributes import items, number, text, texts
from dicom_node.reception.projection import Opinion, Side, opinions
from dicom_node.settings import Settings
from dicom_node.verdict import Accepted as Accepted
from dicom_node.verdict import Flag as Flag
from dicom_node.verdict import Reason as Reason
from dicom_node.verdict import Refused as Refused
from dicom_node.verdict import View as View
from dicom_node.wire import DIGITAL_XRAY_FOR_PROCESSING, NODE_MODEL_NAME, RADIOGRAPHS

_RESULT_WORDS: Final = ("CAPTURE", "SCREEN SAVE", "CAD", "OVERLAY", "HEATMAP", "HEAT MAP", "SALIENCY", "SEGMENTATION")
"""In ImageType from the third value on: not what the detector saw, but what a program drew."""

_VIEW_OF: Final = {Side.PA: View.PA, Side.AP: View.AP, Side.FRONTAL: View.FRONTAL}


def judge(header: Dataset, settings: Settings) -> Accepted | Refused:
    """Decide whether the node reads the object with this header. Never raises, whatever the header holds.

    header: a data set as received, with or without its pixel data.
    The first reason of the order below stands: own result, SOP class, derived result, frames, colour, size, body
    part, view. Attributes that contradict each other on the view are resolved by `projection.opinions`, and flagged.
    """
    return _refuse_by_kind(header, settings) or _refuse_by_shape(header, settings) or _judge_content(header)


def _refuse_by_kind(header: Dataset, settings: Settings) -> Refused | None:
    equipment = (header, *items(header, "ContributingEquipmentSequence"))
    if any(text(item, "ManufacturerModelName") == NODE_MODEL_NAME for item in equipment):
        return Refused(reason=Reason.OWN_RESULT, detail="Its equipment is this node's.")
    sop_class = text(header, "SOPClassUID")
    if sop_class not in RADIOGRAPHS:
        return Refused(reason=Reason.NOT_A_RADIOGRAPH, detail="Its SOP class is neither CR nor DX.")
    if sop_class == DIGITAL_XRAY_FOR_PROCESSING and not settings.read_for_processing:
        return Refused(reason=Reason.FOR_PROCESSING, detail="It is meant for processing; read_for_processing is off.")
    if _is_secondary(header) and _is_drawn(header):
        return Refused(reason=Reason.DERIVED, detail="ImageType and its attributes mark a secondary, drawn image.")
    return None


def _is_secondary(header: Dataset) -> bool:
    return [value.upper() for value in texts(header, "ImageType")[:2]] == ["DERIVED", "SECONDARY"]


def _is_drawn(header: Dataset) -> bool:
    # DERIVED alone means nothing here: CR and DX readers write it for every image that they processed for viewing.
    kinds = " ".join(texts(header, "ImageType")[2:]).upper().replace("_", " ")
    return (
        text(header, "ConversionType") != ""
        or text(header, "BurnedInAnnotation").upper() == "YES"
        or any(f" {word} " in f" {kinds} " for word in _RESULT_WORDS)
    )


def _refuse_by_shape(header: Dataset, settings: Settings) -> Refused | None:
    frames = number(header, "NumberOfFrames")
    if frames is not None and frames > 1:
        return Refused(reason=Reason.MULTI_FRAME, detail=f"It has {frames} frames.")
    samples = number(header, "SamplesPerPixel")
    photometric = text(header, "PhotometricInterpretation")
    if samples not in (None, 1) or (photometric and not photometric.startswith("MONOCHROME")):
        return Refused(reason=Reason.NOT_GREYSCALE, detail="It is not one sample of greyscale per pixel.")
    rows, columns = number(header, "Rows") or 0, number(header, "Columns") or 0
    if min(rows, columns) < settings.minimum_side:
        return Refused(reason=Reason.TOO_SMALL, detail=f"It has {rows} x {columns} pixels.")
    return None


def _judge_content(header: Dataset) -> Accepted | Refused:
    body_part = chest(header)
    if body_part.answer is Chest.NO:
        return Refused(reason=Reason.NOT_CHEST, detail=f"{body_part.attribute} names another part of the body.")
    flags = [Flag.BODY_PART_UNKNOWN] if body_part.answer is Chest.UNKNOWN else []
    if _is_secondary(header):
        flags.append(Flag.DERIVED)
    told = opinions(header)
    if not told:
        return Accepted(view=View.UNKNOWN, evidence="", flags=(*flags, Flag.VIEW_UNKNOWN))
    first, *others = told
    against = [str(other) for other in others if other.side.contradicts(first.side)]
    if first.side in (Side.LATERAL, Side.OBLIQUE):
        return Refused(
            reason=Reason.LATERAL if first.side is Side.LATERAL else Reason.OBLIQUE, detail=_detail(first, against)
        )
    if against:
        flags.append(Flag.VIEW_CONTRADICTED)
    return Accepted(view=_VIEW_OF[first.side], evidence=_evidence(first, against), flags=tuple(flags))


def _evidence(first: Opinion, against: list[str]) -> str:
    return f"{first}, against {', '.join(against)}" if against else str(first)


def _detail(first: Opinion, against: list[str]) -> str:
    return f"{_evidence(first, against)}."
