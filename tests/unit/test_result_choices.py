"""What a destination can choose: which objects, in which form, and that forms never share an identity."""

from io import BytesIO
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from dicom_node.destination import (
    BY_DEFAULT,
    OverlayLayout,
    OverlaySize,
    ReportClass,
    ResultChoice,
    ResultKind,
    TextEncoding,
)
from dicom_node.reception.intake import Reason, Refused, judge
from dicom_node.results.compose import Results, compose
from dicom_node.results.identity import forms_of
from dicom_node.settings import Settings
from dicom_node.wire import COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR
from pipeline.radiograph import Radiograph
from tests.phantom import as_bytes, chest_phantom, make_cr
from tests.readings import READ_AT, make_reading

SHAPE = (320, 280)
PHANTOM = chest_phantom(SHAPE)
SOURCE = make_cr(pixels=(PHANTOM * 4095).astype(np.uint16))
UTF_8 = ["ISO_IR 192"]
REPORT_ALONE = ResultChoice(objects=(ResultKind.REPORT,))
OLD_PACS = ResultChoice(report_class=ReportClass.COMPREHENSIVE)
SOURCE_SET = ResultChoice(character_set=TextEncoding.SOURCE)
FORMS = (
    BY_DEFAULT,
    REPORT_ALONE,
    OLD_PACS,
    ResultChoice(overlay_layout=OverlayLayout.SIDE_BY_SIDE),
    ResultChoice(overlay_size=OverlaySize.SMALL),
    ResultChoice(overlay_layout=OverlayLayout.SIDE_BY_SIDE, overlay_size=OverlaySize.SMALL),
)


def results_of(choice: ResultChoice, source: Dataset | None = None, *, score: float = 0.731) -> Results:
    return compose(
        source or SOURCE,
        Radiograph(pixels=PHANTOM),
        make_reading(SHAPE, score),
        journey="j",
        view="PA",
        evidence="ViewPosition",
        flags=(),
        read_at=READ_AT,
        choice=choice,
    )


def uids_of(results: Results) -> dict[str, tuple[str, str]]:
    return {kind: (ds.SOPInstanceUID, ds.SeriesInstanceUID) for kind, ds in results.by_kind().items()}


def named(charset: str | list[str] | None, encoded: bytes) -> Dataset:
    """A CR whose PatientName has these bytes under this SpecificCharacterSet, right or wrong."""
    placeholder = b"X" * (len(encoded) + len(encoded) % 2)
    extra = {"PatientName": placeholder.decode(), "SpecificCharacterSet": "ISO_IR 6"}
    data = as_bytes(make_cr(pixels=(PHANTOM * 4095).astype(np.uint16), extra=extra))
    source = dcmread(BytesIO(data.replace(placeholder, encoded.ljust(len(placeholder)))))
    source.SpecificCharacterSet = charset
    return source


@pytest.mark.parametrize("choice", FORMS)
def test_what_is_made_is_what_was_asked_for(choice: ResultChoice) -> None:
    assert tuple(results_of(choice).by_kind()) == choice.objects


def test_objects_that_differ_never_share_a_uid_and_equal_ones_always_do() -> None:
    for one, other in combinations([results_of(choice) for choice in FORMS], 2):
        mine, theirs = uids_of(one), uids_of(other)
        for kind in mine.keys() & theirs.keys():
            alike = as_bytes(one.by_kind()[kind]) == as_bytes(other.by_kind()[kind])
            assert (mine[kind] == theirs[kind]) is alike
            assert (mine[kind][1] == theirs[kind][1]) is alike


def test_a_report_for_an_older_pacs_shares_the_overlay_with_the_plainest_form() -> None:
    plain, old = uids_of(results_of(BY_DEFAULT)), uids_of(results_of(OLD_PACS))
    assert plain["overlay"] == old["overlay"]
    assert plain["report"] != old["report"]


def test_the_plainest_form_has_the_name_of_its_kind() -> None:
    # So that what a node without choices has sent is not sent again under another UID.
    assert forms_of(BY_DEFAULT, UTF_8) == {kind: kind.value for kind in ResultKind}


def test_the_report_class_is_that_of_the_choice_and_the_content_the_same() -> None:
    new, old = results_of(BY_DEFAULT).structured_report, results_of(OLD_PACS).structured_report
    assert (new.SOPClassUID, old.SOPClassUID) == (COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR)
    assert old.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert old.ContentSequence == new.ContentSequence


def test_a_report_that_goes_alone_refers_to_no_overlay() -> None:
    report = results_of(REPORT_ALONE).structured_report
    names = {element.value for element in report.iterall() if element.keyword == "ReferencedSOPClassUID"}
    assert names == {"1.2.840.10008.5.1.4.1.1.1"}
    assert not [e for e in report.iterall() if e.keyword == "CodeValue" and e.value == "125201"]


def test_the_capture_says_that_the_radiograph_stands_beside_it() -> None:
    wide = results_of(ResultChoice(overlay_layout=OverlayLayout.SIDE_BY_SIDE)).secondary_capture
    plain = results_of(BY_DEFAULT).secondary_capture
    assert wide.DerivationDescription.startswith("On the left the radiograph")
    assert wide.Columns > 2 * plain.Columns
    assert not plain.DerivationDescription.startswith("On the left")


def test_a_calibrated_spacing_is_that_of_the_small_overlay() -> None:
    source = make_cr(size=SHAPE, extra={"PixelSpacing": ["0.4", "0.4"], "PixelSpacingCalibrationType": "FIDUCIAL"})
    small = results_of(ResultChoice(overlay_size=OverlaySize.SMALL), source).secondary_capture
    assert float(small.PixelSpacing[0]) * 1024 == pytest.approx(0.4 * SHAPE[0])
    assert float(small.PixelSpacing[1]) * small.Columns == pytest.approx(0.4 * SHAPE[1])


@pytest.mark.parametrize(
    ("charset", "name", "encoded"),
    [
        ("ISO_IR 100", "MÜLLER^Jörg", "MÜLLER^Jörg".encode("latin-1")),
        ("ISO_IR 126", "ΔΟΚΙΜΗ^Α", "ΔΟΚΙΜΗ^Α".encode("iso8859-7")),
        ("ISO_IR 144", "ТЕСТ^Анна", "ТЕСТ^Анна".encode("iso8859-5")),
        ("GB18030", "Hecheng^Ceshi=合成^测试", "Hecheng^Ceshi=合成^测试".encode("gb18030")),
        ("GBK", "Hecheng^Ceshi=合成^测试", "Hecheng^Ceshi=合成^测试".encode("gbk")),
        (
            ["", "ISO 2022 IR 87"],
            "Gousei^Tesuto=合成^試験",
            b"Gousei^Tesuto=\x1b$B9g@.\x1b(B^\x1b$B;n83\x1b(B",
        ),
        (["", "ISO 2022 IR 149"], "Hap^Seong=合成", b"Hap^Seong=\x1b$)C\xf9\xea\xe0\xf7"),
        (None, "PLAIN^Ascii", b"PLAIN^Ascii"),
    ],
    ids=["latin-1", "greek", "cyrillic", "gb18030", "gbk", "japanese", "korean", "ascii"],
)
def test_results_are_in_the_character_set_of_the_source_when_that_is_asked_for(
    charset: Any, name: str, encoded: bytes
) -> None:
    source = named(charset, encoded)
    results = results_of(SOURCE_SET, source)
    for result in results.by_kind().values():
        again = dcmread(BytesIO(as_bytes(result)))
        assert again.get("SpecificCharacterSet") == (source.SpecificCharacterSet if charset else None)
        assert str(again.PatientName) == name
    assert set(uids_of(results).values()).isdisjoint(uids_of(results_of(BY_DEFAULT, source)).values())


@pytest.mark.parametrize(
    ("charset", "name", "encoded"),
    [
        ("NO SUCH SET", "MÜLLER^Jörg", "MÜLLER^Jörg".encode("latin-1")),
        (None, "MÜLLER^Jörg", "MÜLLER^Jörg".encode("latin-1")),
        (["", "ISO 2022 IR 87"], "MÜLLER^Jörg", "MÜLLER^Jörg".encode("latin-1")),
        ("ISO_IR 192", "MÜLLER^Jörg", "MÜLLER^Jörg".encode("latin-1")),
    ],
    ids=["unknown", "unnamed", "wrong", "utf-8"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom on a character set that is none
def test_a_set_that_does_not_hold_the_name_gives_way_to_unicode(charset: Any, name: str, encoded: bytes) -> None:
    source = named(charset, encoded)
    results = results_of(SOURCE_SET, source)
    for result in results.by_kind().values():
        again = dcmread(BytesIO(as_bytes(result)))
        assert again.SpecificCharacterSet == "ISO_IR 192"
        assert str(again.PatientName) == name
    assert uids_of(results) == uids_of(results_of(BY_DEFAULT, source))


@pytest.mark.parametrize("choice", FORMS)
def test_the_gate_knows_every_form_as_its_own(choice: ResultChoice) -> None:
    for result in results_of(choice).by_kind().values():
        verdict = judge(result, Settings())
        assert isinstance(verdict, Refused)
        assert verdict.reason is Reason.OWN_RESULT
