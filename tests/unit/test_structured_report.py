from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from highdicom.sr import Comprehensive3DSR
from pydicom import Dataset

from dicom_node.results.compose import Results, compose
from dicom_node.results.regions import RegionKind, find_regions
from dicom_node.wire import COMPREHENSIVE_3D_SR
from pipeline.radiograph import Radiograph
from pipeline.reading import Reading, Verdict
from tests.phantom import chest_phantom, make_cr
from tests.readings import MODEL, READ_AT, make_reading

SHAPE = (320, 280)
PHANTOM = chest_phantom(SHAPE)


def _source(**extra: Any) -> Dataset:
    return make_cr(pixels=(PHANTOM * 4095).astype(np.uint16), extra=extra)


def _results(reading: Reading, source: Dataset | None = None, flags: tuple[str, ...] = ()) -> Results:
    return compose(
        source or _source(),
        Radiograph(pixels=PHANTOM),
        reading,
        journey="j",
        view="PA",
        evidence="ViewPosition",
        flags=flags,
        read_at=READ_AT,
    )


def _items(node: Dataset, code: str | None = None, value_type: str | None = None) -> list[Dataset]:
    """Content items below `node`, in the order of the document, by concept name and value type."""
    found = []
    for item in node.get("ContentSequence", []):
        name = item.ConceptNameCodeSequence[0].CodeValue if "ConceptNameCodeSequence" in item else None
        if code in (None, name) and value_type in (None, item.ValueType):
            found.append(item)
        found += _items(item, code, value_type)
    return found


def _texts(report: Dataset) -> str:
    return "\n".join(item.TextValue for item in _items(report, value_type="TEXT"))


@pytest.mark.parametrize(
    ("score", "code", "meaning"),
    [(0.731, "10828004", "Positive"), (0.12, "260385009", "Negative"), (0.497, "82334004", "Indeterminate")],
)
def test_the_report_holds_the_score_once_in_percent_with_its_interpretation(
    score: float, code: str, meaning: str
) -> None:
    report = _results(make_reading(SHAPE, score)).structured_report
    (number,) = _items(report, "111012")
    value = number.MeasuredValueSequence[0]
    assert float(value.NumericValue) == pytest.approx(100 * score)
    assert value.MeasurementUnitsCodeSequence[0].CodeValue == "%"
    assert [item.TextValue for item in _items(number, "111001") + _items(number, "111003")] == ["COVID-XNet", "1.0.0"]
    (interpretation,) = _items(report, "363713009")
    assert interpretation.ConceptCodeSequence[0].CodeValue == code
    assert interpretation.ConceptCodeSequence[0].CodeMeaning == meaning


def test_the_report_is_an_unverified_preliminary_measurement_report() -> None:
    report = _results(make_reading(SHAPE)).structured_report
    assert report.SOPClassUID == COMPREHENSIVE_3D_SR
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert report.ConceptNameCodeSequence[0].CodeValue == "126000"
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "PRELIMINARY",
    )
    assert report.SeriesNumber == 19001


def test_highdicom_reads_the_report_back() -> None:
    report = Comprehensive3DSR.from_dataset(_results(make_reading(SHAPE)).structured_report)
    groups = report.content.get_planar_roi_measurement_groups()
    assert len(groups) == 2
    assert [group.get_measurements()[0].value for group in groups[:1]] == [pytest.approx(73.1)]
    (observer,) = report.content.get_observer_contexts()
    assert observer.observer_identifying_attributes.serial_number == MODEL.digest[:16]


def test_the_report_says_what_it_is_not() -> None:
    report = _results(make_reading(SHAPE)).structured_report
    texts = _texts(report)
    assert "Investigational. Not for diagnosis." in texts
    assert "it reports no disorder" in texts
    assert "not commissioned at this site" in texts
    assert "Not assessed: all but opacities" in texts
    assert not any("840539006" in str(item) for item in _items(report))


@pytest.mark.parametrize(
    ("series", "image", "told"),
    [(4, 2, "Radiograph: series 4, image 2."), (4, None, "Radiograph: series 4."), (None, None, None)],
)
def test_in_a_study_of_several_radiographs_the_report_says_which_it_is_on(
    series: int | None, image: int | None, told: str | None
) -> None:
    source = _source(SeriesNumber=series, InstanceNumber=image)
    texts = _texts(_results(make_reading(SHAPE), source=source).structured_report).splitlines()
    assert [text for text in texts if text.startswith("Radiograph:")] == ([told] if told else [])


@pytest.mark.parametrize(
    ("tells_apart", "sentence"),
    [
        (False, "The network cannot tell COVID-19 from other pneumonia."),
        (None, "The network is not shown to tell COVID-19 from other pneumonia."),
        (True, None),
    ],
)
def test_the_conclusion_itself_tells_the_limit_of_the_networks(tells_apart: bool | None, sentence: str | None) -> None:
    report = _results(replace(make_reading(SHAPE), tells_apart=tells_apart)).structured_report
    (conclusion,) = [text for text in _texts(report).splitlines() if text.startswith("COVID-19 suspicion score")]
    assert ("from other pneumonia" in conclusion) is (sentence is not None)
    assert (sentence or "Investigational. Not for diagnosis.") in conclusion
    assert _texts(report).count("from other pneumonia") == (sentence is not None)


def test_view_evidence_and_flags_stand_in_the_report() -> None:
    texts = _texts(_results(make_reading(SHAPE), flags=("view contradicted",)).structured_report)
    assert "Projection: PA, told by ViewPosition." in texts
    assert "Remark: view contradicted." in texts


def test_the_report_refers_to_source_and_overlay_and_names_both_as_evidence() -> None:
    source = _source()
    results = _results(make_reading(SHAPE), source)
    report, capture = results.structured_report, results.secondary_capture
    held = {
        (study.StudyInstanceUID, series.SeriesInstanceUID, item.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert held == {(o.StudyInstanceUID, o.SeriesInstanceUID, o.SOPInstanceUID) for o in (source, capture)}
    (illustration,) = _items(report, "125201")
    assert illustration.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == capture.SOPInstanceUID
    library = _items(report, "111028")[0]
    (entry,) = _items(library, value_type="IMAGE")
    assert entry.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID


def test_a_source_without_orientation_and_spacing_still_stands_in_the_image_library() -> None:
    source = _source(PatientOrientation=None, ImagerPixelSpacing=None)
    library = _items(_results(make_reading(SHAPE), source).structured_report, "111028")[0]
    assert len(_items(library, value_type="IMAGE")) == 1


def test_each_region_is_a_closed_polyline_around_its_part_of_the_source() -> None:
    reading = make_reading(SHAPE)
    report = _results(reading).structured_report
    regions = _items(report, "111030", "SCOORD")
    assert len(regions) == 2
    hottest = np.array(np.unravel_index(reading.heatmap.argmax(), reading.heatmap.shape)) + 0.5
    row, column = hottest * np.array(SHAPE) / reading.heatmap.shape
    outlines = [np.array(region.GraphicData).reshape(-1, 2) for region in regions]
    for region, outline in zip(regions, outlines, strict=True):
        assert region.GraphicType == "POLYLINE"
        assert (outline[0] == outline[-1]).all()
        assert (outline >= 0).all()
        assert (outline <= [SHAPE[1], SHAPE[0]]).all()
        assert (outline % 1 != 0).any(), "coordinates are sub-pixel"
    around = [o for o in outlines if (o.min(axis=0) < [column, row]).all() and (o.max(axis=0) > [column, row]).all()]
    assert len(around) == 1
    tracking = [item.UID for item in _items(report, "112040")]
    assert len(tracking) == len(set(tracking)) == 2


@pytest.mark.parametrize(
    ("score", "lungs", "heat", "kind", "count"),
    [
        (0.9, True, True, RegionKind.HEAT, 2),
        (0.5, True, True, RegionKind.HEAT, 2),
        (0.1, True, True, RegionKind.LUNGS, 2),
        (0.9, True, False, RegionKind.LUNGS, 2),
        (0.9, False, False, RegionKind.NONE, 0),
        (0.1, False, False, RegionKind.NONE, 0),
    ],
)
def test_what_is_outlined_follows_from_verdict_heat_and_lungs(
    score: float, lungs: bool, heat: bool, kind: RegionKind, count: int
) -> None:
    regions = find_regions(make_reading(SHAPE, score, lungs=lungs, heat=heat), rows=2000, columns=1750)
    assert regions.kind is kind
    assert len(regions.outlines) == count


def test_a_mask_that_fills_the_grid_is_outlined_inside_the_source() -> None:
    full = make_reading((512, 400), 0.1)
    reading = Reading(
        score=full.score,
        verdict=Verdict.NEGATIVE,
        threshold=full.threshold,
        band=full.band,
        heatmap=full.heatmap,
        lungs=np.ones_like(full.lungs),
        model=full.model,
        stages=full.stages,
    )
    (outline,) = find_regions(reading, rows=2560, columns=2000).outlines
    assert outline.min(axis=0).tolist() == [2.5, 2.5]
    assert outline.max(axis=0).tolist() == [1997.5, 2557.5]


def test_without_lungs_the_score_has_no_region_and_the_report_says_why() -> None:
    report = _results(make_reading(SHAPE, lungs=False)).structured_report
    assert not _items(report, value_type="SCOORD")
    assert len(_items(report, "111012")) == 1
    assert "the node found no lungs in this radiograph" in _texts(report)


def test_the_largest_regions_are_kept_when_there_are_many() -> None:
    base = make_reading((512, 512))
    heat = np.zeros_like(base.heatmap)
    for i in range(7):
        heat[60 * i + 10 : 60 * i + 30 + 3 * i, 100:140] = 1
    heat[500:502, 500:502] = 1
    reading = Reading(
        score=0.9,
        verdict=Verdict.POSITIVE,
        threshold=0.5,
        band=(0.5, 0.5),
        heatmap=heat,
        lungs=base.lungs,
        model=base.model,
        stages=base.stages,
    )
    heights = [np.ptp(o[:, 1]) for o in find_regions(reading, rows=512, columns=512).outlines]
    assert heights == sorted(heights, reverse=True)
    assert heights == [37.0, 34.0, 31.0, 28.0]
