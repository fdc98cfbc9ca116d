"""What a source says longer or more often than the standard allows: mended where that changes nobody's identity."""

from typing import Final

from pydicom import Dataset, Sequence
from pydicom.datadict import dictionary_VM
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue

from dicom_node.errors import CannotCompose
from dicom_node.results.order import left_out
from dicom_node.results.origin import CARRIED

_LONGEST: Final = {"CS": 16, "SH": 16, "DS": 16, "LO": 64}
"""Characters of a value. PS3.5 table 6.2-1."""

_GROUPS, _COMPONENTS, _LONGEST_GROUP = 3, 5, 64
"""Of a person's name. PS3.5 6.2.1."""

_IDENTITY: Final = ("PatientName", "PatientID", "IssuerOfPatientID")
_EMPTIED: Final = ("AccessionNumber", "StudyID", "ReferringPhysicianName")
"""Type 2: a part of an identifier would name another order, none is honest."""


_TOLD: Final = (*CARRIED, "BodyPartExamined", "Laterality", "PatientOrientation", "PixelSpacing", "SeriesNumber")
"""What some result says as the source says it."""


def hold_to_limits(header: Dataset, source: Dataset) -> tuple[str, ...]:
    """Bring what was carried over within the limits of the standard.

    header: what `origin.carry_over` took from `source`; changed in place.
    Descriptions are cut to the longest that is allowed, numbers of order and study and the referring physician
    become empty: the study is named by its UID. Returns a remark for each attribute that is not as in the source, also
    for what `carry_over` left out; none holds a value.
    Raises CannotCompose for an identity of the patient that cannot be told unchanged.
    """
    remarks = []
    for keyword in [element.keyword for element in header if element.keyword != "SpecificCharacterSet"]:
        if _within(header, keyword) and not (keyword in _IDENTITY and _repeats(source, keyword)):
            continue
        if keyword in _IDENTITY:
            raise CannotCompose(f"The {keyword} of the source is longer or more than the standard allows.")
        element = header[keyword]
        if keyword in _EMPTIED:
            element.value = None
            remarks.append(f"{keyword} of the source is too long and was left empty")
        elif element.VR == "DS":
            del header[keyword]
            remarks.append(f"{keyword} of the source is too long and was left out")
        else:
            values = [str(value)[: _LONGEST[element.VR]] for value in _values(header, keyword)]
            element.value = values[0] if dictionary_VM(element.tag) == "1" else values
            remarks.append(f"{keyword} of the source is too long and was cut")
    remarks += [
        f"{keyword} of the source is in small letters and was put into capitals"
        for keyword in _TOLD
        if keyword in header
        and header[keyword].VR == "CS"
        and keyword != "SpecificCharacterSet"
        and _small(source, keyword)
    ]
    missing = [keyword for keyword in _TOLD if _told(source, keyword) and not _told(header, keyword)]
    emptied = [remark.split()[0] for remark in remarks]
    remarks += [f"{k} of the source is not valid and was left out" for k in missing if k not in emptied]
    remarks += [f"{k} of the source is not all valid and was left out in part" for k in left_out(source, header)]
    if "AccessionNumber" in emptied and "IssuerOfAccessionNumberSequence" in header:
        del header.IssuerOfAccessionNumberSequence  # it would be the issuer of nothing
    if any(_has_other_bytes(source, keyword) for keyword in CARRIED):
        remarks.append("SpecificCharacterSet of the source is not that of its texts, which were read as ISO 8859-1")
    return tuple(remarks)


def _values(dataset: Dataset, keyword: str) -> list[object]:
    value = dataset[keyword].value
    return list(value) if isinstance(value, MultiValue | list) else [value]


def _within(header: Dataset, keyword: str) -> bool:
    element, values = header[keyword], _values(header, keyword)
    if len(values) > 1 and dictionary_VM(element.tag) == "1":
        return False
    if element.VR == "PN":
        groups = str(element.value or "").split("=")
        return len(groups) <= _GROUPS and all(
            len(group) <= _LONGEST_GROUP and group.count("^") < _COMPONENTS for group in groups
        )
    return all(len(str(value or "")) <= _LONGEST.get(element.VR, len(str(value or ""))) for value in values)


def _repeats(source: Dataset, keyword: str) -> bool:
    return keyword in source and len(_values(source, keyword)) > 1


def _small(source: Dataset, keyword: str) -> bool:
    value = source.get(keyword)
    return isinstance(value, str) and value.upper() != value


def _has_other_bytes(source: Dataset, keyword: str) -> bool:
    """Whether a text holds bytes that are not in the character set that the source declares."""
    try:
        return keyword in source and "\ufffd" in str(source[keyword].value)
    except (ValueError, TypeError, OverflowError, BytesLengthException):
        return False  # no text


def _told(dataset: Dataset, keyword: str) -> bool:
    try:
        value = dataset.get(keyword)
    except (ValueError, TypeError, OverflowError, BytesLengthException):
        return True  # there are bytes, though they are none of its VR
    if isinstance(value, Sequence):
        return False  # `order.left_out` looks into them
    return value is not None and str(value).strip() != ""
