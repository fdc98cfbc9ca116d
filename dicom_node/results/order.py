"""The order that a radiograph was made for, and who issued its identifiers, as far as the source says so validly."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

from pydicom import Dataset
from pydicom import Sequence as Items
from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_VR
from pydicom.uid import UID

from dicom_node.results.values import raw_value, valid_value

_LONGEST: Final = {"SH": 16, "CS": 16, "LO": 64, "LT": 10240, "UI": 64}
"""Characters of a value. PS3.5 table 6.2-1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Macro:
    """What an item of a sequence may hold, and without what it says nothing. most: items."""

    texts: tuple[str, ...] = ()
    sequences: Mapping[str, "_Macro"] = field(default_factory=dict)
    complete: Callable[[Dataset], bool] = bool
    most: int = 100


def _is_code(item: Dataset) -> bool:
    named = ("CodeValue" in item or "LongCodeValue" in item) and "CodingSchemeDesignator" in item
    return "CodeMeaning" in item and (named or "URNCodeValue" in item)


def _names_issuer(item: Dataset) -> bool:
    universal = "UniversalEntityID" in item and "UniversalEntityIDType" in item
    return universal or ("LocalNamespaceEntityID" in item and "UniversalEntityID" not in item)


def _names_request(item: Dataset) -> bool:
    return "RequestedProcedureID" in item or "AccessionNumber" in item


_ISSUER: Final = _Macro(  # PS3.3 table 10-17, HL7v2 Hierarchic Designator
    texts=("LocalNamespaceEntityID", "UniversalEntityID", "UniversalEntityIDType"), complete=_names_issuer, most=1
)
_CODE: Final = _Macro(  # PS3.3 table 8.8-1a
    texts=(
        "CodeValue",
        "LongCodeValue",
        "URNCodeValue",
        "CodingSchemeDesignator",
        "CodingSchemeVersion",
        "CodeMeaning",
    ),
    complete=_is_code,
)
_CARRIED: Final[Mapping[str, _Macro]] = {
    "IssuerOfPatientIDQualifiersSequence": _Macro(  # PS3.3 table 10-18
        texts=("UniversalEntityID", "UniversalEntityIDType", "IdentifierTypeCode"),
        sequences={"AssigningFacilitySequence": _ISSUER},
        most=1,
    ),
    "IssuerOfAccessionNumberSequence": _ISSUER,  # PS3.3 C.7.2.1
    "ProcedureCodeSequence": _CODE,  # PS3.3 C.7.2.1
    "RequestAttributesSequence": _Macro(  # PS3.3 table 10-9
        texts=(
            "RequestedProcedureID",
            "AccessionNumber",
            "StudyInstanceUID",
            "RequestedProcedureDescription",
            "ReasonForTheRequestedProcedure",
            "ScheduledProcedureStepID",
            "ScheduledProcedureStepDescription",
        ),
        sequences={
            "IssuerOfAccessionNumberSequence": _ISSUER,
            "RequestedProcedureCodeSequence": _CODE,
            "ReasonForRequestedProcedureCodeSequence": _CODE,
            "ScheduledProtocolCodeSequence": _CODE,
        },
        complete=_names_request,
    ),
}

_OF_A_REQUEST: Final = (
    "IssuerOfAccessionNumberSequence",
    "ReasonForTheRequestedProcedure",
    "ReasonForRequestedProcedureCodeSequence",
)
"""What an item of RequestAttributesSequence and one of ReferencedRequestSequence both hold if it is known."""


def carry_order(source: Dataset, header: Dataset) -> None:
    """Copy into `header` from `source` the issuers, procedure codes and requests, each item whole and valid or not.

    A value that is too long or not valid is left out, and an item that says nothing without it; private and unknown
    attributes stay behind.
    """
    encodings = convert_encodings(raw_value(source, "SpecificCharacterSet"))
    for keyword, macro in _CARRIED.items():
        if items := _items(source, keyword, macro, encodings):
            setattr(header, keyword, items)


def left_out(source: Dataset, header: Dataset) -> list[str]:
    """Keywords of the sequences that the header tells less of than the source."""
    return [
        keyword for keyword, macro in _CARRIED.items() if _told(header, keyword, macro) < _told(source, keyword, macro)
    ]


def attribute_requests(header: Dataset, result: Dataset) -> None:
    """Say in the series of an image or presentation state which requests it belongs to. PS3.3 C.7.3.1."""
    if "RequestAttributesSequence" in header:
        result.RequestAttributesSequence = deepcopy(header.RequestAttributesSequence)


def refer_to_requests(header: Dataset, document: Dataset) -> None:
    """Say in a report or key object which requests it fulfils. PS3.3 C.17.2, C.17.6.2."""
    if requests := header.get("RequestAttributesSequence"):
        document.ReferencedRequestSequence = [_reference(request, header) for request in requests]


def _reference(request: Dataset, header: Dataset) -> Dataset:
    item = Dataset()
    item.StudyInstanceUID = request.get("StudyInstanceUID", header.StudyInstanceUID)
    item.ReferencedStudySequence = []
    own = "AccessionNumber" in request
    item.AccessionNumber = request.AccessionNumber if own else header.AccessionNumber
    if not own and "IssuerOfAccessionNumberSequence" in header:
        item.IssuerOfAccessionNumberSequence = deepcopy(header.IssuerOfAccessionNumberSequence)
    item.PlacerOrderNumberImagingServiceRequest = item.FillerOrderNumberImagingServiceRequest = None
    item.RequestedProcedureID = request.get("RequestedProcedureID")
    item.RequestedProcedureDescription = request.get("RequestedProcedureDescription")
    item.RequestedProcedureCodeSequence = deepcopy(request.get("RequestedProcedureCodeSequence", []))
    for keyword in _OF_A_REQUEST:
        if keyword in request:
            item[keyword] = deepcopy(request[keyword])
    return item


def _items(source: Dataset, keyword: str, macro: _Macro, encodings: Sequence[str]) -> list[Dataset]:
    found = (_item(item, macro, encodings) for item in _sequence(source, keyword))
    return [item for item in found if macro.complete(item)][: macro.most]


def _item(source: Dataset, macro: _Macro, encodings: Sequence[str]) -> Dataset:
    if own := raw_value(source, "SpecificCharacterSet"):
        encodings = convert_encodings(own)
    item = Dataset()
    for keyword in macro.texts:
        value = valid_value(source, keyword, encodings)
        if isinstance(value, str) and value and _fits(keyword, value):
            setattr(item, keyword, value)
    for keyword, inner in macro.sequences.items():
        if items := _items(source, keyword, inner, encodings):
            setattr(item, keyword, items)
    return item


def _fits(keyword: str, value: str) -> bool:
    vr = dictionary_VR(keyword)
    return len(value) <= _LONGEST.get(vr, len(value)) and (vr != "UI" or UID(value).is_valid)


def _told(dataset: Dataset, keyword: str, macro: _Macro) -> int:
    """How many values of the macro stand in the items of a sequence."""
    told = 0
    for item in _sequence(dataset, keyword):
        told += sum(raw_value(item, text) not in (None, "") for text in macro.texts)
        told += sum(_told(item, inner, parts) for inner, parts in macro.sequences.items())
    return told


def _sequence(dataset: Dataset, keyword: str) -> Items | list[Any]:
    value = raw_value(dataset, keyword)
    return value if isinstance(value, Items) else []
