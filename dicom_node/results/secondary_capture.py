"""The overlay as a Secondary Capture in the study of its source. PS3.3 A.8.1."""

from datetime import datetime
from typing import Final

import numpy as np
from highdicom.sc import SCImage
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicom_node.destination import OverlayLayout
from dicom_node.results.equipment import MANUFACTURER, Device, reference_to, sign
from dicom_node.results.order import attribute_requests
from dicom_node.results.origin import LOSS, hand_on, hand_on_anatomy
from dicom_node.results.wording import DISCLAIMER
from dicom_node.wire import NODE_MODEL_NAME

SERIES_NUMBER_BASE: Final = 9_000
"""Series of overlays are numbered 9000 + the source's SeriesNumber: after the modality's own, and never equal to it."""

SERIES_DESCRIPTION: Final = "COVID-XNet overlay - NOT FOR DIAGNOSIS"

_SHOWS: Final = {
    OverlayLayout.OVERLAY: "",
    OverlayLayout.SIDE_BY_SIDE: "On the left the radiograph; on the right: ",
}


def secondary_capture(
    header: Dataset,
    overlay: NDArray[np.uint8],
    *,
    layout: OverlayLayout,
    enlargement: tuple[float, float],
    device: Device,
    sop_instance_uid: UID,
    series_instance_uid: UID,
    moment: datetime,
) -> Dataset:
    """Put `overlay` into the study of its source.

    header: what `origin.carry_over` took from the source.
    overlay: uint8 (H, W, 3), RGB, with burned-in text.
    layout: what it shows. enlargement: pixels of the overlay for one pixel of the source, vertically and horizontally.
    moment: when it was read, on the clock of the source.
    Returns a Secondary Capture Image (PS3.3 A.8.1), explicit VR little endian, with all that its modules ask for.
    """
    image = SCImage(
        # highdicom would copy the pixels twice; those of the overlay follow below.
        pixel_array=overlay[:1, :1],
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        # The constructor insists; the true value, perhaps unknown, is set below. PS3.3 C.7.6.1: type 2C.
        patient_orientation=("L", "F"),
        study_instance_uid=header.StudyInstanceUID,
        series_instance_uid=series_instance_uid,
        series_number=SERIES_NUMBER_BASE + (header.SeriesNumber or 0),
        series_description=SERIES_DESCRIPTION,
        sop_instance_uid=sop_instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        content_date=moment.date(),
        content_time=moment.time(),
        series_date=moment.date(),
        series_time=moment.time(),
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    image.Rows, image.Columns = overlay.shape[:2]
    image.PixelData = overlay.tobytes() + b"\0" * (overlay.size % 2)
    hand_on(header, image)
    hand_on_anatomy(header, image)
    attribute_requests(header, image)
    for keyword in LOSS:
        if keyword in header:
            image[keyword] = header[keyword]
    sign(image, header, device)
    image.InstanceCreationDate, image.InstanceCreationTime = image.ContentDate, image.ContentTime
    image.DateOfSecondaryCapture, image.TimeOfSecondaryCapture = image.ContentDate, image.ContentTime
    image.ConversionType = "WSD"
    image.SecondaryCaptureDeviceManufacturer = MANUFACTURER
    image.SecondaryCaptureDeviceManufacturerModelName = NODE_MODEL_NAME
    image.SecondaryCaptureDeviceSoftwareVersions = device.software_versions
    image.ImageType = ["DERIVED", "SECONDARY"]
    image.PatientOrientation = list(header.PatientOrientation) if "PatientOrientation" in header else None
    image.BurnedInAnnotation, image.RecognizableVisualFeatures = "YES", "NO"
    if "LossyImageCompression" not in image:
        image.LossyImageCompression = "00"
    image.DerivationDescription = (
        f"{_SHOWS[layout]}Class activation map of {device.model.name} {device.model.version} in colour over the "
        f"radiograph. Captions above and below. {DISCLAIMER}"
    )
    image.SourceImageSequence = [reference_to(header)]
    image.ImageComments = DISCLAIMER
    _scale_spacing(image, header, enlargement)
    return image


def _scale_spacing(image: Dataset, header: Dataset, enlargement: tuple[float, float]) -> None:
    """Carry a calibrated spacing, PS3.3 10.7; ImagerPixelSpacing is of the detector plane and not of this IOD."""
    vertical, horizontal = enlargement
    if "PixelSpacing" in header:
        image.PixelSpacing = [
            f"{float(header.PixelSpacing[0]) / vertical:.10g}",
            f"{float(header.PixelSpacing[1]) / horizontal:.10g}",
        ]
        for keyword in ("PixelSpacingCalibrationType", "PixelSpacingCalibrationDescription"):
            if keyword in header:
                image[keyword] = header[keyword]
    elif "PixelAspectRatio" in header:
        # PS3.3 C.7.6.3.1.7: a pair of integers, vertical and horizontal size of a pixel.
        high, wide = (float(n) for n in header.PixelAspectRatio)
        ratio = (high / vertical) / (wide / horizontal)
        if abs(ratio - 1) > 0.01:  # else the radiograph was drawn with square pixels, but for rounding
            image.PixelAspectRatio = [str(round(1000 * ratio)), "1000"]
