"""One value of a source as it is meant: decoded, without what no text may hold, or nothing if it is not valid."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Final

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue

_VALID: Final = {
    # PS3.5 table 6.2-1 and the enumerated values of PS3.3; what does not match says nothing and is left out.
    "PatientBirthDate": r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])",
    "StudyDate": r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])",
    "StudyTime": r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?",
    "PatientSex": r"[MFO]",
    "PatientAge": r"\d{3}[DWMY]",
    "PatientSize": r"[+-]?\d+(\.\d*)?",
    "PatientWeight": r"[+-]?\d+(\.\d*)?",
    "PatientIdentityRemoved": r"YES|NO",
    "TypeOfPatientID": r"[A-Z0-9_ ]{1,16}",
    "IdentifierTypeCode": r"[A-Z0-9_ ]{1,16}",
    "UniversalEntityIDType": r"DNS|EUI64|ISO|URI|UUID|X400|X500",
    "BodyPartExamined": r"[A-Z0-9_ ]{1,16}",
    "Laterality": r"[LR]",
    "TimezoneOffsetFromUTC": r"[+-](0\d|1[0-4])[0-5]\d",
    "LossyImageCompression": r"0[01]",
    "LossyImageCompressionRatio": r"\d+(\.\d*)?",
}


def raw_value(source: Dataset, keyword: str) -> Any:
    """Value of an attribute; None if it is missing or its bytes are none of its VR, such as letters in a number."""
    try:
        return source.get(keyword)
    except (ValueError, TypeError, OverflowError, BytesLengthException):
        return None


def valid_value(source: Dataset, keyword: str, encodings: Sequence[str]) -> Any:
    """Text or texts of an attribute, decoded with `encodings`, Python's names; None if it is missing or not valid."""
    tag = tag_for_keyword(keyword)
    assert tag is not None  # `keyword` is a literal of this room
    element = source.get_item(tag)
    if element is None:
        return None
    if dictionary_VR(tag) == "DS":
        value = _texts(raw_value(source, keyword))
    elif isinstance(element, RawDataElement):
        value = _texts(convert_raw_data_element(element, encoding=list(encodings), ds=source).value)
        if "\ufffd" in str(value):
            # The bytes are not in the character set that the source names. Latin-1 is what such modalities mean, and
            # it loses no byte.
            value = _texts(convert_raw_data_element(element, encoding=["latin-1"], ds=source).value)
    else:
        value = _texts(element.value)
    if isinstance(value, list) and keyword in ("PatientName", "PatientID", "ReferringPhysicianName"):
        value = "" if not value else value[0]
    pattern = _VALID.get(keyword)
    if pattern is None or re.fullmatch(pattern, str(value)):
        return value
    # PS3.5 table 6.2-1: a code string has no small letters, so that there is no doubt what they mean.
    capitals = str(value).upper()
    return capitals if dictionary_VR(tag) == "CS" and re.fullmatch(pattern, capitals) else None


def positive_pair(value: Any) -> list[float] | None:
    """Two positive numbers, such as a spacing, or None."""
    if not isinstance(value, MultiValue | list) or len(value) != 2:
        return None
    try:
        numbers = [float(part) for part in value]
    except (TypeError, ValueError):
        return None
    return numbers if all(0 < n < 1e6 for n in numbers) else None


def _texts(value: Any) -> str | list[str]:
    if isinstance(value, MultiValue | list):
        return [_text(part) for part in value]
    return _text(value)


def _text(value: Any) -> str:
    text = "" if value is None else str(value)
    # Control characters are in no text that is carried over (PS3.5 6.1.3); what is left of a bad escape sequence goes.
    return "".join(c for c in text if unicodedata.category(c) != "Cc").rstrip(" ")
