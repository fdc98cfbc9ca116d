"""What the benchmarks send: drawn chests, seeded, as CR objects with an identity that nobody can take for a patient."""

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

_DRAWN: Final = 512


def chest(rows: int, columns: int, seed: int) -> NDArray[np.uint16]:
    """Draw a frontal chest with 12 bits, uint16 (rows, columns), air dark: two lungs, heart, spine, noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : _DRAWN * 1j, -1 : 1 : _DRAWN * 1j]

    def ellipse(cx: float, cy: float, rx: float, ry: float) -> NDArray[np.float64]:
        rx *= 1 + random.normal(0, 0.02)
        return np.asarray(np.clip(2.5 * (1 - ((x - cx) / rx) ** 2 - ((y - cy) / ry) ** 2), 0, 1))

    body = np.clip(4 * (1 - np.abs(x / 0.94) ** 3 - np.abs((y - 0.5) / 1.32) ** 4), 0, 1)
    lungs = np.maximum(ellipse(-0.4, -0.02, 0.31, 0.68), ellipse(0.42, -0.02, 0.3, 0.68))
    image = 0.04 + 0.52 * body - 0.36 * lungs * (1 - 0.25 * np.clip(y, 0, 1))
    image += 0.3 * ellipse(0.14, 0.34, 0.32, 0.36) * body + 0.16 * ellipse(0, 0, 0.09, 2)
    drawn = cv2.resize(np.clip(image, 0, 1).astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR)
    drawn += random.normal(0, 0.01, drawn.shape).astype(np.float32)
    return np.asarray(np.clip(drawn, 0, 1) * 4095).astype(np.uint16)


def radiograph(pixels: NDArray[np.uint16], number: int, *, syntax: UID = ExplicitVRLittleEndian) -> Dataset:
    """Dress `pixels` as a Computed Radiography object, PA, with new UIDs. Source: PS3.3 A.2."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.PatientName, dataset.PatientID = f"SYNTHETIC^BENCH{number}", f"SYNTHETIC-{number}"
    dataset.PatientBirthDate, dataset.PatientSex = "", "O"
    dataset.StudyDate, dataset.StudyTime = "20200812", "101500"
    dataset.StudyID, dataset.AccessionNumber, dataset.ReferringPhysicianName = "BENCH", f"BENCH{number}", ""
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.Modality = 1, 1, "CR"
    dataset.Manufacturer, dataset.BodyPartExamined, dataset.ViewPosition = "SYNTHETIC", "CHEST", "PA"
    dataset.PatientOrientation, dataset.ImageType = ["L", "F"], ["ORIGINAL", "PRIMARY"]
    dataset.ImagerPixelSpacing = ["0.15", "0.15"]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.add_new("PixelData", "OW", pixels.astype("<u2", copy=False).tobytes())
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if syntax.is_encapsulated:
        dataset.compress(syntax, generate_instance_uid=False)
    return dataset


def write_radiographs(folder: Path, count: int, *, rows: int, columns: int) -> list[Path]:
    """Write `count` objects of rows x columns into `folder`; four drawings take turns."""
    folder.mkdir(parents=True, exist_ok=True)
    drawings = [chest(rows, columns, seed) for seed in range(min(4, count))]
    files = []
    for number in range(count):
        files.append(folder / f"{number:05}.dcm")
        dcmwrite(files[-1], radiograph(drawings[number % len(drawings)], number), enforce_file_format=True)
    return files
