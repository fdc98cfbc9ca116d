"""What a result takes over from its source: patient, study and order, in one character set, and only what is valid."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from pydicom import Dataset
from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.uid import HTJ2K, JPEG2000, UID, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from dicom_node.errors import CannotCompose
from dicom_node.wire import RADIOGRAPHS, SECONDARY_CAPTURE

CHARACTER_SET: Final = "ISO_IR 192"
"""UTF-8 holds every name of every source. PS3.3 C.12.1.1.2."""

_UNPAIRED: Final = ("CHEST", "THORAX")
"""Body parts of which Laterality shall not be told. PS3.3 C.7.3.1, type 2C: else it is there, empty if unknown."""

CARRIED: Final = (
    "SpecificCharacterSet",
    "TimezoneOffsetFromUTC",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "TypeOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "InstitutionName",
    "InstitutionalDepartmentName",
)

LOSS: Final = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
"""Attributes of an image that was made from a lossy one. PS3.3 C.7.6.1.1.5."""

_NAMES: Final = ("PatientName", "ReferringPhysicianName")

_EMPTY_IF_MISSING: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Type 2 of the modules Patient and General Study: always there, perhaps empty. PS3.3 C.7.1.1, C.7.2.1."""

_IF_PRESENT: Final = (
    "IssuerOfPatientID",
    "TypeOfPatientID",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "StudyDescription",
    "InstitutionName",
    "InstitutionalDepartmentName",
    "StationName",
    "BodyPartExamined",
    "Laterality",
    "TimezoneOffsetFromUTC",
    "Manufacturer",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)

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
    "BodyPartExamined": r"[A-Z0-9_ ]{1,16}",
    "Laterality": r"[LR]",
    "TimezoneOffsetFromUTC": r"[+-](0\d|1[0-4])[0-5]\d",
    "LossyImageCompression": r"0[01]",
    "LossyImageCompressionRatio": r"\d+(\.\d*)?",
}

_LOSSY: Final = {
    # PS3.3 C.7.6.1.1.5.1, Lossy Image Compression Method.
    JPEGBaseline8Bit: "ISO_10918_1",
    JPEGExtended12Bit: "ISO_10918_1",
    JPEGLSNearLossless: "ISO_14495_1",
    JPEG2000: "ISO_15444_1",
    HTJ2K: "ISO_15444_15",
}
_BIPED: Final = re.compile(r"[APRLHF]{1,3}")


def carry_over(source: Dataset) -> Dataset:
    """Build the header that results start from.

    source: the radiograph as received; pixels are not needed.
    Returns a data set in `CHARACTER_SET` with the UIDs, SOP class, Rows and Columns of the source, and of patient,
    study, order, institution, acquisition equipment, orientation, spacing and lossy compression what is there and
    valid: a patient's sex of "U" and a birth date that is none become empty, identifiers and names stay as they are.
    Raises CannotCompose if a UID is missing or invalid, the SOP class is not that of a radiograph, or the size is
    missing, for then no valid object can refer to the source.
    """
    header = Dataset()
    header.SpecificCharacterSet = CHARACTER_SET
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"):
        uid = UID(str(_get(source, keyword) or "").strip())
        if not uid.is_valid:
            raise CannotCompose(f"The source has no valid {keyword}; nothing can refer to it.")
        setattr(header, keyword, uid)
    if header.SOPClassUID not in (*RADIOGRAPHS, SECONDARY_CAPTURE):
        raise CannotCompose("The source is not of a SOP class that results can refer to.")
    for keyword in ("Rows", "Columns"):
        value = _get(source, keyword)
        if not isinstance(value, int) or value < 1:
            raise CannotCompose(f"The source has no valid {keyword}.")
        setattr(header, keyword, value)

    encodings = convert_encodings(_get(source, "SpecificCharacterSet"))
    for keyword in (*_EMPTY_IF_MISSING, *_IF_PRESENT):
        value = _value(source, keyword, encodings)
        if value not in (None, "", []):
            setattr(header, keyword, value)
        elif keyword in _EMPTY_IF_MISSING:
            setattr(header, keyword, None)
    number = _get(source, "SeriesNumber")
    header.SeriesNumber = number if isinstance(number, int) and 0 <= number < 1_000_000 else None
    _carry_geometry(source, header)
    _carry_loss(source, header)
    return header


def without_names(header: Dataset) -> Dataset:
    """Copy `header`, for highdicom: it quotes a person's name that it finds odd in a warning, and so in a log."""
    nameless = Dataset()
    nameless.update({element.tag: element for element in header if element.keyword not in _NAMES})
    for keyword in _NAMES:
        setattr(nameless, keyword, None)
    return nameless


def hand_on(header: Dataset, result: Dataset) -> None:
    """Write patient, study, order and institution of `header` into `result`, which lies in its study."""
    for keyword in CARRIED:
        if keyword in header:
            result[keyword] = header[keyword]


def hand_on_anatomy(header: Dataset, image: Dataset) -> None:
    """Write body part and laterality of `header` into `image`; documents have neither. PS3.3 C.7.3.1."""
    if "BodyPartExamined" in header:
        image.BodyPartExamined = header.BodyPartExamined
    if image.get("BodyPartExamined") not in _UNPAIRED:
        image.Laterality = header.get("Laterality")


def stamp(result: Dataset, moment: datetime) -> None:
    """Date the series and the instance of `result`; moment: on the clock of the source."""
    result.SeriesDate = result.InstanceCreationDate = moment.strftime("%Y%m%d")
    result.SeriesTime = result.InstanceCreationTime = moment.strftime("%H%M%S.%f")


def local_time(header: Dataset, moment: datetime) -> datetime:
    """`moment` on the clock of the source: its TimezoneOffsetFromUTC if it has one, else of this machine."""
    offset = header.get("TimezoneOffsetFromUTC")
    if not offset:
        return moment.astimezone()
    minutes = int(offset[1:3]) * 60 + int(offset[3:5])
    return moment.astimezone(timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)))


def _get(source: Dataset, keyword: str) -> Any:
    """Value of an attribute; None if it is missing or its bytes are none of its VR, such as letters in a number."""
    try:
        return source.get(keyword)
    except (ValueError, TypeError, OverflowError, BytesLengthException):
        return None


def _value(source: Dataset, keyword: str, encodings: Sequence[str]) -> Any:
    tag = tag_for_keyword(keyword)
    assert tag is not None  # `keyword` is a literal of this module
    element = source.get_item(tag)
    if element is None:
        return None
    if dictionary_VR(tag) == "DS":
        value = _texts(_get(source, keyword))
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


def _texts(value: Any) -> str | list[str]:
    if isinstance(value, MultiValue | list):
        return [_text(part) for part in value]
    return _text(value)


def _text(value: Any) -> str:
    text = "" if value is None else str(value)
    # Control characters are in no text that is carried over (PS3.5 6.1.3); what is left of a bad escape sequence goes.
    return "".join(c for c in text if unicodedata.category(c) != "Cc").rstrip(" ")


def _numbers(value: Any) -> list[float] | None:
    """Two positive numbers, such as a spacing, or None."""
    if not isinstance(value, MultiValue | list) or len(value) != 2:
        return None
    try:
        numbers = [float(part) for part in value]
    except (TypeError, ValueError):
        return None
    return numbers if all(0 < n < 1e6 for n in numbers) else None


def _carry_geometry(source: Dataset, header: Dataset) -> None:
    orientation = _get(source, "PatientOrientation")
    if (
        isinstance(orientation, MultiValue | list)
        and len(orientation) == 2
        and all(_BIPED.fullmatch(str(part)) for part in orientation)
    ):
        header.PatientOrientation = [str(part) for part in orientation]
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        if numbers := _numbers(_get(source, keyword)):
            setattr(header, keyword, [f"{n:.10g}" for n in numbers])
    calibration = _get(source, "PixelSpacingCalibrationType")
    if "PixelSpacing" in header and calibration in ("GEOMETRY", "FIDUCIAL"):
        header.PixelSpacingCalibrationType = calibration
        header.PixelSpacingCalibrationDescription = calibration


def _carry_loss(source: Dataset, header: Dataset) -> None:
    syntax = source.file_meta.get("TransferSyntaxUID") if hasattr(source, "file_meta") else None
    if syntax in _LOSSY and "LossyImageCompression" not in header:
        header.LossyImageCompression = "01"
        header.LossyImageCompressionMethod = _LOSSY[syntax]
    if header.get("LossyImageCompression") != "01":
        for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if keyword in header:
                delattr(header, keyword)
