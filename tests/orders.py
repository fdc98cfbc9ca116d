"""A radiograph with everything that an order says."""

from typing import Any

from pydicom import Dataset

from tests.phantom import make_dx


def item(**values: Any) -> Dataset:
    """One item of a sequence."""
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def code(value: str, meaning: str) -> Dataset:
    """A code of a hospital's own scheme."""
    return item(CodeValue=value, CodingSchemeDesignator="L", CodeMeaning=meaning)


def ordered(size: tuple[int, int] = (160, 140)) -> Dataset:
    """A DX whose patient, study, order, and issuers of identifiers are told in full."""
    issuer = item(LocalNamespaceEntityID="RIS", UniversalEntityID="1.2.3", UniversalEntityIDType="ISO")
    request = item(
        RequestedProcedureID="RP1",
        AccessionNumber="ACC1",
        IssuerOfAccessionNumberSequence=[issuer],
        RequestedProcedureDescription="Thorax p.a. für Jörg",
        RequestedProcedureCodeSequence=[code("THX", "Thorax")],
        ReasonForTheRequestedProcedure="cough",
        ScheduledProcedureStepID="SPS1",
    )
    facility = item(LocalNamespaceEntityID="WARD 7")
    qualifiers = item(UniversalEntityID="1.2.4", UniversalEntityIDType="ISO", IdentifierTypeCode="MR")
    qualifiers.AssigningFacilitySequence = [facility]
    return make_dx(
        size=size,
        orientation=("L", "F"),
        extra={
            "SpecificCharacterSet": "ISO_IR 100",
            "PatientAge": "060Y",
            "PatientSize": "1.75",
            "PatientWeight": "70",
            "IssuerOfPatientID": "SYNTHETIC",
            "TypeOfPatientID": "TEXT",
            "IssuerOfPatientIDQualifiersSequence": [qualifiers],
            "StudyDescription": "Thorax p.a.",
            "AccessionNumber": "ACC1",
            "IssuerOfAccessionNumberSequence": [issuer],
            "ProcedureCodeSequence": [code("THX", "Thorax")],
            "RequestAttributesSequence": [request],
            "InstitutionName": "SYNTHETIC HOSPITAL",
            "InstitutionalDepartmentName": "RADIOLOGY",
            "BodyPartExamined": "LUNG",
            "Laterality": "L",
            "TimezoneOffsetFromUTC": "+0100",
            "PixelSpacing": ["0.4", "0.4"],
            "PixelSpacingCalibrationType": "GEOMETRY",
        },
    )
