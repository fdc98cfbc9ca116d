import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from dicom_node.reception.intake import Accepted, Reason, Refused, View, judge
from dicom_node.settings import Settings
from dicom_node.wire import RADIOGRAPHS

KEYWORDS = (
    "SOPClassUID",
    "ImageType",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BodyPartExamined",
    "AnatomicRegionSequence",
    "ViewPosition",
    "ViewCodeSequence",
    "PatientOrientation",
    "SeriesDescription",
    "ProtocolName",
    "AcquisitionDeviceProcessingDescription",
    "StudyDescription",
    "ProcedureCodeSequence",
    "ContributingEquipmentSequence",
    "ManufacturerModelName",
    "ConversionType",
    "BurnedInAnnotation",
    "SpecificCharacterSet",
)
KNOWN = ("CHEST", "HAND", "PA", "LL", "Thorax p.a.", "DERIVED", "SECONDARY", "272479007", "L", "F", "MONOCHROME2", "1")
VRS = ("CS", "LO", "US", "SQ", "DS", "IS", "UI", "UN", "OB", "PN", "AT", "FD")

SETTINGS = Settings()

Values = dict[str, tuple[bytes, str | None]]
Parts = tuple[Values, Values, set[str], bool]

contents = st.one_of(
    st.binary(max_size=30),
    st.lists(st.sampled_from(KNOWN), max_size=3).map(lambda parts: "\\".join(parts).encode()),
    st.integers(0, 65535).map(lambda number: struct.pack("<H", number)),
)
plain_headers = st.dictionaries(
    st.sampled_from(KEYWORDS), st.tuples(contents, st.sampled_from((None, *VRS))), max_size=12
)


def element(keyword: str, content: bytes, vr: str | None) -> RawDataElement:
    """An element as it comes from a file: any bytes, under its own VR (None) or another."""
    tag = Tag(tag_for_keyword(keyword) or 0)
    return RawDataElement(tag, vr or dictionary_VR(tag), len(content), content, 0, False, True)


def dataset_of(values: Values) -> Dataset:
    elements = (element(keyword, content, vr) for keyword, (content, vr) in values.items())
    return Dataset({raw.tag: raw for raw in elements})


def build(
    values: Values,
    code: Values,
    sequences: set[str],
    sound: bool,
) -> Dataset:
    header = dataset_of(values)
    for keyword in sequences:
        header[keyword] = DataElement(keyword, "SQ", Sequence([dataset_of(code)] if code else []))
    if sound:
        # As far as the later rules of the gate.
        for keyword in ("NumberOfFrames", "PhotometricInterpretation"):
            if keyword in header:
                del header[keyword]
        header.add_new("SOPClassUID", "UI", RADIOGRAPHS[0])
        for keyword, value in (("Rows", 500), ("Columns", 500), ("SamplesPerPixel", 1)):
            header.add_new(keyword, "US", value)
    return header


headers = st.tuples(
    plain_headers,
    st.dictionaries(
        st.sampled_from(("CodeValue", "CodingSchemeDesignator", "CodeMeaning", "ManufacturerModelName")),
        st.tuples(contents, st.sampled_from((None, *VRS))),
    ),
    st.sets(st.sampled_from([keyword for keyword in KEYWORDS if keyword.endswith("Sequence")])),
    st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(headers)
def test_judge_never_raises_and_always_gives_a_whole_verdict(parts: Parts) -> None:
    header = build(*parts)
    with disable_value_validation():
        verdict = judge(header, SETTINGS)

    match verdict:
        case Accepted():
            assert verdict.view in View
            assert (verdict.view is View.UNKNOWN) == (verdict.evidence == "")
            assert ("view unknown" in verdict.flags) == (verdict.view is View.UNKNOWN)
        case Refused():
            assert verdict.reason in Reason
            assert verdict.detail.endswith(".")


@settings(max_examples=100, deadline=None)
@given(headers)
def test_the_same_header_gets_the_same_verdict(parts: Parts) -> None:
    with disable_value_validation():
        assert judge(build(*parts), SETTINGS) == judge(build(*parts), SETTINGS)
