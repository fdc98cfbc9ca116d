"""Sources that say more than the standard allows: what comes back is valid and says so, or nothing comes back."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.config import disable_value_validation

from dicom_node.errors import CannotCompose
from dicom_node.results.compose import Results, compose, save
from pipeline.radiograph import from_dicom
from tests.conformance.validators import complaints
from tests.phantom import as_bytes, make_cr
from tests.readings import READ_AT, make_reading

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom on the invalid sources themselves


def results_of(**values: Any) -> Results:
    with disable_value_validation():
        return composed(make_cr(size=(160, 140), extra=values))


def composed(source: Dataset) -> Results:
    radiograph = from_dicom(source, maximum_pixels=10**6)
    return compose(
        source,
        radiograph,
        make_reading(radiograph.pixels.shape, 0.9, side=256),
        journey="limits",
        view="PA",
        evidence="ViewPosition",
        flags=("a flag of the gate",),
        read_at=READ_AT,
    )


def texts(dataset: Dataset) -> list[str]:
    """Every text of a content tree."""
    return [str(element.value) for element in dataset.iterall() if element.keyword == "TextValue"]


@pytest.mark.parametrize(
    ("keyword", "value", "carried", "remark"),
    [
        ("AccessionNumber", "A" * 17, None, "is too long and was left empty"),
        ("StudyID", "S" * 17, None, "is too long and was left empty"),
        ("ReferringPhysicianName", "R" * 65, None, "is too long and was left empty"),
        ("StudyDescription", "D" * 65, "D" * 64, "is too long and was cut"),
        ("StudyDescription", ["first", "second"], "first", "is too long and was cut"),
        ("InstitutionName", "H" * 65, "H" * 64, "is too long and was cut"),
        ("PatientSize", "1.70000000000000000", None, "is too long and was left out"),
        ("PatientSex", "U", None, "is not valid and was left out"),
        ("StudyDate", "20201399", None, "is not valid and was left out"),
        ("PatientAge", "sixty", None, "is not valid and was left out"),
        ("BodyPartExamined", "chest-pa", None, "is not valid and was left out"),
        ("PatientSex", "f", "F", "is in small letters and was put into capitals"),
        ("Laterality", "B", None, "is not valid and was left out"),
        ("PixelSpacing", ["0", "0"], None, "is not valid and was left out"),
    ],
)
def test_what_cannot_be_carried_over_is_mended_and_the_report_says_so(
    keyword: str, value: object, carried: str | None, remark: str, tmp_path: Path
) -> None:
    results = results_of(**{keyword: value})
    for kind, result in results.by_kind().items():
        save(result, tmp_path / f"{kind}.dcm")
        assert complaints(tmp_path / f"{kind}.dcm") == []
        assert (str(result.get(keyword) or "") or None) == carried
    told = texts(results.structured_report)
    assert f"Remark: {keyword} of the source {remark}." in told
    assert "Remark: a flag of the gate." in told
    assert results.repairs == (f"{keyword} of the source {remark}",)


def test_a_body_part_in_small_letters_is_told_in_capitals() -> None:
    results = results_of(BodyPartExamined="lung")
    assert results.secondary_capture.BodyPartExamined == "LUNG"
    assert results.repairs == ("BodyPartExamined of the source is in small letters and was put into capitals",)


def test_a_wrong_character_set_is_a_repair_that_is_recorded() -> None:
    with disable_value_validation():
        data = as_bytes(
            make_cr(size=(160, 140), extra={"PatientName": "XXXXXXXXXXXX", "SpecificCharacterSet": "ISO_IR 192"})
        )
    source = dcmread(BytesIO(data.replace(b"XXXXXXXXXXXX", "MÜLLER^Jörg ".encode("latin-1"))))
    results = composed(source)
    assert str(results.structured_report.PatientName) == "MÜLLER^Jörg"
    assert results.repairs == (
        "SpecificCharacterSet of the source is not that of its texts, which were read as ISO 8859-1",
    )


@pytest.mark.parametrize("keyword", ["StationName", "Manufacturer", "DeviceSerialNumber", "SoftwareVersions"])
def test_equipment_with_long_names_is_named_within_the_limits(keyword: str, tmp_path: Path) -> None:
    for kind, result in results_of(**{keyword: "E" * 100}).by_kind().items():
        save(result, tmp_path / f"{kind}.dcm")
        assert complaints(tmp_path / f"{kind}.dcm") == []


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientID", "I" * 65),
        ("PatientID", ["ONE", "TWO"]),
        ("IssuerOfPatientID", "I" * 65),
        ("PatientName", "N" * 65),
        ("PatientName", "A=B=C=D"),
        ("PatientName", "A^B^C^D^E^F"),
    ],
)
def test_an_identity_that_cannot_be_told_unchanged_brings_no_object(keyword: str, value: object) -> None:
    with pytest.raises(CannotCompose, match=keyword) as raised:
        results_of(**{keyword: value})
    assert str(value) not in str(raised.value)


def test_the_longest_that_is_allowed_is_carried_over_as_it_is() -> None:
    allowed = {
        "PatientID": "I" * 64, "PatientName": "N" * 64, "AccessionNumber": "A" * 16, "StudyDescription": "D" * 64,
    }  # fmt: skip
    results = results_of(**allowed)
    for result in results.by_kind().values():
        assert {keyword: str(result[keyword].value) for keyword in allowed} == allowed
    assert not [text for text in texts(results.structured_report) if "of the source" in text]
