"""What was made of a radiograph, on disk: where, and a structured report as a tree of names and values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread

from dicom_node.destination import ResultKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One content item. Source: PS3.3 C.17.3."""

    name: str
    value: str
    items: tuple["Item", ...]


def report_file(folder: Path) -> Path | None:
    """The report among the results in `folder`, if there is one."""
    return next(iter(sorted(folder.glob(f"{ResultKind.REPORT}-*.dcm"))), None)


def overlay_file(folder: Path) -> Path | None:
    """The overlay among the results in `folder`, if there is one."""
    return next(iter(sorted(folder.glob(f"{ResultKind.OVERLAY}-*.dcm"))), None)


def contents(path: Path) -> Item:
    """The content tree of a report. Raises OSError."""
    return _item(dcmread(path, stop_before_pixels=True))


def _item(item: Dataset) -> Item:
    children = item.get("ContentSequence") or ()
    return Item(
        name=_meaning(item.get("ConceptNameCodeSequence")),
        value=_value(item),
        items=tuple(_item(child) for child in children),
    )


def _meaning(codes: Any) -> str:
    return str(codes[0].CodeMeaning) if codes else ""


def _value(item: Dataset) -> str:
    match item.get("ValueType"):
        case "CODE":
            return _meaning(item.get("ConceptCodeSequence"))
        case "NUM":
            measured = item.get("MeasuredValueSequence")
            return (
                ""
                if not measured
                else f"{measured[0].NumericValue} {_meaning(measured[0].MeasurementUnitsCodeSequence)}"
            )
        case "TEXT":
            return str(item.get("TextValue", ""))
        case "UIDREF":
            return str(item.get("UID", ""))
        case "IMAGE":
            return f"image {item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID}"
        case "SCOORD":
            return f"{item.GraphicType.lower()} of {len(item.GraphicData) // 2} points"
        case "DATETIME" | "DATE" | "TIME" as kind:
            return str(item.get({"DATETIME": "DateTime", "DATE": "Date", "TIME": "Time"}[str(kind)], ""))
        case _:
            return ""
