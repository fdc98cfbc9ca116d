import warnings
from datetime import timedelta, timezone
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import JPEG2000, ExplicitVRLittleEndian

from dicom_node.errors import CannotCompose
from dicom_node.reception.intake import Reason, Refused, judge
from dicom_node.results.compose import Results, compose, save
from dicom_node.results.overlay import drawn_shape
from dicom_node.settings import Settings
from dicom_node.wire import SECONDARY_CAPTURE
from pipeline.radiograph import Radiograph
from tests.phantom import as_bytes, chest_phantom, make_cr, make_dx
from tests.readings import MODEL, READ_AT, make_reading

SHAPE = (320, 280)
PHANTOM = chest_phantom(SHAPE)
READING = make_reading(SHAPE)


def make_source(**extra: Any) -> Dataset:
    """A CR of the phantom; `extra` goes to its attributes."""
    return make_cr(pixels=(PHANTOM * 4095).astype(np.uint16), extra=extra)


def results_of(source: Dataset, journey: str = "j", **changes: Any) -> Results:
    options = {"view": "PA", "evidence": "ViewPosition", "flags": (), "read_at": READ_AT, **changes}
    return compose(source, Radiograph(pixels=PHANTOM), READING, journey=journey, **options)


def test_the_capture_lies_in_the_study_of_its_source_and_in_a_series_of_its_own() -> None:
    source = make_dx()
    capture = results_of(source).secondary_capture
    assert capture.SOPClassUID == SECONDARY_CAPTURE
    assert capture.StudyInstanceUID == source.StudyInstanceUID
    assert capture.SeriesInstanceUID != source.SeriesInstanceUID
    assert capture.SeriesNumber == 9001
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"):
        assert capture[keyword].value == source[keyword].value
    for keyword in ("AccessionNumber", "ReferringPhysicianName", "BodyPartExamined"):
        assert capture[keyword].value == source[keyword].value


def test_the_capture_says_what_it_is_and_who_made_it() -> None:
    capture = results_of(make_source()).secondary_capture
    assert list(capture.ImageType) == ["DERIVED", "SECONDARY"]
    assert (capture.BurnedInAnnotation, capture.RecognizableVisualFeatures) == ("YES", "NO")
    assert (capture.ConversionType, capture.PhotometricInterpretation) == ("WSD", "RGB")
    assert (capture.Manufacturer, capture.ManufacturerModelName) == ("covid-xnet", "COVID-XNet node")
    assert capture.DeviceSerialNumber == MODEL.digest[:16]
    assert capture.SoftwareVersions[1] == "COVID-XNet 1.0.0"
    assert "Not for diagnosis" in capture.DerivationDescription
    acquired, processed = capture.ContributingEquipmentSequence
    assert acquired.PurposeOfReferenceCodeSequence[0].CodeValue == "109101"
    assert (acquired.Manufacturer, acquired.ManufacturerModelName) == ("SYNTHETIC", "PHANTOM")
    assert processed.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert processed.Manufacturer == "covid-xnet"


def test_the_gate_of_the_node_knows_both_results_as_its_own() -> None:
    results = results_of(make_source())
    for result in results.by_kind().values():
        verdict = judge(result, Settings())
        assert isinstance(verdict, Refused)
        assert verdict.reason is Reason.OWN_RESULT


def test_the_pixels_are_the_overlay() -> None:
    results = results_of(make_source())
    buffer = BytesIO()
    results.secondary_capture.save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    assert np.array_equal(dcmread(buffer).pixel_array, results.overlay)


def test_composing_twice_gives_the_same_bytes() -> None:
    source = make_dx()
    first, second = results_of(source), results_of(source)
    for kind, result in first.by_kind().items():
        assert as_bytes(result) == as_bytes(second.by_kind()[kind])


def test_another_journey_gives_other_uids_and_the_same_picture() -> None:
    source = make_dx()
    first, second = results_of(source), results_of(source, journey="another")
    uids = {
        (result.SOPInstanceUID, result.SeriesInstanceUID) for r in (first, second) for result in r.by_kind().values()
    }
    assert len(uids) == 4
    assert np.array_equal(first.overlay, second.overlay)


def test_a_calibrated_spacing_is_scaled_with_the_enlargement() -> None:
    source = make_source(PixelSpacing=["0.4", "0.2"], PixelSpacingCalibrationType="FIDUCIAL")
    capture = results_of(source).secondary_capture
    height, width = drawn_shape(*SHAPE)
    assert float(capture.PixelSpacing[0]) * height == pytest.approx(0.4 * SHAPE[0])
    assert float(capture.PixelSpacing[1]) * width == pytest.approx(0.2 * SHAPE[1])
    assert capture.PixelSpacingCalibrationType == "FIDUCIAL"


def test_the_spacing_at_the_detector_is_not_passed_off_as_calibrated() -> None:
    assert "PixelSpacing" not in results_of(make_source()).secondary_capture


def test_lossy_compression_of_the_source_is_told() -> None:
    told = {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": "12.5",
        "LossyImageCompressionMethod": "ISO_10918_1",
    }
    capture = results_of(make_source(**told)).secondary_capture
    assert {keyword: str(capture[keyword].value) for keyword in told} == told
    untold = make_source(LossyImageCompression=None)
    untold.file_meta.TransferSyntaxUID = JPEG2000
    capture = results_of(untold).secondary_capture
    assert (capture.LossyImageCompression, capture.LossyImageCompressionMethod) == ("01", "ISO_15444_1")
    assert results_of(make_source()).secondary_capture.LossyImageCompression == "00"


@pytest.mark.parametrize(
    ("charset", "name", "encoded"),
    [
        ("ISO_IR 100", "SYNTHÉTIQUE^Jürgen", "SYNTHÉTIQUE^Jürgen".encode("latin-1")),
        ("ISO_IR 192", "SYNTHETIC^Žofie Тест 試験", "SYNTHETIC^Žofie Тест 試験".encode()),
        ("GB18030", "Hecheng^Ceshi=合成^测试", "Hecheng^Ceshi=合成^测试".encode("gb18030")),
        (
            ["", "ISO 2022 IR 87"],
            "Gousei^Tesuto=合成^試験",
            b"Gousei^Tesuto=\x1b$B9g@.\x1b(B^\x1b$B;n83\x1b(B",
        ),
        (["", "ISO 2022 IR 149"], "Hap^Seong=合成", b"Hap^Seong=\x1b$)C\xf9\xea\xe0\xf7"),
        # Named UTF-8, written in Latin-1: no reader could show it, Latin-1 is what was meant.
        ("ISO_IR 192", "MÜLLER^Jörg", "MÜLLER^Jörg".encode("latin-1")),
        ("NO SUCH SET", "MÜLLER^Jörg", "MÜLLER^Jörg".encode("latin-1")),
        (None, "MÜLLER^Jörg", "MÜLLER^Jörg".encode("latin-1")),
    ],
    ids=["latin-1", "utf-8", "gb18030", "japanese", "korean", "wrong", "unknown", "unnamed"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom on a character set that is none
def test_names_read_the_same_whatever_the_character_set(charset: Any, name: str, encoded: bytes) -> None:
    placeholder = b"X" * (len(encoded) + len(encoded) % 2)
    data = as_bytes(make_source(PatientName=placeholder.decode(), SpecificCharacterSet="ISO_IR 6"))
    source = dcmread(BytesIO(data.replace(placeholder, encoded.ljust(len(placeholder)))))
    source.SpecificCharacterSet = charset
    results = results_of(source)
    for result in results.by_kind().values():
        again = dcmread(BytesIO(as_bytes(result)))
        assert again.SpecificCharacterSet == "ISO_IR 192"
        assert str(again.PatientName) == name


def test_a_sparse_source_gives_empty_and_not_invented_values() -> None:
    gone = (
        *("StudyTime", "StudyDate", "StudyID", "AccessionNumber", "ReferringPhysicianName", "PatientBirthDate"),
        *("PatientName", "PatientID", "PatientSex", "SeriesNumber", "InstanceNumber", "BodyPartExamined"),
        *("ImagerPixelSpacing", "ViewPosition", "Manufacturer", "ImageType"),
    )
    results = results_of(make_source(**dict.fromkeys(gone)))
    for result in results.by_kind().values():
        assert result.PatientSex in (None, "")
        assert result.StudyDate in (None, "")
        assert not result.PatientName
        assert result.SeriesNumber in (9000, 19000)
    assert results.secondary_capture["PatientOrientation"].is_empty


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("PatientSex", "U"), ("PatientBirthDate", "1960-01-01"), ("StudyDate", "unknown"), ("StudyTime", "25:00")],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom on making the invalid source
def test_a_value_that_is_not_valid_becomes_empty(keyword: str, value: str) -> None:
    source = make_source()
    source[keyword].value = value
    for result in results_of(source).by_kind().values():
        assert result[keyword].is_empty


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "Rows", "SOPClassUID"])
@pytest.mark.parametrize("wrong", [None, "1.2.840.0123"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_source_that_nothing_can_refer_to_is_refused_with_the_reason(keyword: str, wrong: str | None) -> None:
    source = make_source()
    if keyword == "Rows":
        wrong = None
    if wrong is None:
        delattr(source, keyword)
    else:
        source[keyword].value = wrong
    with pytest.raises(CannotCompose, match=r"SOP class|" + keyword):
        results_of(source)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("SeriesNumber", b"ab"),
        ("PatientSize", b"ab"),
        ("PixelSpacing", b"ab\\cd"),
        ("LossyImageCompressionRatio", b"ab"),
    ],
)
@pytest.mark.parametrize("explicit", [True, False])
def test_letters_in_a_number_are_as_good_as_nothing(keyword: str, value: bytes, explicit: bool) -> None:
    source, tag = make_source(LossyImageCompression="01"), Tag(keyword)
    source[tag] = RawDataElement(
        tag, dictionary_VR(tag) if explicit else None, len(value), value, 0, not explicit, True
    )
    capture = results_of(source).secondary_capture
    assert "PixelSpacing" not in capture
    assert "PatientSize" not in capture
    assert "LossyImageCompressionRatio" not in capture
    assert capture.SeriesNumber == (9000 if keyword == "SeriesNumber" else 9001)


def test_no_warning_and_no_log_quotes_the_patient(caplog: pytest.LogCaptureFixture) -> None:
    source = make_source(PatientName="SOLO", PatientID="X" * 10)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results_of(source)
    told = caplog.text + "".join(str(w.message) for w in caught)
    assert "SOLO" not in told
    assert "X" * 10 not in told


def test_times_are_on_the_clock_of_the_source() -> None:
    capture = results_of(make_source(TimezoneOffsetFromUTC="-0430")).secondary_capture
    local = READ_AT.astimezone(timezone(-timedelta(hours=4, minutes=30)))
    assert str(capture.ContentDate) == f"{local:%Y%m%d}"
    assert str(capture.ContentTime) == f"{local:%H%M%S.%f}"
    assert capture.TimezoneOffsetFromUTC == "-0430"


def test_a_saved_result_is_a_file_of_ours_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    results = results_of(make_source())
    path = tmp_path / "new" / "folder" / "overlay.dcm"
    for _ in range(2):
        save(results.secondary_capture, path)
    assert [p.name for p in path.parent.iterdir()] == ["overlay.dcm"]
    saved = dcmread(path)
    assert saved.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert saved.file_meta.MediaStorageSOPInstanceUID == saved.SOPInstanceUID
    assert saved.file_meta.ImplementationVersionName.startswith("COVIDXNET_")
    assert path.read_bytes() == as_bytes(results.secondary_capture)


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom on the value that breaks the writing
def test_a_save_that_fails_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "report.dcm"
    path.write_bytes(b"old")
    broken = results_of(make_source()).structured_report
    broken.Rows = "not a number"
    with pytest.raises(Exception, match=r"not a number|argument"):
        save(broken, path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.dcm"]
