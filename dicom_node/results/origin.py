"""What a result takes over from its source: patient, study and order, in one character set, and only what is valid."""

import re
from copy import deepcopy
from datetime import datetime, timedelta, timezone
from typing import Final

from pydicom import Dataset
from pydicom.charset import convert_encodings
from pydicom.multival import MultiValue
from pydicom.uid import HTJ2K, JPEG2000, UID, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from dicom_node.errors import CannotCompose
from dicom_node.results.order import carry_order
from dicom_node.results.values import positive_pair, raw_value, valid_value
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
    "IssuerOfPatientIDQualifiersSequence",
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
    "ProcedureCodeSequence",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
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
        uid = UID(str(raw_value(source, keyword) or "").strip())
        if not uid.is_valid:
            raise CannotCompose(f"The source has no valid {keyword}; nothing can refer to it.")
        setattr(header, keyword, uid)
    if header.SOPClassUID not in (*RADIOGRAPHS, SECONDARY_CAPTURE):
        raise CannotCompose("The source is not of a SOP class that results can refer to.")
    for keyword in ("Rows", "Columns"):
        value = raw_value(source, keyword)
        if not isinstance(value, int) or value < 1:
            raise CannotCompose(f"The source has no valid {keyword}.")
        setattr(header, keyword, value)

    encodings = convert_encodings(raw_value(source, "SpecificCharacterSet"))
    for keyword in (*_EMPTY_IF_MISSING, *_IF_PRESENT):
        value = valid_value(source, keyword, encodings)
        if value not in (None, "", []):
            setattr(header, keyword, value)
        elif keyword in _EMPTY_IF_MISSING:
            setattr(header, keyword, None)
    for keyword in ("SeriesNumber", "InstanceNumber"):
        number = raw_value(source, keyword)
        setattr(header, keyword, number if isinstance(number, int) and 0 <= number < 1_000_000 else None)
    carry_order(source, header)
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
            result[keyword] = deepcopy(header[keyword])


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


def _carry_geometry(source: Dataset, header: Dataset) -> None:
    orientation = raw_value(source, "PatientOrientation")
    if (
        isinstance(orientation, MultiValue | list)
        and len(orientation) == 2
        and all(_BIPED.fullmatch(str(part)) for part in orientation)
    ):
        header.PatientOrientation = [str(part) for part in orientation]
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        if numbers := positive_pair(raw_value(source, keyword)):
            setattr(header, keyword, [f"{n:.10g}" for n in numbers])
    calibration = raw_value(source, "PixelSpacingCalibrationType")
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
