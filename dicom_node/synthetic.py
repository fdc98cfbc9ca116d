"""A plain image dressed as a Computed Radiography object, with an identity that nobody can take for a patient's."""

import hashlib
import uuid
from pathlib import Path
from typing import Final

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from pipeline.radiograph import grey_levels

_NAMESPACE: Final = uuid.UUID("0c6b7c4e-5c0a-4a55-9a51-6f1d3d8c1f02")


def wrap(path: Path, *, maximum_pixels: int) -> Dataset:
    """Make a CR object of a PNG or JPEG file that shows a chest with air dark.

    Keeps the pixel depth, 8 or 16 bits. Patient and UIDs come from the digest of the file, not from its name, which
    could tell who it is; so the same file is the same object. The view is left empty: nobody knows it.
    Returns a data set with file meta information, ready to be written or sent.
    Raises UndecodablePixels if the file is no such image, is damaged, or has more than `maximum_pixels`.
    Source: PS3.3 A.2 (Computed Radiography Image IOD).
    """
    pixels = grey_levels(path, maximum_pixels=maximum_pixels)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        lossy = file.read(2) == b"\xff\xd8"
        size = file.seek(0, 2)
    identity = digest[:8].upper()

    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, _uid("instance", digest)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _uid("study", digest), _uid("series", digest)
    dataset.PatientName, dataset.PatientID = f"SYNTHETIC^{identity}", f"SYNTHETIC-{identity}"
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.StudyDate = dataset.StudyTime = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.StudyID, dataset.StudyDescription = identity, "SYNTHETIC: from an image file"
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "CR", 1, 1
    dataset.BodyPartExamined, dataset.ViewPosition, dataset.PatientOrientation = "CHEST", "", ""
    dataset.Manufacturer = "SYNTHETIC"
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.DerivationDescription = "Converted from an image file"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.Rows, dataset.Columns = pixels.shape
    bits = 8 * pixels.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    if bits == 8:
        # PS3.3 C.11.2.1.2.1: 0 to 255 shown as they are. 16-bit files rarely use their whole range.
        dataset.WindowCenter, dataset.WindowWidth = "128", "256"
    if lossy:
        dataset.LossyImageCompression, dataset.LossyImageCompressionMethod = "01", "ISO_10918_1"
        dataset.LossyImageCompressionRatio = f"{max(pixels.nbytes / size, 1):.2f}"
    data = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()
    dataset.add_new("PixelData", "OB" if bits == 8 else "OW", data + b"\0" * (len(data) % 2))

    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _uid(kind: str, digest: str) -> UID:
    # PS3.5 B.2: a UUID as a UID; version 5 of it is made from a name (RFC 9562, section 5.5).
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, f'{kind} {digest}').int}")
