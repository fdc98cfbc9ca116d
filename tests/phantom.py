"""A drawn chest and the CR and DX objects around it: seeded, so that every test sees the same radiograph."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from io import BytesIO
from typing import Any, Literal, TypedDict, Unpack

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, generate_uid

from dicom_node.wire import (
    COMPUTED_RADIOGRAPHY,
    DIGITAL_XRAY_FOR_PRESENTATION,
    DIGITAL_XRAY_FOR_PROCESSING,
)

PATIENT_NAME = "SYNTHETIC^PHANTOM"
PATIENT_ID = "SYN-0001"


def chest_phantom(
    size: int | tuple[int, int] = (320, 280), *, lateral: bool = False, seed: int = 0
) -> NDArray[np.float32]:
    """Draw a thorax: float32 (rows, columns), [0, 1], air dark; a frontal one has two lungs, heart, spine and ribs.

    size: (rows, columns), or the side of a square.
    seed: of the noise and of small differences of anatomy.
    """
    return _draw_chest(size, lateral, seed).copy()


@lru_cache(maxsize=16)
def _draw_chest(size: int | tuple[int, int], lateral: bool, seed: int) -> NDArray[np.float32]:
    rows, columns = (size, size) if isinstance(size, int) else size
    random = np.random.default_rng(seed)
    # Drawn once at 512 x 512 with soft edges, then brought to size, so that a phantom looks alike in every size.
    y, x = np.mgrid[-1:1:512j, -1:1:512j]

    def ellipse(cx: float, cy: float, rx: float, ry: float) -> NDArray[np.float64]:
        jitter = 1 + random.normal(0, 0.02)
        soft: NDArray[np.float64] = np.clip(2.5 * (1 - ((x - cx) / (rx * jitter)) ** 2 - ((y - cy) / ry) ** 2), 0, 1)
        return soft

    trunk = np.clip(4 * (1 - np.abs(x / 0.94) ** 3 - np.abs((y - 0.5) / 1.32) ** 4), 0, 1)
    body = np.maximum(trunk, ellipse(0, -0.95, 0.25, 0.5))
    image = 0.04 + 0.52 * body
    if lateral:
        image -= 0.33 * ellipse(0.02, -0.05, 0.5, 0.72)
        image += 0.3 * ellipse(0.58, 0.1, 0.1, 1.6) + 0.22 * ellipse(-0.12, 0.3, 0.3, 0.36)
        ribs = np.sin(y * 24 + x * 6) > 0.62
    else:
        lungs = np.maximum(ellipse(-0.4, -0.02, 0.31, 0.68), ellipse(0.42, -0.02, 0.3, 0.68))
        image -= 0.36 * lungs * (1 - 0.25 * np.clip(y, 0, 1))
        image += 0.3 * ellipse(0.14, 0.34, 0.32, 0.36) * body
        image += 0.16 * ellipse(0, 0, 0.09, 2)
        image = np.maximum(image, 0.62 * np.maximum(ellipse(-0.36, 0.78, 0.42, 0.3), ellipse(0.38, 0.84, 0.42, 0.3)))
        ribs = np.sin(y * 26 - 7 * np.abs(np.abs(x) - 0.4) ** 1.5 + 0.4) > 0.62
    image += 0.07 * ribs * body * (np.abs(x) < 0.78) * (y < 0.6)
    drawn = cv2.resize(np.clip(image, 0, 1).astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    noisy: NDArray[np.float32] = np.clip(drawn + random.normal(0, 0.01, drawn.shape), 0, 1).astype(np.float32)
    return noisy


class Options(TypedDict, total=False):
    """What `make_cr` and `make_dx` understand beyond the view."""

    size: int | tuple[int, int]
    lateral: bool
    seed: int
    pixels: NDArray[Any] | None
    bits: int
    signed: bool
    photometric: Literal["MONOCHROME1", "MONOCHROME2"]
    rescale: tuple[float, float] | None
    window: tuple[float, float] | None
    voi_function: str | None
    voi_lut: tuple[int, Sequence[int], int] | None
    padding: int | None
    aspect: tuple[int, int] | None
    view: str | None
    view_code: tuple[str, str] | None
    orientation: tuple[str, str] | None
    body_part: str
    syntax: UID
    compression: Mapping[str, Any]
    extra: Mapping[str, Any]


def make_cr(**options: Unpack[Options]) -> Dataset:
    """Build a Computed Radiography object, a PA chest unless told otherwise, ready for `save_as` or C-STORE.

    size, lateral, seed: of the phantom; 320 x 280, frontal, 0.
    pixels: stored values to use as they are, instead of the phantom.
    bits: BitsStored, 12; BitsAllocated is 8 or 16.
    signed: PixelRepresentation 1; the phantom's values then start at -2^(bits-1).
    photometric: of MONOCHROME1 the phantom is inverted, so that it means the same radiograph.
    rescale: (RescaleSlope, RescaleIntercept). window: (WindowCenter, WindowWidth); voi_function: VOILUTFunction.
    voi_lut: (first value mapped, entries, bits of an entry). padding: PixelPaddingValue.
    aspect: PixelAspectRatio (vertical, horizontal).
    view: ViewPosition, "PA"; None: absent. view_code: SCT code and meaning. orientation: PatientOrientation.
    syntax: transfer syntax that pydicom writes; compression: arguments of its encoder.
    extra: DICOM keyword to value, set last; None removes the attribute.
    """
    return _finish(_draw(COMPUTED_RADIOGRAPHY, options), options)


def make_dx(*, for_processing: bool = False, **options: Unpack[Options]) -> Dataset:
    """Build a Digital X-Ray object; the options are those of `make_cr`."""
    dataset = _draw(DIGITAL_XRAY_FOR_PROCESSING if for_processing else DIGITAL_XRAY_FOR_PRESENTATION, options)
    inverse = dataset.PhotometricInterpretation == "MONOCHROME1"
    dataset.Modality = "DX"
    dataset.PresentationIntentType = "FOR PROCESSING" if for_processing else "FOR PRESENTATION"
    dataset.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = 1 if inverse else -1
    if "RescaleSlope" not in dataset:
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = "1", "0", "US"
    dataset.AnatomicRegionSequence = [_code("816094009", "Thorax")]
    dataset.ImageLaterality = "U"
    dataset.DetectorType, dataset.PositionerType, dataset.AcquisitionContextSequence = "DIRECT", "NONE", []
    return _finish(dataset, options)


def as_bytes(dataset: Dataset) -> bytes:
    """Encode an object with preamble and file meta information (PS3.10)."""
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "SCT", meaning
    return code


def _stored_values(options: Options) -> NDArray[Any]:
    given = options.get("pixels")
    if given is not None:
        return given
    bits, signed = options.get("bits", 12), options.get("signed", False)
    grey = chest_phantom(
        options.get("size", (320, 280)), lateral=options.get("lateral", False), seed=options.get("seed", 0)
    )
    if options.get("photometric") == "MONOCHROME1":
        grey = 1 - grey
    values: NDArray[np.float64] = np.round(grey.astype(np.float64) * (2**bits - 1)) - (2 ** (bits - 1) if signed else 0)
    stored: NDArray[Any] = values.astype(np.dtype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}"))
    return stored


def _draw(sop_class: UID, options: Options) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20200812"
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "101500"
    dataset.PatientName, dataset.PatientID = PATIENT_NAME, PATIENT_ID
    dataset.PatientBirthDate, dataset.PatientSex = "19600101", "O"
    dataset.StudyID, dataset.AccessionNumber, dataset.ReferringPhysicianName = "SYN1", "SYNACC1", "SYNTHETIC^REFERRER"
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.Modality = 1, 1, "CR"
    dataset.Manufacturer, dataset.ManufacturerModelName, dataset.SoftwareVersions = "SYNTHETIC", "PHANTOM", "1"
    dataset.BodyPartExamined = options.get("body_part", "CHEST")
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    view = options.get("view", "PA")
    if view is not None:
        dataset.ViewPosition = view
    if code := options.get("view_code"):
        dataset.ViewCodeSequence = [_code(*code)]
    if orientation := options.get("orientation"):
        dataset.PatientOrientation = list(orientation)
    dataset.ImagerPixelSpacing = ["0.4", "0.4"]
    dataset.BurnedInAnnotation, dataset.LossyImageCompression = "NO", "00"

    values = _stored_values(options)
    bits = options.get("bits", 8 * values.itemsize if options.get("pixels") is not None else 12)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = options.get("photometric", "MONOCHROME2")
    dataset.Rows, dataset.Columns = values.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * values.itemsize, bits, bits - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    vr = "SS" if values.dtype.kind == "i" else "US"
    if rescale := options.get("rescale"):
        dataset.RescaleSlope, dataset.RescaleIntercept = (f"{value:g}" for value in rescale)
        dataset.RescaleType = "US"
    if window := options.get("window"):
        dataset.WindowCenter, dataset.WindowWidth = (f"{value:g}" for value in window)
    if function := options.get("voi_function"):
        dataset.VOILUTFunction = function
    if lut := options.get("voi_lut"):
        first, entries, entry_bits = lut
        item = Dataset()
        item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) % 65536, first, entry_bits])
        item.add_new("LUTData", "US", list(entries))
        dataset.VOILUTSequence = [item]
    if (padding := options.get("padding")) is not None:
        dataset.add_new("PixelPaddingValue", vr, padding)
    if aspect := options.get("aspect"):
        dataset.PixelAspectRatio = [str(value) for value in aspect]
        del dataset.ImagerPixelSpacing
    big_endian = options.get("syntax") == ExplicitVRBigEndian
    data = values.astype(values.dtype.newbyteorder(">" if big_endian else "<")).tobytes()
    dataset.add_new("PixelData", "OB" if values.itemsize == 1 else "OW", data + b"\0" * (len(data) % 2))
    return dataset


def _finish(dataset: Dataset, options: Options) -> Dataset:
    syntax = options.get("syntax", ExplicitVRLittleEndian)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax.is_encapsulated else syntax
    if syntax.is_encapsulated:
        dataset.compress(syntax, generate_instance_uid=False, **options.get("compression", {}))
    for keyword, value in options.get("extra", {}).items():
        if value is None:
            if keyword in dataset:
                delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def encapsulated(dataset: Dataset, codestream: bytes, syntax: UID) -> Dataset:
    """Replace the pixels of `dataset` by one frame of `codestream`, as it is, whatever it holds."""
    dataset.PixelData = encapsulate([codestream])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset
