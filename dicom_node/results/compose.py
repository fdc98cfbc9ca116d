"""From a reading to the objects that go back to the PACS, and onto the disk."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.config import disable_value_validation
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.results.equipment import IMPLEMENTATION_VERSION_NAME
from dicom_node.results.identity import IMPLEMENTATION_CLASS_UID, derive_uid
from dicom_node.results.origin import carry_over, local_time
from dicom_node.results.overlay import Caption, draw, enlarged_shape
from dicom_node.results.regions import find_regions
from dicom_node.results.secondary_capture import secondary_capture
from dicom_node.results.structured_report import structured_report
from pipeline.radiograph import Radiograph
from pipeline.reading import Reading

OVERLAY: Final = "overlay"
REPORT: Final = "report"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Results:
    """What one reading sends back.

    secondary_capture: PS3.3 A.8.1. structured_report: Comprehensive 3D SR, PS3.3 A.35.13; it refers to the former.
    overlay: the picture in the Secondary Capture, uint8 (H, W, 3), RGB.
    """

    secondary_capture: Dataset
    structured_report: Dataset
    overlay: NDArray[np.uint8]

    def by_kind(self) -> Mapping[str, Dataset]:
        """The objects by the names of their kinds, in the order in which they are returned."""
        return {OVERLAY: self.secondary_capture, REPORT: self.structured_report}


def compose(
    source: Dataset,
    radiograph: Radiograph,
    reading: Reading,
    *,
    journey: str,
    view: str,
    evidence: str,
    flags: tuple[str, ...],
    read_at: datetime,
) -> Results:
    """Make the result objects of one reading; the same arguments always give the same bytes.

    source: the radiograph as received, with or without its pixels. radiograph: its pixels as they were read.
    journey: id that the UIDs are derived from, together with the model's digest.
    view, evidence: projection, and the attribute that told it. flags: remarks of the gate.
    Raises CannotCompose with the reason if no valid object can be made from `source`.
    """
    # The validation of pydicom quotes a value that it does not like, a patient's name or birth date, in its log.
    with disable_value_validation():
        header = carry_over(source)
        moment = local_time(header, read_at)
        overlay = draw(radiograph, reading, Caption(view=view, flags=flags, moment=moment))
        height, width = enlarged_shape(*radiograph.pixels.shape)
        digest = reading.model.digest
        image = secondary_capture(
            header,
            overlay,
            enlargement=(height / header.Rows, width / header.Columns),
            model=reading.model,
            sop_instance_uid=derive_uid(journey, digest, OVERLAY),
            series_instance_uid=derive_uid(journey, digest, f"{OVERLAY} series"),
            moment=moment,
        )
        report = structured_report(
            header,
            image,
            reading,
            find_regions(reading, rows=header.Rows, columns=header.Columns),
            journey=journey,
            view=view,
            evidence=evidence,
            flags=flags,
            sop_instance_uid=derive_uid(journey, digest, REPORT),
            series_instance_uid=derive_uid(journey, digest, f"{REPORT} series"),
            moment=moment,
        )
    for result in (image, report):
        result.file_meta = _file_meta(result)
    return Results(secondary_capture=image, structured_report=report, overlay=overlay)


def save(dataset: Dataset, path: Path) -> None:
    """Write a result so that `path` holds all of it or nothing, also after a power failure. PS3.10 section 7.

    Makes the folder of `path` if it is not there. Raises OSError if the disk cannot take it.
    """
    _make_durable_folder(path.parent)
    with NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".part", delete=False) as file:
        temporary = Path(file.name)
        try:
            with disable_value_validation():
                dcmwrite(file, dataset, enforce_file_format=True)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    _sync_folder(path.parent)


def _file_meta(dataset: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta


def _make_durable_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_durable_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
