"""Unique identifiers of results: derived, so that a step that runs twice makes the same object and not a second one."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Final

from pydicom.uid import UID

from dicom_node.destination import OverlayLayout, OverlaySize, ReportClass, ResultChoice, ResultKind

_NAMESPACE: Final = uuid.UUID("5d0f7bbd-6c53-4f0c-9d6e-3f0b7f1f2a61")


def _from_name(*parts: str) -> UID:
    # The separator cannot occur in a part, so that no two lists of parts give one name.
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, chr(0).join(parts)).int}")


def derive_uid(journey: str, maker: str, kind: str) -> UID:
    """Name one thing that a reading brings forth.

    journey: id of the radiograph's journey. maker: who reads it, `Device.maker`.
    kind: what is named, such as "overlay" or "overlay series".
    Returns a UID under 2.25, at most 44 characters, always the same for the same arguments.
    Source: PS3.5 B.2 (UID from a UUID); RFC 9562, section 5.5 (UUID version 5).
    """
    return _from_name("result", journey, maker, kind)


def forms_of(choice: ResultChoice, character_set: Sequence[str]) -> Mapping[ResultKind, str]:
    """Name the form that each kind of result has for `choice`, for `derive_uid`.

    Results that differ must not share a UID, and a form that two destinations share must be one object: each name
    tells what the object depends on, and nothing else. The plainest form has the name of its kind.
    character_set: of SpecificCharacterSet, as it is written.
    """
    texts = [] if list(character_set) == ["ISO_IR 192"] else ["in", *(part or "ISO_IR 6" for part in character_set)]
    layout = [choice.overlay_layout.value] if choice.overlay_layout is not OverlayLayout.OVERLAY else []
    size = [choice.overlay_size.value] if choice.overlay_size is not OverlaySize.FULL else []
    sop_class = [choice.report_class.value] if choice.report_class is not ReportClass.COMPREHENSIVE_3D else []
    # The report refers to the overlay that goes along, the key object to both: their forms are in its own.
    shown = [*layout, *size] if ResultKind.OVERLAY in choice.objects else ["alone"]
    unreported = [] if ResultKind.REPORT in choice.objects else ["unreported"]
    words = {
        ResultKind.OVERLAY: [*layout, *size],
        ResultKind.REPORT: [*sop_class, *shown],
        ResultKind.KEY_OBJECT: [*sop_class, *shown, *unreported],
    }
    return {kind: " ".join([kind.value, *words.get(kind, []), *texts]) for kind in ResultKind}


def failure_form_of(choice: ResultChoice, character_set: Sequence[str], reason: str) -> str:
    """Name the report that says why a radiograph could not be read; each reason has its own."""
    return f"failure {choice.report_class.value} {' '.join(character_set)} {reason}"


def derive_device_uid(device: str) -> UID:
    """Name the device that reads by what tells it from others, such as the id of a node. PS3.3 C.7.5.1, DeviceUID."""
    return _from_name("device", device)
