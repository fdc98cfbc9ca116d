"""The only lists of SOP classes, transfer syntaxes and DIMSE status values that the node uses."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dicom_node import __version__

VERIFICATION: Final = UID("1.2.840.10008.1.1")
COMPUTED_RADIOGRAPHY: Final = UID("1.2.840.10008.5.1.4.1.1.1")
DIGITAL_XRAY_FOR_PRESENTATION: Final = UID("1.2.840.10008.5.1.4.1.1.1.1")
DIGITAL_XRAY_FOR_PROCESSING: Final = UID("1.2.840.10008.5.1.4.1.1.1.1.1")
SECONDARY_CAPTURE: Final = UID("1.2.840.10008.5.1.4.1.1.7")
COMPREHENSIVE_SR: Final = UID("1.2.840.10008.5.1.4.1.1.88.33")
COMPREHENSIVE_3D_SR: Final = UID("1.2.840.10008.5.1.4.1.1.88.34")
KEY_OBJECT_SELECTION: Final = UID("1.2.840.10008.5.1.4.1.1.88.59")
SEGMENTATION: Final = UID("1.2.840.10008.5.1.4.1.1.66.4")
PRESENTATION_STATE: Final = UID("1.2.840.10008.5.1.4.1.1.11.1")

STORAGE_COMMITMENT: Final = UID("1.2.840.10008.1.20.1")
"""Storage Commitment Push Model. PS3.4 annex J."""
STORAGE_COMMITMENT_INSTANCE: Final = UID("1.2.840.10008.1.20.1.1")
"""The well-known instance that N-ACTION and N-EVENT-REPORT are about. PS3.4 J.3.5."""
STUDY_ROOT_FIND: Final = UID("1.2.840.10008.5.1.4.1.2.2.1")

RADIOGRAPHS: Final = (COMPUTED_RADIOGRAPHY, DIGITAL_XRAY_FOR_PRESENTATION, DIGITAL_XRAY_FOR_PROCESSING)
"""What the node may read."""

RESULTS: Final = (
    SECONDARY_CAPTURE,
    COMPREHENSIVE_SR,
    COMPREHENSIVE_3D_SR,
    SEGMENTATION,
    PRESENTATION_STATE,
    KEY_OBJECT_SELECTION,
)
"""What the node sends. It also takes these in, so that a routing loop ends in a record and not in a failed job."""

UNCOMPRESSED: Final = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)

TRANSFER_SYNTAXES: Final = (
    *UNCOMPRESSED,
    RLELossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEG2000Lossless,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    HTJ2K,
)
"""What a received object may be encoded in. It is kept as received; a worker decodes it."""

PLAIN: Final = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
"""Transfer syntaxes for what holds no pixels: storage commitment and queries."""
OVERLAY_COMPRESSION: Final[Mapping[str, UID]] = {
    "jpeg-ls": JPEGLSLossless,
    "jpeg-2000": JPEG2000Lossless,
    "rle": RLELossless,
}
"""Transfer syntaxes that an overlay can be offered in, all lossless, by the words of the settings."""

ACCEPTED: Final[Mapping[UID, tuple[UID, ...]]] = {
    VERIFICATION: UNCOMPRESSED,
    **dict.fromkeys(RADIOGRAPHS, TRANSFER_SYNTAXES),
    **dict.fromkeys(RESULTS, UNCOMPRESSED),
    SECONDARY_CAPTURE: (*UNCOMPRESSED, *OVERLAY_COMPRESSION.values()),
}
"""The presentation contexts that the listener accepts: SOP class -> transfer syntaxes."""

NODE_MODEL_NAME: Final = "COVID-XNet node"
"""ManufacturerModelName of what the node makes, also in ContributingEquipmentSequence: how it knows its own."""

IMPLEMENTATION_CLASS_UID: Final = UID("2.25.34611493570622049626149772463477300093")
IMPLEMENTATION_VERSION_NAME: Final = f"COVIDXNET_{__version__}"[:16]
"""What names this software in associations and in file meta information. PS3.7 D.3.3.2: at most 16 characters."""


class StoreStatus(IntEnum):
    """C-STORE status values. Source: PS3.4 table B.2-1, PS3.7 annex C."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    DUPLICATE_SOP_INSTANCE = 0x0111
    OUT_OF_RESOURCES = 0xA700
    DOES_NOT_MATCH_SOP_CLASS = 0xA900
    CANNOT_UNDERSTAND = 0xC000


class CommitmentFailure(IntEnum):
    """Failure Reason (0008,1197) of an object that is not committed. Source: PS3.3 C.14.1.1."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119
    REFERENCED_SOP_CLASS_NOT_SUPPORTED = 0x0122
    DUPLICATE_TRANSACTION_UID = 0x0131
    RESOURCE_LIMITATION = 0x0213


class ReportStatus(IntEnum):
    """What the node answers to N-EVENT-REPORT. Source: PS3.7 10.1.1.1.8."""

    SUCCESS = 0x0000
    NO_SUCH_EVENT_TYPE = 0x0113
    INVALID_ARGUMENT_VALUE = 0x0115
    RESOURCE_LIMITATION = 0x0213
