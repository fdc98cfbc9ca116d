"""From a reading to the objects that go back to the PACS, and onto the disk."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.config import disable_value_validation
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.destination import BY_DEFAULT, ResultChoice, ResultKind, TextEncoding
from dicom_node.faultpoints import Point, reach
from dicom_node.results import wording
from dicom_node.results.character_set import character_set_of, put
from dicom_node.results.equipment import Device, remarked
from dicom_node.results.failure_report import failure_report
from dicom_node.results.identity import derive_uid, failure_form_of, forms_of
from dicom_node.results.key_object import key_object
from dicom_node.results.limits import hold_to_limits
from dicom_node.results.origin import CHARACTER_SET as UTF_8
from dicom_node.results.origin import carry_over, local_time
from dicom_node.results.overlay import Caption, draw, drawn_shape
from dicom_node.results.presentation_state import presentation_state
from dicom_node.results.regions import find_regions
from dicom_node.results.secondary_capture import secondary_capture
from dicom_node.results.segmentation import segmentation
from dicom_node.results.structured_report import structured_report
from dicom_node.wire import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from models.registry import ModelIdentity
from pipeline.radiograph import Radiograph
from pipeline.reading import Reading


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Results:
    """What one reading sends back: objects by the names of their kinds, in the order in which they are returned.

    repairs: what the objects do not say as the source said it, one phrase for each attribute, without its value.
    """

    objects: Mapping[str, Dataset]
    repairs: tuple[str, ...] = ()

    @property
    def secondary_capture(self) -> Dataset:
        """PS3.3 A.8.1. Raises KeyError if it was not asked for."""
        return self.objects[ResultKind.OVERLAY]

    @property
    def structured_report(self) -> Dataset:
        """TID 1500. Raises KeyError if it was not asked for."""
        return self.objects[ResultKind.REPORT]

    @property
    def overlay(self) -> NDArray[np.uint8]:
        """The picture in the Secondary Capture, uint8 (H, W, 3), RGB."""
        return np.asarray(self.secondary_capture.pixel_array, np.uint8)

    def by_kind(self) -> Mapping[str, Dataset]:
        """The objects by their kinds."""
        return self.objects


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
    node: str = "",
    choice: ResultChoice = BY_DEFAULT,
) -> Results:
    """Make the result objects of one reading; the same arguments always give the same bytes.

    source: the radiograph as received, with or without its pixels. radiograph: its pixels as they were read.
    journey: id that the UIDs are derived from, together with the model's digest and `node`.
    view, evidence: projection, and the attribute that told it. flags: remarks of the gate; those on what the results
    do not carry over as it was join them in the report. node: id of the installation. choice: what to make.
    Raises CannotCompose with the reason if no valid object can be made from `source`.
    """
    # The validation of pydicom quotes a value that it does not like, a patient's name or birth date, in its log.
    with disable_value_validation():
        header = carry_over(source)
        remarks = hold_to_limits(header, source)
        moment = local_time(header, read_at)
        regions = find_regions(reading, rows=header.Rows, columns=header.Columns)
        character_set = [UTF_8]
        if choice.character_set is TextEncoding.SOURCE:
            character_set = character_set_of(source, header, "\n".join(wording.remarks(reading)))
        names = forms_of(choice, character_set)
        device = Device(model=reading.model, node=node)
        # At another operating point the same networks make other results.
        maker = device.maker + (reading.commissioning.digest if reading.commissioning else "")

        def made_by(kind: ResultKind) -> Mapping[str, Any]:
            return {
                "sop_instance_uid": derive_uid(journey, maker, names[kind]),
                "series_instance_uid": derive_uid(journey, maker, f"{names[kind]} series"),
                "moment": moment,
                "device": device,
            }

        made: dict[ResultKind, Dataset | None] = {}
        if ResultKind.OVERLAY in choice.objects:
            caption = Caption(view=view, flags=flags, moment=moment)
            layout, size = choice.overlay_layout, choice.overlay_size
            height, width = drawn_shape(*radiograph.pixels.shape, size=size)
            made[ResultKind.OVERLAY] = secondary_capture(
                header,
                draw(radiograph, reading, caption, layout=layout, size=size),
                layout=layout,
                enlargement=(height / header.Rows, width / header.Columns),
                **made_by(ResultKind.OVERLAY),
            )
        if ResultKind.REPORT in choice.objects:
            made[ResultKind.REPORT] = structured_report(
                header,
                made.get(ResultKind.OVERLAY),
                reading,
                regions,
                report_class=choice.report_class,
                journey=journey,
                view=view,
                evidence=evidence,
                flags=(*flags, *remarks),
                **made_by(ResultKind.REPORT),
            )
        if ResultKind.SEGMENTATION in choice.objects:
            made[ResultKind.SEGMENTATION] = segmentation(header, reading, **made_by(ResultKind.SEGMENTATION))
        if ResultKind.PRESENTATION_STATE in choice.objects:
            made[ResultKind.PRESENTATION_STATE] = presentation_state(
                header, source, reading, regions, **made_by(ResultKind.PRESENTATION_STATE)
            )
        if ResultKind.KEY_OBJECT in choice.objects:
            selected = [made[kind] for kind in (ResultKind.OVERLAY, ResultKind.REPORT) if kind in made]
            made[ResultKind.KEY_OBJECT] = key_object(header, selected, reading, **made_by(ResultKind.KEY_OBJECT))
    return Results(
        objects={
            kind: _finished(remarked(result, wording.remarks(reading)), character_set)
            for kind, result in made.items()
            if result is not None
        },
        repairs=remarks,
    )


def compose_failure(
    source: Dataset,
    reason: str,
    *,
    model: ModelIdentity,
    journey: str,
    view: str,
    flags: tuple[str, ...],
    failed_at: datetime,
    node: str = "",
    choice: ResultChoice = BY_DEFAULT,
) -> Results:
    """Make the report that says why `source` could not be read; its pixels are not needed.

    The arguments are those of `compose`; model: the networks that should have read it. Raises CannotCompose.
    """
    with disable_value_validation():
        header = carry_over(source)
        remarks = hold_to_limits(header, source)
        character_set = character_set_of(source, header) if choice.character_set is TextEncoding.SOURCE else [UTF_8]
        form = failure_form_of(choice, character_set, reason)
        device = Device(model=model, node=node)
        report = failure_report(
            header,
            reason,
            device=device,
            report_class=choice.report_class,
            view=view,
            flags=(*flags, *remarks),
            sop_instance_uid=derive_uid(journey, device.maker, form),
            series_instance_uid=derive_uid(journey, device.maker, f"{form} series"),
            moment=local_time(header, failed_at),
        )
    return Results(objects={ResultKind.REPORT: _finished(report, character_set)}, repairs=remarks)


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
            reach(Point.RESULT_WRITTEN)
            os.fsync(file.fileno())
            reach(Point.RESULT_SYNCED)
            temporary.replace(path)
            reach(Point.RESULT_RENAMED)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    _sync_folder(path.parent)


def _finished(result: Dataset, character_set: list[str]) -> Dataset:
    put(result, character_set)
    result.file_meta = _file_meta(result)
    return result


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
