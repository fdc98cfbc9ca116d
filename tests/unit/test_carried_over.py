"""What each kind of result takes over from its source, in a table, and what its IOD has no place for."""

from io import BytesIO
from typing import Final

import pytest
from pydicom import Dataset, dcmread
from pydicom.config import disable_value_validation

from dicom_node.destination import ResultChoice, ResultKind, TextEncoding
from dicom_node.results.compose import Results, compose
from pipeline.radiograph import Radiograph
from tests.orders import item, ordered
from tests.phantom import as_bytes, chest_phantom
from tests.readings import READ_AT, make_reading

PHANTOM: Final = chest_phantom((160, 140))

OVERLAY, REPORT, SEGMENTATION, GRAPHICS, KEY = ResultKind
ALL: Final = frozenset(ResultKind)
IMAGES: Final = frozenset({OVERLAY, SEGMENTATION})
SERIES: Final = frozenset({OVERLAY, SEGMENTATION, GRAPHICS})
"""Those with the module General Series; documents have series modules of their own. PS3.3 C.7.3.1, C.17.1, C.17.6.1."""
DOCUMENTS: Final = frozenset({REPORT, KEY})


def results_of(source: Dataset, encoding: TextEncoding = TextEncoding.UTF_8) -> Results:
    """As of a source that came over the network: its texts are bytes."""
    with disable_value_validation():
        received = dcmread(BytesIO(as_bytes(source)))
    return compose(
        received,
        Radiograph(pixels=PHANTOM),
        make_reading(PHANTOM.shape, 0.9, side=256),
        journey="carried",
        view="PA",
        evidence="ViewPosition",
        flags=(),
        read_at=READ_AT,
        choice=ResultChoice(objects=tuple(ResultKind), character_set=encoding),
    )


@pytest.fixture(scope="module")
def made() -> tuple[Dataset, Results]:
    source = ordered()
    return source, results_of(source)


@pytest.mark.parametrize(
    ("keyword", "kinds"),
    [
        ("StudyInstanceUID", ALL),
        ("PatientName", ALL),
        ("PatientID", ALL),
        ("IssuerOfPatientID", ALL),
        ("IssuerOfPatientIDQualifiersSequence", ALL),
        ("TypeOfPatientID", ALL),
        ("PatientBirthDate", ALL),
        ("PatientSex", ALL),
        ("PatientAge", ALL),
        ("PatientSize", ALL),
        ("PatientWeight", ALL),
        ("StudyID", ALL),
        ("StudyDate", ALL),
        ("StudyTime", ALL),
        ("StudyDescription", ALL),
        ("ProcedureCodeSequence", ALL),
        ("AccessionNumber", ALL),
        ("IssuerOfAccessionNumberSequence", ALL),
        ("ReferringPhysicianName", ALL),
        ("InstitutionName", ALL),
        ("InstitutionalDepartmentName", ALL),
        ("TimezoneOffsetFromUTC", ALL),
        ("RequestAttributesSequence", SERIES),
        ("BodyPartExamined", SERIES),
        # The segments of a segmentation say which lung is which.
        ("Laterality", SERIES - {SEGMENTATION}),
        ("PatientOrientation", IMAGES),
    ],
)
def test_each_kind_says_as_the_source_says_what_its_iod_has_a_place_for(
    keyword: str, kinds: frozenset[ResultKind], made: tuple[Dataset, Results]
) -> None:
    source, results = made
    assert source[keyword].value
    assert {ResultKind(kind) for kind, result in results.by_kind().items() if keyword in result} == kinds
    for kind in kinds:
        assert results.objects[kind][keyword].value == source[keyword].value
    assert results.repairs == ()


def test_a_pixel_spacing_is_told_where_the_pixels_are_others_and_not_those_of_the_source(
    made: tuple[Dataset, Results],
) -> None:
    _, results = made
    factor = 768 / 140  # a small radiograph is enlarged
    assert [float(n) for n in results.secondary_capture.PixelSpacing] == pytest.approx([0.4 / factor] * 2, rel=1e-2)
    assert "PixelSpacing" not in results.objects[SEGMENTATION]


@pytest.mark.parametrize("kind", sorted(DOCUMENTS))
def test_a_document_names_the_request_that_it_fulfils(kind: ResultKind, made: tuple[Dataset, Results]) -> None:
    source, results = made
    (request,) = results.objects[kind].ReferencedRequestSequence
    (asked,) = source.RequestAttributesSequence
    assert request.StudyInstanceUID == source.StudyInstanceUID
    for keyword in (
        "AccessionNumber",
        "IssuerOfAccessionNumberSequence",
        "RequestedProcedureID",
        "RequestedProcedureDescription",
        "RequestedProcedureCodeSequence",
        "ReasonForTheRequestedProcedure",
    ):
        assert request[keyword].value == asked[keyword].value
    # Type 2, and of the order itself, which an image does not know. PS3.3 C.17.2.
    assert request["PlacerOrderNumberImagingServiceRequest"].is_empty
    assert request["FillerOrderNumberImagingServiceRequest"].is_empty
    assert not request.ReferencedStudySequence
    assert "ScheduledProcedureStepID" not in request


def test_a_request_without_a_number_of_its_own_has_that_of_the_study() -> None:
    source = ordered()
    del source.RequestAttributesSequence[0].AccessionNumber
    del source.RequestAttributesSequence[0].IssuerOfAccessionNumberSequence
    (request,) = results_of(source).structured_report.ReferencedRequestSequence
    assert request.AccessionNumber == "ACC1"
    assert request.IssuerOfAccessionNumberSequence[0].LocalNamespaceEntityID == "RIS"


def test_a_study_with_two_requests_has_results_with_two() -> None:
    source = ordered()
    source.AccessionNumber = None
    source.RequestAttributesSequence.append(item(RequestedProcedureID="RP2", AccessionNumber="ACC2"))
    results = results_of(source)
    for kind, result in results.by_kind().items():
        requests = result.get("RequestAttributesSequence") or result.ReferencedRequestSequence
        assert [request.AccessionNumber for request in requests] == ["ACC1", "ACC2"], kind
        assert not result.AccessionNumber


def test_without_an_order_there_is_no_empty_one() -> None:
    source = ordered()
    for keyword in (
        "RequestAttributesSequence",
        "IssuerOfAccessionNumberSequence",
        "IssuerOfPatientIDQualifiersSequence",
    ):
        del source[keyword]
    for result in results_of(source).by_kind().values():
        assert "RequestAttributesSequence" not in result
        assert "ReferencedRequestSequence" not in result
        assert "IssuerOfAccessionNumberSequence" not in result


def test_texts_in_sequences_keep_their_letters_in_either_character_set() -> None:
    for encoding, charset in ((TextEncoding.UTF_8, "ISO_IR 192"), (TextEncoding.SOURCE, "ISO_IR 100")):
        capture = dcmread(BytesIO(as_bytes(results_of(ordered(), encoding).secondary_capture)))
        assert capture.SpecificCharacterSet == charset
        assert capture.RequestAttributesSequence[0].RequestedProcedureDescription == "Thorax p.a. für Jörg"


@pytest.mark.parametrize(
    ("keyword", "wrong"),
    [
        ("IssuerOfAccessionNumberSequence", item(UniversalEntityID="1.2.3")),  # of which type?
        ("IssuerOfAccessionNumberSequence", item(UniversalEntityID="1.2.3", UniversalEntityIDType="NONE")),
        ("ProcedureCodeSequence", item(CodeValue="THX", CodeMeaning="Thorax")),  # of which scheme?
        ("ProcedureCodeSequence", item(CodeValue="X" * 17, CodingSchemeDesignator="L", CodeMeaning="Thorax")),
        ("RequestAttributesSequence", item(RequestedProcedureDescription="whose?")),
        ("RequestAttributesSequence", item(RequestedProcedureID="R" * 17)),
        ("IssuerOfPatientIDQualifiersSequence", item(IdentifierTypeCode="much too long a code")),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom on the invalid sources themselves
def test_what_is_not_valid_in_a_sequence_is_left_out_and_recorded(keyword: str, wrong: Dataset) -> None:
    source = ordered()
    with disable_value_validation():
        source[keyword].value = [wrong]
        results = results_of(source)
    for result in results.by_kind().values():
        assert keyword not in result
    assert results.repairs == (f"{keyword} of the source is not all valid and was left out in part",)


def test_an_accession_number_that_is_too_long_takes_its_issuer_with_it() -> None:
    source = ordered()
    with disable_value_validation():
        source.AccessionNumber = "A" * 17
        results = results_of(source)
    assert "IssuerOfAccessionNumberSequence" not in results.secondary_capture
    assert results.repairs == ("AccessionNumber of the source is too long and was left empty",)


def test_sequences_that_are_none_stop_no_result() -> None:
    source = ordered()
    source.RequestAttributesSequence = []
    data = as_bytes(source).replace(b"RIS ", b"R\x1b\\S")  # a control character and a second value
    results = results_of(dcmread(BytesIO(data)))
    assert "RequestAttributesSequence" not in results.secondary_capture
    issuer = results.secondary_capture.IssuerOfAccessionNumberSequence[0]
    assert issuer.UniversalEntityID == "1.2.3"
