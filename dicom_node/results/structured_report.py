"""The reading as a structured report: TID 1500, Measurement Report, in Comprehensive 3D SR or Comprehensive SR.

Source: PS3.3 A.35.13 and A.35.3.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from highdicom.sr import (
    AlgorithmIdentification,
    Comprehensive3DSR,
    ComprehensiveSR,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    ImageContentItem,
    ImageRegion,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import UID

from dicom_node import concepts
from dicom_node.destination import ReportClass
from dicom_node.results import wording
from dicom_node.results.equipment import MANUFACTURER, Device, sign
from dicom_node.results.identity import derive_uid
from dicom_node.results.order import refer_to_requests
from dicom_node.results.origin import CHARACTER_SET, hand_on, without_names
from dicom_node.results.regions import HEAT_LEVEL, RegionKind, Regions
from dicom_node.wire import COMPUTED_RADIOGRAPHY, NODE_MODEL_NAME, SECONDARY_CAPTURE
from pipeline.reading import Reading, Verdict

SERIES_NUMBER_BASE: Final = 19_000
"""Series of reports are numbered 19000 + the source's SeriesNumber: never equal to it, nor to the overlay's."""

SERIES_DESCRIPTION: Final = "COVID-XNet report - NOT FOR DIAGNOSIS"

_CLASSES: Final = {ReportClass.COMPREHENSIVE_3D: Comprehensive3DSR, ReportClass.COMPREHENSIVE: ComprehensiveSR}

_INTERPRETATION: Final = {
    Verdict.POSITIVE: concepts.POSITIVE,
    Verdict.NEGATIVE: concepts.NEGATIVE,
    Verdict.INDETERMINATE: concepts.INDETERMINATE,
}
_REGIONS_IN_WORDS: Final = {
    RegionKind.HEAT: (
        f"Outlined: where the activation of the network is at least {HEAT_LEVEL:.0%} of its maximum. It shows what the "
        "score rests on; it does not delineate a lesion."
    ),
    RegionKind.LUNGS: "Outlined: the lungs as the node found them, in which it looked.",
    RegionKind.NONE: "Nothing is outlined: the node found no lungs in this radiograph. Distrust the score.",
}


def structured_report(
    header: Dataset,
    overlay: Dataset | None,
    reading: Reading,
    regions: Regions,
    *,
    report_class: ReportClass,
    journey: str,
    view: str,
    evidence: str,
    flags: tuple[str, ...],
    device: Device,
    sop_instance_uid: UID,
    series_instance_uid: UID,
    moment: datetime,
) -> Dataset:
    """Write the report on one reading.

    header: what `origin.carry_over` took from the source. overlay: the Secondary Capture, which the report refers to;
    None if it does not go along.
    view, evidence: projection, and the attribute that told it, if any. flags: remarks of the gate.
    moment: when it was read, on the clock of the source.
    Returns an SR of the class, UNVERIFIED and PRELIMINARY, whose content is TID 1500 (PS3.16): the score as
    Certainty of Finding in percent, its interpretation, and a TID 1410 group for each region; a TID 1501 group
    instead where there is no region.
    """
    content = MeasurementReport(
        title=concepts.IMAGING_MEASUREMENT_REPORT,
        observation_context=ObservationContext(observer_device_context=observer(device)),
        procedure_reported=concepts.PLAIN_CHEST_RADIOGRAPH,
        imaging_measurements=list(_groups(header, reading, regions, journey, device)),
        referenced_images=[library_entry(header)],
    )
    content[0].ContentSequence.append(_evaluations(header, overlay, reading, regions, view, evidence, flags))
    return document(
        header,
        [] if overlay is None else [overlay],
        content,
        device,
        report_class=report_class,
        sop_instance_uid=sop_instance_uid,
        series_instance_uid=series_instance_uid,
        moment=moment,
    )


def document(
    header: Dataset,
    others: list[Dataset],
    content: ContentSequence,
    device: Device,
    *,
    report_class: ReportClass,
    sop_instance_uid: UID,
    series_instance_uid: UID,
    moment: datetime,
) -> Dataset:
    """Make a report with this content on the radiograph of `header`; others: objects that it refers to besides."""
    root = content[0]
    # highdicom copies all the content and searches the copy, half of the time of a report; so it gets the root alone.
    alone = Dataset()
    alone.update({element.tag: element for element in root if element.keyword != "ContentSequence"})
    alone.ContentSequence = []
    report = _CLASSES[report_class](
        evidence=[without_names(header), *others],
        content=alone,
        series_instance_uid=series_instance_uid,
        series_number=SERIES_NUMBER_BASE + (header.SeriesNumber or 0),
        series_description=SERIES_DESCRIPTION,
        sop_instance_uid=sop_instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
        content_date=moment.date(),
        content_time=moment.time(),
        series_date=moment.date(),
        series_time=moment.time(),
        specific_character_set=CHARACTER_SET,
    )
    report.ContentSequence = root.ContentSequence
    hand_on(header, report)
    refer_to_requests(header, report)
    sign(report, header, device)
    report.InstanceCreationDate, report.InstanceCreationTime = report.ContentDate, report.ContentTime
    return report


def observer(device: Device) -> ObserverContext:
    """The node as the device that observed. TID 1004."""
    return ObserverContext(
        observer_type=concepts.DEVICE,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=device.uid,
            name=NODE_MODEL_NAME,
            manufacturer_name=MANUFACTURER,
            model_name=NODE_MODEL_NAME,
            serial_number=device.serial_number,
        ),
    )


def _algorithm(reading: Reading) -> AlgorithmIdentification:
    low, high = reading.band
    return AlgorithmIdentification(
        name=reading.model.name,
        version=reading.model.version,
        manufacturer=MANUFACTURER,
        family=concepts.ARTIFICIAL_INTELLIGENCE,
        parameters=[
            f"operating point {reading.threshold:.4f}",
            f"indeterminate band {low:.4f} to {high:.4f}",
            f"trained {reading.model.trained}",
            f"sha256 {reading.model.digest}",
        ],
    )


def _groups(
    header: Dataset, reading: Reading, regions: Regions, journey: str, device: Device
) -> Iterator[PlanarROIMeasurementsAndQualitativeEvaluations | MeasurementsAndQualitativeEvaluations]:
    """The score and its interpretation stand once, in the first group: viewers show groups that have a region."""
    score = Measurement(
        name=concepts.CERTAINTY_OF_FINDING,
        value=round(100 * reading.score, 2),
        unit=concepts.PERCENT,
        algorithm_id=_algorithm(reading),
    )
    interpretation = QualitativeEvaluation(concepts.HAS_INTERPRETATION, _INTERPRETATION[reading.verdict])

    def tracking(number: int) -> TrackingIdentifier:
        return TrackingIdentifier(
            identifier=f"{reading.model.name} {regions.kind.value} {number}",
            uid=derive_uid(journey, device.maker, f"region {number}"),
        )

    if not regions.outlines:
        yield MeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking(1),
            finding_type=concepts.ABNORMAL_OPACITY,
            finding_sites=[FindingSite(anatomic_location=concepts.CHEST)],
            measurements=[score],
            qualitative_evaluations=[interpretation],
            source_images=[SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID)],
        )
    for number, outline in enumerate(regions.outlines, start=1):
        first = number == 1
        finding: Code | None = concepts.ABNORMAL_OPACITY if first or regions.kind is RegionKind.HEAT else None
        yield PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking(number),
            referenced_region=ImageRegion(
                graphic_type="POLYLINE",
                graphic_data=outline,
                source_image=SourceImageForRegion(header.SOPClassUID, header.SOPInstanceUID),
            ),
            finding_type=finding,
            finding_sites=[FindingSite(anatomic_location=concepts.LUNG)],
            measurements=[score] if first else None,
            qualitative_evaluations=[interpretation] if first else None,
        )


def which_radiograph(header: Dataset) -> list[str]:
    """Tell the reader of a study with several radiographs which one it is; empty if it has no number."""
    named = {"series": header.SeriesNumber, "image": header.InstanceNumber}
    numbers = [f"{name} {number}" for name, number in named.items() if number is not None]
    return [f"Radiograph: {', '.join(numbers)}."] if numbers else []


def _evaluations(
    header: Dataset,
    overlay: Dataset | None,
    reading: Reading,
    regions: Regions,
    view: str,
    evidence: str,
    flags: tuple[str, ...],
) -> ContainerContentItem:
    """TID 1500, rows 12 to 14: the plain-language part; the template is extensible, so the overlay stands here too."""
    remarks = [
        *which_radiograph(header),
        f"Projection: {view}, told by {evidence}." if evidence else f"Projection: {view}.",
        _REGIONS_IN_WORDS[regions.kind],
        *(f"Remark: {flag}." for flag in flags),
        *(f"Remark: {remark}." for remark in wording.details(reading)),
        wording.NOT_ASSESSED,
        wording.DISCLAIMER,
    ]
    container = told(wording.conclusion(reading), remarks)
    if overlay is not None:
        container.ContentSequence.append(
            ImageContentItem(
                concepts.ILLUSTRATION_OF_FINDING,
                referenced_sop_class_uid=SECONDARY_CAPTURE,
                referenced_sop_instance_uid=overlay.SOPInstanceUID,
                relationship_type="CONTAINS",
            )
        )
    return container


def told(conclusion: str, remarks: list[str]) -> ContainerContentItem:
    """A conclusion in words, and remarks on it."""
    container = ContainerContentItem(name=concepts.QUALITATIVE_EVALUATIONS, relationship_type="CONTAINS")
    container.ContentSequence = ContentSequence(
        [
            TextContentItem(concepts.CONCLUSION, conclusion, relationship_type="CONTAINS"),
            *(TextContentItem(concepts.COMMENT, remark, relationship_type="CONTAINS") for remark in remarks),
        ]
    )
    return container


def library_entry(header: Dataset) -> Dataset:
    """What the image library tells of the source (TID 1602, TID 1603).

    highdicom describes a projection radiograph by orientation and spacing and fails where one is missing; such a
    source is entered without them, as TID 1603 allows.
    """
    entry = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "Rows", "Columns"):
        entry[keyword] = header[keyword]
    entry.Modality = "OT"
    if "PatientOrientation" in header and "ImagerPixelSpacing" in header:
        entry.Modality = "CR" if header.SOPClassUID == COMPUTED_RADIOGRAPHY else "DX"
        entry.PatientOrientation = header.PatientOrientation
        entry.ImagerPixelSpacing = header.ImagerPixelSpacing
    return entry
