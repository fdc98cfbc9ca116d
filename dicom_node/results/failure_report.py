"""A report that says that a radiograph could not be read, and why: TID 1500 without measurements."""

from datetime import datetime

from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentSequence,
    ImageLibrary,
    LanguageOfContentItemAndDescendants,
    ObservationContext,
)
from pydicom import Dataset
from pydicom.uid import UID

from dicom_node import concepts
from dicom_node.destination import ReportClass
from dicom_node.results import wording
from dicom_node.results.equipment import Device
from dicom_node.results.structured_report import document, library_entry, observer, told, which_radiograph


def failure_report(
    header: Dataset,
    reason: str,
    *,
    device: Device,
    report_class: ReportClass,
    view: str,
    flags: tuple[str, ...],
    sop_instance_uid: UID,
    series_instance_uid: UID,
    moment: datetime,
) -> Dataset:
    """Report on the radiograph of `header` that it has no reading.

    reason: a sentence, without a patient's identity. device: what should have read it. view, flags: what
    the gate said. moment: when it failed, on the clock of the source.
    Returns an SR of the class, UNVERIFIED and PRELIMINARY: no score, no interpretation, no region.
    """
    remarks = [
        *which_radiograph(header),
        f"Projection: {view}.",
        *(f"Remark: {flag}." for flag in flags),
        wording.DISCLAIMER,
    ]
    # TID 1500 asks for measurements or evaluations; highdicom's class for it asks for measurements.
    content = ContainerContentItem(name=concepts.IMAGING_MEASUREMENT_REPORT, template_id="1500")
    content.ContentSequence = ContentSequence(
        [
            *LanguageOfContentItemAndDescendants(concepts.ENGLISH_AS_IN_THE_USA),
            *ObservationContext(observer_device_context=observer(device)),
            CodeContentItem(concepts.PROCEDURE_REPORTED, concepts.PLAIN_CHEST_RADIOGRAPH, "HAS CONCEPT MOD"),
            *ImageLibrary([library_entry(header)]),
            told(wording.not_read(reason), remarks),
        ]
    )
    return document(
        header,
        [],
        ContentSequence([content], is_root=True),
        device,
        report_class=report_class,
        sop_instance_uid=sop_instance_uid,
        series_instance_uid=series_instance_uid,
        moment=moment,
    )
