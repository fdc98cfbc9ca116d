"""Results of drawn readings, from which the statement tells what the node's objects hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicom_node.destination import BY_DEFAULT, ReportClass, ResultChoice, ResultKind
from dicom_node.reception.intake import Flag, View
from dicom_node.results.compose import compose, compose_failure
from dicom_node.wire import COMPUTED_RADIOGRAPHY, DIGITAL_XRAY_FOR_PRESENTATION
from models.registry import ModelIdentity
from pipeline.radiograph import Radiograph
from pipeline.reading import Reading, Verdict

_ROWS: Final = 1000
"""So many that no size of the results is their smallest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A source and the results that the node makes of it, by kind, and by kind and form where a choice has several."""

    source: Dataset
    results: Mapping[str, Dataset]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Readings of sources that differ.

    full, other: every attribute is there, and no value in common. sparse: a source with the least; these three are
    positive. negative, blind: a negative reading, and one without lungs.
    """

    full: Sample
    other: Sample
    sparse: Sample
    negative: Sample
    blind: Sample

    @property
    def all(self) -> tuple[Sample, ...]:
        """The samples."""
        return self.full, self.other, self.sparse, self.negative, self.blind

    def of(self, kind: str) -> tuple[Dataset, ...]:
        """The results of one kind."""
        return tuple(sample.results[kind] for sample in self.all if kind in sample.results)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What can be made of a radiograph, in the order in which it is returned."""
        return tuple(self.full.results)


def make_samples() -> Samples:
    """Compose the samples, with every kind of object and in every form that a destination can choose."""
    full = _source(COMPUTED_RADIOGRAPHY, _FULL)
    other = _source(DIGITAL_XRAY_FOR_PRESENTATION, _OTHER)
    sparse = _source(COMPUTED_RADIOGRAPHY, {})
    return Samples(
        full=_sample("full", full, Verdict.POSITIVE, 0.9, lungs=True, day=1),
        other=_sample("other", other, Verdict.POSITIVE, 0.8, lungs=True, day=2),
        sparse=_sample("sparse", sparse, Verdict.POSITIVE, 0.7, lungs=True, day=3),
        negative=_sample("negative", sparse, Verdict.NEGATIVE, 0.1, lungs=True, day=4),
        blind=_sample("blind", full, Verdict.INDETERMINATE, 0.5, lungs=False, day=5),
    )


_FULL: Final[Mapping[str, object]] = {
    "PatientName": "SYNTHETIC^FULL", "PatientID": "SYN1", "IssuerOfPatientID": "SYNTHETIC1",
    "TypeOfPatientID": "TEXT", "PatientBirthDate": "19600101", "PatientSex": "F", "PatientAge": "060Y",
    "PatientSize": "1.7", "PatientWeight": "70", "PatientIdentityRemoved": "YES", "DeidentificationMethod": "drawn",
    "StudyDate": "20200812", "StudyTime": "101500", "StudyID": "S1", "StudyDescription": "CHEST PA",
    "AccessionNumber": "A1", "ReferringPhysicianName": "SYNTHETIC^ONE", "InstitutionName": "SYNTHETIC ONE",
    "InstitutionalDepartmentName": "X-RAY ONE", "StationName": "ONE", "BodyPartExamined": "CHEST",
    "TimezoneOffsetFromUTC": "+0200", "Manufacturer": "MAKER ONE", "ManufacturerModelName": "MODEL ONE",
    "DeviceSerialNumber": "1", "SoftwareVersions": "1", "SeriesNumber": 1, "PatientOrientation": ["L", "F"],
    "PixelSpacing": ["0.4", "0.4"], "ImagerPixelSpacing": ["0.5", "0.5"], "PixelSpacingCalibrationType": "GEOMETRY",
    "LossyImageCompression": "01", "LossyImageCompressionRatio": "9.5", "LossyImageCompressionMethod": "ISO_15444_1",
    "ViewPosition": "PA",
}  # fmt: skip

_OTHER: Final[Mapping[str, object]] = {
    "PatientName": "SYNTHETIC^OTHER", "PatientID": "SYN2", "IssuerOfPatientID": "SYNTHETIC2",
    "TypeOfPatientID": "RFID", "PatientBirthDate": "19700202", "PatientSex": "M", "PatientAge": "050Y",
    "PatientSize": "1.8", "PatientWeight": "80", "PatientIdentityRemoved": "NO", "DeidentificationMethod": "none",
    "StudyDate": "20200913", "StudyTime": "111600", "StudyID": "S2", "StudyDescription": "CHEST AP",
    "AccessionNumber": "A2", "ReferringPhysicianName": "SYNTHETIC^TWO", "InstitutionName": "SYNTHETIC TWO",
    "InstitutionalDepartmentName": "X-RAY TWO", "StationName": "TWO", "BodyPartExamined": "LUNG", "Laterality": "L",
    "TimezoneOffsetFromUTC": "-0100", "Manufacturer": "MAKER TWO", "ManufacturerModelName": "MODEL TWO",
    "DeviceSerialNumber": "2", "SoftwareVersions": "2", "SeriesNumber": 2, "PatientOrientation": ["R", "F"],
    "PixelSpacing": ["0.2", "0.2"], "ImagerPixelSpacing": ["0.3", "0.3"], "PixelSpacingCalibrationType": "FIDUCIAL",
    "LossyImageCompression": "01", "LossyImageCompressionRatio": "4.5", "LossyImageCompressionMethod": "ISO_10918_1",
    "ViewPosition": "AP",
}  # fmt: skip


def _source(sop_class: UID, values: Mapping[str, object]) -> Dataset:
    source = Dataset()
    number = 1 if values is _FULL else 2 if values is _OTHER else 3
    source.SOPClassUID, source.SOPInstanceUID = sop_class, UID(f"2.25.10{number}")
    source.StudyInstanceUID, source.SeriesInstanceUID = UID(f"2.25.20{number}"), UID(f"2.25.30{number}")
    source.Rows, source.Columns = _ROWS + 10 * number, _ROWS - 20 * number
    for keyword, value in values.items():
        setattr(source, keyword, value)
    source.file_meta = FileMetaDataset()
    source.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return source


def _sample(journey: str, source: Dataset, verdict: Verdict, score: float, *, lungs: bool, day: int) -> Sample:
    results: dict[str, Dataset] = {}
    for form in ReportClass:
        composed = compose(
            source,
            Radiograph(pixels=np.zeros((source.Rows, source.Columns), np.float32)),
            _reading(source.Rows, source.Columns, verdict, score, lungs=lungs, day=day),
            journey=journey,
            view=View.PA,
            evidence="ViewPosition",
            flags=(Flag.VIEW_CONTRADICTED,),
            read_at=datetime(2026, 1, day, 12, day, tzinfo=UTC),
            choice=ResultChoice(objects=tuple(ResultKind), report_class=form),
        ).by_kind()
        for kind, result in composed.items():
            named = kind if form is BY_DEFAULT.report_class else f"{kind}, {form}"
            if form is BY_DEFAULT.report_class or kind == ResultKind.REPORT:
                results[str(named)] = result
    results[f"{ResultKind.REPORT}, not read"] = compose_failure(
        source,
        f"Drawn for day {day}.",
        model=_model(day),
        journey=journey,
        view=View.PA,
        flags=(Flag.VIEW_CONTRADICTED,),
        failed_at=datetime(2026, 1, day, 12, day, tzinfo=UTC),
    ).structured_report
    return Sample(source=source, results=results)


def _model(day: int) -> ModelIdentity:
    return ModelIdentity(name=f"MODEL {day}", version=f"{day}", digest=f"{day}" * 64, trained=f"2026-01-0{day}")


def _reading(rows: int, columns: int, verdict: Verdict, score: float, *, lungs: bool, day: int) -> Reading:
    inside = np.zeros((rows, columns), np.bool_)
    inside[200:800, 150:400] = inside[200:800, 550:800] = lungs
    heat = np.zeros((rows, columns), np.float32)
    heat[500:650, 200:300] = float(verdict is Verdict.POSITIVE)
    return Reading(
        score=score,
        verdict=verdict,
        threshold=0.5 + 0.01 * day,
        band=(0.4 + 0.01 * day, 0.6 + 0.01 * day),
        heatmap=heat * inside,
        lungs=inside,
        model=_model(day),
        stages={},
    )
