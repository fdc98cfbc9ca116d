"""Segmentation, presentation state and key object: what they hold, and where on the radiograph."""

from typing import Any

import cv2
import numpy as np
import pytest
from highdicom.seg import Segmentation
from pydicom import Dataset

from dicom_node.destination import ResultChoice, ResultKind
from dicom_node.reception.intake import Reason, Refused, judge
from dicom_node.results.compose import Results, compose
from dicom_node.results.regions import find_regions
from dicom_node.settings import Settings
from dicom_node.wire import KEY_OBJECT_SELECTION, PRESENTATION_STATE, RESULTS, SEGMENTATION
from pipeline.radiograph import Radiograph
from tests.phantom import as_bytes, chest_phantom, make_cr, make_dx
from tests.readings import MODEL, READ_AT, make_reading

SHAPE = (320, 280)
PHANTOM = chest_phantom(SHAPE)
EVERYTHING = ResultChoice(objects=tuple(ResultKind))
OPTIONAL = {
    ResultKind.SEGMENTATION: (SEGMENTATION, 29001),
    ResultKind.PRESENTATION_STATE: (PRESENTATION_STATE, 39001),
    ResultKind.KEY_OBJECT: (KEY_OBJECT_SELECTION, 49001),
}


def results_of(
    source: Dataset | None = None,
    *,
    score: float = 0.9,
    choice: ResultChoice = EVERYTHING,
    node: str = "",
    **reading: Any,
) -> Results:
    return compose(
        source or make_cr(orientation=("L", "F")),
        Radiograph(pixels=PHANTOM),
        make_reading(SHAPE, score, **reading),
        journey="j",
        view="PA",
        evidence="ViewPosition",
        flags=(),
        read_at=READ_AT,
        node=node,
        choice=choice,
    )


def test_two_nodes_with_the_same_networks_are_two_devices_in_every_object() -> None:
    here, there, by_hand = (results_of(node=node).by_kind() for node in ("a" * 32, "b" * 32, ""))
    for kind, result in here.items():
        devices = [(r.DeviceSerialNumber, r.DeviceUID) for r in (result, there[kind], by_hand[kind])]
        assert len(set(devices)) == 3
        assert devices[0][0] == "a" * 16
        assert f"networks {MODEL.digest[:16]}" in result.SoftwareVersions
        told = result.ContributingEquipmentSequence[-1]
        assert told.DeviceSerialNumber == result.DeviceSerialNumber
        uids = [(r.SOPInstanceUID, r.SeriesInstanceUID) for r in (result, there[kind], by_hand[kind])]
        assert len(set(uids)) == 3, "one PACS may get both"
    for kind in (ResultKind.REPORT, ResultKind.KEY_OBJECT):  # the observer is the device
        assert here[kind].DeviceUID in [str(e.value) for e in here[kind].iterall() if e.keyword == "UID"]


def references(dataset: Dataset) -> set[str]:
    return {str(element.value) for element in dataset.iterall() if element.keyword == "ReferencedSOPInstanceUID"}


@pytest.mark.parametrize("kind", OPTIONAL)
def test_each_lies_in_the_study_in_a_series_of_its_own_and_says_what_it_is_not(kind: ResultKind) -> None:
    source = make_dx(extra={"StudyDescription": "THORAX", "IssuerOfPatientID": "SYNTHETIC"})
    results = results_of(source)
    result = results.by_kind()[kind]
    sop_class, number = OPTIONAL[kind]
    assert (result.SOPClassUID, result.SeriesNumber) == (sop_class, number)
    assert sop_class in RESULTS
    for keyword in ("StudyInstanceUID", "PatientName", "PatientID", "AccessionNumber", "StudyDescription"):
        assert result[keyword].value == source[keyword].value
    assert result.IssuerOfPatientID == "SYNTHETIC"
    assert source.SOPInstanceUID in references(result)
    assert result.SeriesDescription.endswith("NOT FOR DIAGNOSIS")
    assert "not for diagnosis" in str(result).lower()
    assert (result.ManufacturerModelName, result.DeviceSerialNumber) == ("COVID-XNet node", MODEL.digest[:16])
    purposes = [i.PurposeOfReferenceCodeSequence[0].CodeValue for i in result.ContributingEquipmentSequence]
    assert purposes == ["109101", "109102"]
    assert len({ds.SeriesInstanceUID for ds in results.by_kind().values()}) == 5


def test_composing_twice_gives_the_same_bytes_and_the_gate_knows_them_all() -> None:
    source = make_cr(orientation=("L", "F"))
    first, second = results_of(source), results_of(source)
    assert list(first.by_kind()) == list(ResultKind)
    for kind, result in first.by_kind().items():
        assert as_bytes(result) == as_bytes(second.by_kind()[kind])
        verdict = judge(result, Settings())
        assert isinstance(verdict, Refused)
        assert verdict.reason is Reason.OWN_RESULT


@pytest.mark.parametrize(
    ("orientation", "labels"),
    [
        (("L", "F"), ["Right lung", "Left lung"]),
        (("R", "F"), ["Left lung", "Right lung"]),
        (("A", "F"), ["Lung"]),
        (None, ["Lung"]),
    ],
)
def test_a_lung_has_a_side_only_where_the_source_says_which(
    orientation: tuple[str, str] | None, labels: list[str]
) -> None:
    result = results_of(make_cr(orientation=orientation)).by_kind()["segmentation"]
    pixels = Segmentation.from_dataset(result).get_pixels_by_source_instance(
        [result.SourceImageSequence[0].ReferencedSOPInstanceUID]
    )
    columns = {
        item.SegmentLabel: float(np.nonzero(pixels[0, :, :, number])[1].mean())
        for number, item in enumerate(result.SegmentSequence)
    }
    assert sorted(columns, key=lambda label: columns[label]) == labels
    lungs = cv2.resize(make_reading(SHAPE).lungs.astype(np.float32), SHAPE[::-1]) > 0.5
    assert (result.Rows, result.Columns) == SHAPE
    assert (pixels[0].any(axis=-1) == lungs).all()
    sides = {
        item.SegmentLabel: [
            code.CodeMeaning
            for code in item.SegmentedPropertyTypeCodeSequence[0].get("SegmentedPropertyTypeModifierCodeSequence", [])
        ]
        for item in result.SegmentSequence
    }
    assert sides == {label: [label.split()[0]] if " " in label else [] for label in labels}


def test_without_lungs_there_is_no_segmentation_and_the_graphics_say_why() -> None:
    objects = results_of(lungs=False).by_kind()
    assert "segmentation" not in objects
    (annotation,) = objects["presentation-state"].GraphicAnnotationSequence
    assert "GraphicObjectSequence" not in annotation
    assert "no lungs found" in annotation.TextObjectSequence[0].UnformattedTextValue


@pytest.mark.parametrize("score", [0.9, 0.5, 0.1])
def test_the_graphics_are_the_outlines_of_the_report(score: float) -> None:
    state = results_of(score=score).by_kind()["presentation-state"]
    (annotation,) = state.GraphicAnnotationSequence
    drawn = [np.reshape(item.GraphicData, (-1, 2)) for item in annotation.GraphicObjectSequence]
    outlines = find_regions(make_reading(SHAPE, score), rows=SHAPE[0], columns=SHAPE[1]).outlines
    assert len(drawn) == len(outlines) == 2
    for mine, theirs in zip(drawn, outlines, strict=True):
        np.testing.assert_allclose(mine, theirs)
    kinds = {(i.GraphicType, i.GraphicAnnotationUnits, i.GraphicFilled) for i in annotation.GraphicObjectSequence}
    assert kinds == {("POLYLINE", "PIXEL", "N")}
    assert annotation.GraphicLayer == state.GraphicLayerSequence[0].GraphicLayer == "COVID_XNET"
    assert "INVESTIGATIONAL - NOT FOR DIAGNOSIS" in annotation.TextObjectSequence[0].UnformattedTextValue


def test_a_source_with_oblong_pixels_is_shown_undistorted() -> None:
    state = results_of(make_cr(aspect=(2, 1))).by_kind()["presentation-state"]
    assert state.DisplayedAreaSelectionSequence[0].PresentationPixelAspectRatio == [2000, 1000]


def test_a_presentation_state_hides_nothing() -> None:
    state = results_of(make_cr(extra={"ShutterShape": "RECTANGULAR"})).by_kind()["presentation-state"]
    assert not [element.keyword for element in state if "Shutter" in element.keyword or "Mask" in element.keyword]
    area = state.DisplayedAreaSelectionSequence[0]
    assert list(area.DisplayedAreaTopLeftHandCorner) == [1, 1]
    right, bottom = area.DisplayedAreaBottomRightHandCorner
    assert right == SHAPE[1]
    (text,) = state.GraphicAnnotationSequence[0].TextObjectSequence
    assert text.BoundingBoxAnnotationUnits == "DISPLAY"
    # The text begins below the last row of the radiograph.
    assert SHAPE[0] < text.BoundingBoxTopLeftHandCorner[1] * bottom < bottom < 1.25 * SHAPE[0]


def test_text_and_outlines_have_a_dark_seam_where_the_radiograph_is_bright() -> None:
    (annotation,) = results_of().by_kind()["presentation-state"].GraphicAnnotationSequence
    (text,) = annotation.TextObjectSequence
    styles = [text.TextStyleSequence[0], *(line.LineStyleSequence[0] for line in annotation.GraphicObjectSequence)]
    for style in styles:
        light = style.get("TextColorCIELabValue") or style.PatternOnColorCIELabValue
        assert (style.ShadowStyle, style.ShadowOpacity) == ("OUTLINED", 1.0)
        assert style.ShadowColorCIELabValue[0] == 0  # L* of black
        assert light[0] > 0.8 * 65535
    # Each offset is in the units of what it belongs to: a part of the display, pixels of the radiograph.
    assert text.AnchorPointAnnotationUnits == "DISPLAY"
    assert text.AnchorPointVisibility == "N"
    assert 0 < styles[0].ShadowOffsetX < 0.01
    assert 0.1 < styles[1].ShadowOffsetX < 5


@pytest.mark.parametrize(("score", "made"), [(0.9, True), (0.5, False), (0.1, False)])
def test_only_a_positive_reading_makes_a_key_object(score: float, made: bool) -> None:
    assert ("key-object" in results_of(score=score).by_kind()) is made


@pytest.mark.parametrize(
    "along", [(), (ResultKind.OVERLAY,), (ResultKind.REPORT,), (ResultKind.OVERLAY, ResultKind.REPORT)]
)
def test_the_key_object_selects_the_radiograph_and_what_goes_along(along: tuple[ResultKind, ...]) -> None:
    source = make_cr()
    objects = results_of(source, choice=ResultChoice(objects=(*along, ResultKind.KEY_OBJECT))).by_kind()
    selected = [
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in objects["key-object"].ContentSequence
        if item.ValueType in ("IMAGE", "COMPOSITE")
    ]
    assert selected == [source.SOPInstanceUID, *(objects[kind].SOPInstanceUID for kind in along)]
    assert objects["key-object"].ConceptNameCodeSequence[0].CodeMeaning == "Of Interest"
