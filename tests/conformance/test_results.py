"""Results of varied sources, judged by validators that share no code with the node."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import JPEG2000

from dicom_node.destination import (
    BY_DEFAULT,
    OverlayLayout,
    OverlaySize,
    ReportClass,
    ResultChoice,
    ResultKind,
    TextEncoding,
)
from dicom_node.results.compose import Results, compose, compose_failure, save
from pipeline.radiograph import from_dicom
from tests.conformance.validators import MissingValidator, complaints, shown_with, template_complaints
from tests.orders import ordered
from tests.phantom import as_bytes, make_cr, make_dx
from tests.readings import MODEL, READ_AT, make_reading

SPARSE: Final = (
    "StudyTime",
    "StudyDate",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PatientBirthDate",
    "PatientSex",
    "SeriesNumber",
    "InstanceNumber",
    "BodyPartExamined",
    "ImagerPixelSpacing",
    "PatientOrientation",
    "ViewPosition",
    "Manufacturer",
    "ImageType",
)
SIZE: Final = (160, 140)
EVERYTHING: Final = ResultChoice(objects=tuple(ResultKind))


def _named(charset: str | list[str], encoded: bytes) -> Dataset:
    """A CR whose PatientName has these bytes under this SpecificCharacterSet, right or wrong."""
    placeholder = b"X" * (len(encoded) + len(encoded) % 2)
    data = as_bytes(make_cr(size=SIZE, extra={"PatientName": placeholder.decode(), "SpecificCharacterSet": "ISO_IR 6"}))
    source = dcmread(BytesIO(data.replace(placeholder, encoded.ljust(len(placeholder)))))
    source.SpecificCharacterSet = charset
    return source


def _sources() -> Mapping[str, Dataset]:
    lossy = {
        "LossyImageCompression": "01",
        "LossyImageCompressionMethod": "ISO_15444_1",
        "LossyImageCompressionRatio": "9.5",
    }
    calibrated = {"PixelSpacing": ["0.4", "0.4"], "PixelSpacingCalibrationType": "GEOMETRY"}
    full = {
        "PatientAge": "060Y",
        "PatientSize": "1.75",
        "PatientWeight": "70",
        "IssuerOfPatientID": "SYNTHETIC",
        "StudyDescription": "Thorax p.a.",
        "InstitutionName": "SYNTHETIC HOSPITAL",
        "Laterality": "L",
        "TimezoneOffsetFromUTC": "+0200",
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": "synthetic",
    }
    return {
        "cr": make_cr(size=SIZE, orientation=("L", "F")),
        "dx": make_dx(size=SIZE, view_code=("272479007", "postero-anterior"), orientation=("L", "F")),
        "dx-for-processing": make_dx(size=SIZE, for_processing=True, bits=14),
        "monochrome1": make_cr(size=SIZE, photometric="MONOCHROME1"),
        "signed": make_cr(size=SIZE, signed=True, rescale=(1.0, 2048.0)),
        "8-bit": make_cr(size=SIZE, bits=8),
        "lossy": make_dx(size=SIZE, syntax=JPEG2000, compression={"j2k_psnr": [60]}, extra=lossy),
        "latin-1": _named("ISO_IR 100", "SYNTHÉTIQUE^Jürgen".encode("latin-1")),
        "japanese": _named(["", "ISO 2022 IR 87"], b"Gousei^Tesuto=\x1b$B9g@.\x1b(B^\x1b$B;n83\x1b(B"),
        "korean": _named(["", "ISO 2022 IR 149"], b"Hap^Seong=\x1b$)C\xf9\xea\xe0\xf7"),
        "gb18030": _named("GB18030", "Hecheng^Ceshi=合成^测试".encode("gb18030")),
        "wrong-charset": _named("ISO_IR 192", "MÜLLER^Jörg".encode("latin-1")),
        "sparse": make_cr(size=SIZE, extra=dict.fromkeys(SPARSE)),
        "full": make_dx(size=SIZE, extra=full),
        "ordered": ordered(SIZE),
        "sex-u": make_cr(size=SIZE, extra={"PatientSex": "U"}),
        "calibrated": make_dx(size=SIZE, extra=calibrated),
        "oblong-pixels": make_cr(size=SIZE, aspect=(2, 1)),
        "no-body-part": make_cr(size=SIZE, extra={"BodyPartExamined": None}),
        "one-side": make_cr(size=SIZE, body_part="LUNG", extra={"Laterality": "L"}),
        "one-part-name": make_cr(size=SIZE, extra={"PatientName": "SYNTHETIC"}),
    }


def _results(name: str, source: Dataset, choice: ResultChoice = BY_DEFAULT) -> Results:
    radiograph = from_dicom(source, maximum_pixels=10**6)
    number = sorted(_sources()).index(name)
    reading = make_reading(
        radiograph.pixels.shape, (0.9, 0.1, 0.5)[number % 3], side=256, lungs=name not in ("sparse", "8-bit")
    )
    return compose(
        source,
        radiograph,
        reading,
        journey=name,
        view="unknown" if name == "sparse" else "PA",
        evidence="" if name == "sparse" else "ViewPosition",
        flags=("view unknown",) if name == "sparse" else (),
        read_at=READ_AT,
        choice=choice,
    )


@pytest.mark.parametrize("name", sorted(_sources()))
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom on the invalid sources themselves
def test_no_validator_finds_an_error_in_what_goes_back(name: str, tmp_path: Path) -> None:
    results = _results(name, _sources()[name], EVERYTHING)
    for kind, result in results.by_kind().items():
        path = tmp_path / f"{kind}.dcm"
        save(result, path)
        assert complaints(path) == []
    rendered = _read_ppm(tmp_path / "overlay.ppm")
    assert np.array_equal(rendered, results.overlay)
    page = (tmp_path / "report.html").read_text(encoding="utf-8", errors="replace")
    assert "Not for diagnosis" in page
    assert "COVID-19 suspicion score" in page


@pytest.mark.parametrize(
    "choice",
    [
        ResultChoice(overlay_layout=OverlayLayout.SIDE_BY_SIDE, overlay_size=OverlaySize.SMALL),
        ResultChoice(report_class=ReportClass.COMPREHENSIVE),
        ResultChoice(objects=(ResultKind.REPORT,)),
        ResultChoice(objects=(ResultKind.KEY_OBJECT,)),
    ],
    ids=["small side by side", "comprehensive", "report alone", "key object alone"],
)
def test_no_validator_finds_an_error_in_another_form(choice: ResultChoice, tmp_path: Path) -> None:
    for kind, result in _results("cr", _sources()["cr"], choice).by_kind().items():
        save(result, tmp_path / f"{kind}.dcm")
        assert complaints(tmp_path / f"{kind}.dcm") == []


@pytest.mark.parametrize("name", ["latin-1", "gb18030"])  # DCMTK reads no report in ISO 2022
def test_no_validator_finds_an_error_in_the_character_set_of_the_source(name: str, tmp_path: Path) -> None:
    choice = ResultChoice(objects=tuple(ResultKind), character_set=TextEncoding.SOURCE)
    source = _sources()[name]
    for kind, result in _results(name, source, choice).by_kind().items():
        assert result.SpecificCharacterSet == source.SpecificCharacterSet
        save(result, tmp_path / f"{kind}.dcm")
        assert complaints(tmp_path / f"{kind}.dcm") == []


@pytest.mark.parametrize("name", ["cr", "dx", "sparse", "japanese", "full"])
@pytest.mark.parametrize("report_class", ReportClass)
def test_no_validator_finds_an_error_in_the_report_on_a_failure(
    name: str, report_class: ReportClass, tmp_path: Path
) -> None:
    report = compose_failure(
        _sources()[name],
        "The pixel data cannot be decoded (damaged).",
        model=MODEL,
        journey=name,
        view="PA",
        flags=("view unknown",),
        failed_at=READ_AT,
        choice=ResultChoice(report_class=report_class),
    ).structured_report
    save(report, tmp_path / "report.dcm")
    assert complaints(tmp_path / "report.dcm") == []
    page = (tmp_path / "report.html").read_text(encoding="utf-8", errors="replace")
    assert "could not be read by the node" in page


@pytest.mark.slow  # PixelMed compiles its templates for each report
@pytest.mark.parametrize("name", ["cr", "dx", "sparse"])  # a positive, a negative and one without lungs
@pytest.mark.parametrize("report_class", ReportClass)
def test_pixelmed_finds_no_error_in_the_template_of_a_report(
    name: str, report_class: ReportClass, tmp_path: Path
) -> None:
    choice = ResultChoice(report_class=report_class)
    save(_results(name, _sources()[name], choice).structured_report, tmp_path / "report.dcm")
    assert template_complaints(tmp_path / "report.dcm") == []


@pytest.mark.slow
def test_pixelmed_does_find_errors_in_a_template(tmp_path: Path) -> None:
    report = _results("cr", _sources()["cr"]).structured_report
    (observer,) = [i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "121005"]
    observer.ConceptCodeSequence[0].CodeValue = "121009"  # of CID 270, which knows persons and devices
    save(report, tmp_path / "report.dcm")
    assert template_complaints(tmp_path / "report.dcm") != []


def _greys() -> Mapping[str, Dataset]:
    lut = [min(65535, 20 * entry) for entry in range(4096)]
    return {
        "neither window nor LUT": make_cr(size=SIZE),
        "window": make_cr(size=SIZE, window=(2000, 3000)),
        "window, MONOCHROME1": make_dx(size=SIZE, window=(2000, 3000), photometric="MONOCHROME1"),
        "exact window": make_cr(size=SIZE, window=(2000, 3000), voi_function="LINEAR_EXACT"),
        "signed, rescaled": make_cr(size=SIZE, signed=True, rescale=(0.5, 100.0), window=(0, 1500)),
        "LUT": make_dx(size=SIZE, voi_lut=(0, lut, 16)),
        "signed LUT": make_cr(size=SIZE, signed=True, voi_lut=(-2048, lut, 16)),
        "8 bits": make_cr(size=SIZE, bits=8),
    }


@pytest.mark.parametrize("name", _greys())
def test_dcmtk_shows_the_radiograph_with_the_presentation_state_as_the_node_saw_it(name: str, tmp_path: Path) -> None:
    source = _greys()[name]
    radiograph = from_dicom(source, maximum_pixels=10**6)
    state = _results("cr", source, EVERYTHING).by_kind()["presentation-state"]
    source.save_as(tmp_path / "source.dcm", enforce_file_format=True)
    save(state, tmp_path / "state.dcm")
    with Image.open(shown_with(tmp_path / "state.dcm", tmp_path / "source.dcm")) as rendered:
        np.testing.assert_allclose(np.asarray(rendered, float), 255 * radiograph.pixels, atol=1.5)


def test_the_validators_do_find_errors(tmp_path: Path) -> None:
    results = _results("cr", _sources()["cr"])
    capture, report = results.secondary_capture, results.structured_report
    capture.PatientSex = "X"
    del capture.ConversionType
    del report.ContentSequence[0].ConceptNameCodeSequence
    save(capture, tmp_path / "overlay.dcm")
    save(report, tmp_path / "report.dcm")
    assert {line.split(":")[0] for line in complaints(tmp_path / "overlay.dcm")} == {"dciodvfy"}
    assert {"dsrdump", "dsr2html"} <= {line.split(":")[0] for line in complaints(tmp_path / "report.dcm")}


def test_a_missing_validator_is_a_failure_that_names_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "overlay.dcm"
    save(_results("cr", _sources()["cr"]).secondary_capture, path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingValidator, match="apt-get install dcmtk"):
        complaints(path)


def test_the_radiograph_in_the_overlay_is_upright_and_bright_bone_whatever_the_source() -> None:
    """MONOCHROME1 and MONOCHROME2 of one phantom give one picture; so do oblong pixels, but for the rows."""
    plain = _results("cr", _sources()["cr"])
    inverted = _results("monochrome1", make_cr(size=SIZE, photometric="MONOCHROME1"))
    rows = slice(200, 900)  # below the upper caption, which tells another score
    columns = slice(0, 60)  # left of the lungs
    difference = np.abs(plain.overlay[rows, columns].astype(float) - inverted.overlay[rows, columns].astype(float))
    assert difference.mean() < 2


def _read_ppm(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    magic, size, maximum, data = path.read_bytes().split(b"\n", 3)
    assert (magic, maximum) == (b"P6", b"255")
    width, height = (int(n) for n in size.split())
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)
