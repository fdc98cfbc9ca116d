"""The greyscale pipeline of DICOM, restated here by its formulas and compared on every encoding."""

import math
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from pipeline.errors import UndecodablePixels
from pipeline.radiograph import from_dicom
from tests.phantom import Options, as_bytes, chest_phantom, make_cr, make_dx

LIMIT = 1_000_000
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
LOSSLESS = (*NATIVE, RLELossless, JPEG2000Lossless, JPEGLSLossless)


def pixels_of(dataset: Dataset) -> NDArray[np.float32]:
    return from_dicom(dataset, maximum_pixels=LIMIT).pixels


def through_a_file(dataset: Dataset) -> Dataset:
    return dcmread(BytesIO(as_bytes(dataset)))


def strip(values: list[int], dtype: str = "uint16") -> NDArray[Any]:
    """Stored values as an image of one row."""
    return np.array([values], dtype)


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_the_phantom_comes_back_from_every_lossless_encoding(
    syntax: UID, bits: int, signed: bool, photometric: Any
) -> None:
    middle = 0 if signed else 2 ** (bits - 1)
    dataset = make_dx(bits=bits, signed=signed, photometric=photometric, syntax=syntax, window=(middle, 2**bits))
    pixels = pixels_of(through_a_file(dataset))
    assert pixels.dtype == np.float32
    assert pixels.shape == (320, 280)
    # Half a step of the quantisation, and the rounding of float32.
    assert np.abs(pixels - chest_phantom()).max() <= 0.5 / (2**bits - 1) + 1e-6


@pytest.mark.parametrize("options", [{}, {"window": (1500, 1200)}, {"signed": True}, {"photometric": "MONOCHROME1"}])
def test_lossless_encodings_give_identical_pixels(options: Options) -> None:
    first, *others = (pixels_of(through_a_file(make_cr(**{**options, "syntax": syntax}))) for syntax in LOSSLESS)
    assert all(np.array_equal(first, other) for other in others)


@pytest.mark.parametrize(
    ("syntax", "compression"),
    [(JPEGLSNearLossless, {"jls_error": 4}), (JPEG2000, {"j2k_psnr": [60]})],
    ids=["JPEG-LS near-lossless", "JPEG 2000"],
)
def test_lossy_encodings_stay_close(syntax: UID, compression: dict[str, Any]) -> None:
    window = (2048.0, 4096.0)
    lossy = pixels_of(through_a_file(make_dx(syntax=syntax, compression=compression, window=window)))
    assert np.abs(lossy - pixels_of(make_dx(window=window))).max() < 0.01


def linear(x: float, c: float, w: float) -> float:
    """PS3.3 C.11.2.1.2.1, with ymin 0 and ymax 1."""
    if x <= c - 0.5 - (w - 1) / 2:
        return 0
    if x > c - 0.5 + (w - 1) / 2:
        return 1
    return (x - (c - 0.5)) / (w - 1) + 0.5


def linear_exact(x: float, c: float, w: float) -> float:
    """PS3.3 C.11.2.1.3.2."""
    if x <= c - w / 2:
        return 0
    if x > c + w / 2:
        return 1
    return (x - c) / w + 0.5


def sigmoid(x: float, c: float, w: float) -> float:
    """PS3.3 C.11.2.1.3.1."""
    exponent = -4 * (x - c) / w
    return 0 if exponent > 700 else 1 / (1 + math.exp(exponent))


@pytest.mark.parametrize(
    ("name", "function"),
    [(None, linear), ("LINEAR", linear), ("LINEAR_EXACT", linear_exact), ("SIGMOID", sigmoid)],
)
@pytest.mark.parametrize("window", [(600.0, 400.0), (0.5, 1.0), (512.0, 1024.0), (-100.0, 900.0), (300.25, 7.5)])
@pytest.mark.parametrize("rescale", [None, (1.5, -300.0), (-1.0, 1023.0)])
def test_window_functions_follow_the_standard(
    name: str | None,
    function: Callable[[float, float, float], float],
    window: tuple[float, float],
    rescale: tuple[float, float] | None,
) -> None:
    stored = np.arange(1024, dtype=np.uint16).reshape(32, 32)
    pixels = pixels_of(make_cr(pixels=stored, bits=10, window=window, voi_function=name, rescale=rescale))
    slope, intercept = rescale or (1, 0)
    expected = [function(slope * x + intercept, *window) for x in range(1024)]
    np.testing.assert_allclose(pixels.ravel(), expected, atol=1e-6)


def test_of_several_windows_the_first_counts() -> None:
    dataset = make_cr(window=(2048, 4096))
    expected = pixels_of(dataset)
    dataset.WindowCenter, dataset.WindowWidth = ["2048", "100"], ["4096", "10"]
    assert np.array_equal(pixels_of(dataset), expected)


@pytest.mark.parametrize(
    "window", [{"WindowWidth": "0"}, {"WindowWidth": ""}, {"WindowCenter": None}, {"VOILUTFunction": "LOG"}]
)
def test_a_window_that_cannot_be_used_counts_as_none(window: dict[str, Any]) -> None:
    broken = make_cr(window=(2000, 50), extra=window)
    assert np.array_equal(pixels_of(broken), pixels_of(make_cr()))


def test_without_a_window_the_robust_range_of_the_pixels_is_stretched() -> None:
    values = np.arange(1000, 2000, dtype=np.uint16).reshape(20, 50)
    values[0, 0], values[-1, -1] = 0, 4095
    pixels = pixels_of(make_cr(pixels=values, bits=12))
    # 5 of 1,000 pixels below and 5 above.
    assert pixels[0, 0] == 0
    assert pixels[-1, -1] == 1
    middle = pixels.ravel()[5:-6]
    np.testing.assert_allclose(middle, np.linspace(0, 1, 990)[: middle.size], atol=0.002)


def test_padding_neither_stretches_the_range_nor_shines() -> None:
    plain = make_cr(signed=True, photometric="MONOCHROME1")
    pixels = pixels_of(plain)
    stored = plain.pixel_array.copy()
    stored[:40] = -2048
    stored[-40:] = -2048
    padded = pixels_of(make_cr(pixels=stored, bits=12, photometric="MONOCHROME1", padding=-2048))
    assert padded[:40].max() == 0
    assert padded[-40:].max() == 0
    # The body without its upper and lower rows has almost the same range; with padding taken for pixels it would not.
    inside = np.s_[60:-60]
    assert np.abs(padded[inside] - pixels[inside]).mean() < 0.05


def test_a_range_of_values_can_be_padding() -> None:
    values = strip([0, 1, 2, 3, 1000, 1500, 2000] * 50)
    dataset = make_cr(pixels=values, bits=12, padding=0, extra={"PixelPaddingRangeLimit": 3})
    assert pixels_of(dataset).ravel()[:7].tolist() == [0, 0, 0, 0, 0, 0.5, 1]


def test_an_image_of_nothing_but_padding_is_black() -> None:
    assert pixels_of(make_cr(pixels=strip([7] * 20), padding=7)).max() == 0


@pytest.mark.parametrize(
    ("lut", "stored", "expected"),
    [
        ((0, [0, 128, 255], 8), [0, 1, 2, 3, 4000], [0, 128 / 255, 1, 1, 1]),
        ((100, [0, 1000, 4095], 12), [0, 100, 101, 102, 103], [0, 0, 1000 / 4095, 1, 1]),
        ((0, [65535, 32768, 0], 16), [0, 1, 2], [1, 32768 / 65535, 0]),
        # States 8 bits and has entries of 12.
        ((0, [0, 2048, 4096], 8), [0, 1, 2], [0, 0.5, 1]),
    ],
)
def test_a_voi_lut_maps_and_clamps(lut: tuple[int, list[int], int], stored: list[int], expected: list[float]) -> None:
    np.testing.assert_allclose(pixels_of(make_cr(pixels=strip(stored), voi_lut=lut)).ravel(), expected, atol=1e-6)


def test_a_voi_lut_wins_over_a_window() -> None:
    lut = (0, [0, 128, 255], 8)
    pixels = pixels_of(make_cr(pixels=strip([0, 1, 2]), voi_lut=lut, window=(2048, 4096)))
    np.testing.assert_allclose(pixels.ravel(), [0, 128 / 255, 1], atol=1e-6)


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.keyword)
def test_a_voi_lut_with_negative_values_is_read_from_every_encoding(syntax: UID) -> None:
    dataset = make_cr(pixels=strip([-4, -3, -2, -1, 0], "int16"), voi_lut=(-3, [0, 100, 255], 8), syntax=syntax)
    pixels = pixels_of(through_a_file(dataset)).ravel()
    np.testing.assert_allclose(pixels, [0, 0, 100 / 255, 1, 1], atol=1e-6)


def test_a_modality_lut_comes_before_the_window() -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4, 0, 16])
    item.add_new("LUTData", "OW", np.array([1000, 500, 200, 0], "<u2").tobytes())
    item.ModalityLUTType = "US"
    dataset = make_cr(pixels=strip([0, 1, 2, 3]), window=(500.5, 1001), extra={"ModalityLUTSequence": [item]})
    np.testing.assert_allclose(pixels_of(dataset).ravel(), [1, 0.5, 0.2, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("photometric", "shape", "dark_is_low"),
    [
        ("MONOCHROME2", None, True),
        ("MONOCHROME2", "IDENTITY", True),
        ("MONOCHROME1", None, False),
        ("MONOCHROME1", "INVERSE", False),
        ("MONOCHROME2", "INVERSE", False),
    ],
)
def test_inversion_is_applied_once(photometric: Any, shape: str | None, dark_is_low: bool) -> None:
    dataset = make_dx(
        pixels=strip([0, 100, 255]), window=(128, 256), photometric=photometric, extra={"PresentationLUTShape": shape}
    )
    expected = np.array([0, 100, 255]) / 255
    np.testing.assert_allclose(pixels_of(dataset).ravel(), expected if dark_is_low else 1 - expected, atol=1e-6)


def test_unused_bits_are_ignored() -> None:
    clean = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    window = (2048.0, 4096.0)
    expected = pixels_of(make_cr(pixels=clean, bits=12, window=window))
    overlay = pixels_of(make_cr(pixels=clean | 0xA000, bits=12, window=window))
    shifted = pixels_of(make_cr(pixels=clean << 4 | 0xB, bits=12, window=window, extra={"HighBit": 15}))
    assert np.array_equal(overlay, expected)
    assert np.array_equal(shifted, expected)


@pytest.mark.parametrize(
    ("extra", "shape"),
    [
        ({"PixelAspectRatio": ["1", "1"]}, (64, 48)),
        ({"PixelAspectRatio": ["2", "1"]}, (128, 48)),
        ({"PixelAspectRatio": ["2", "3"]}, (64, 72)),
        ({"ImagerPixelSpacing": ["0.4", "0.2"]}, (128, 48)),
        # A real Philips object says so.
        ({"PixelSpacing": ["0.000", "0.000"]}, (64, 48)),
    ],
)
def test_pixels_become_square(extra: dict[str, Any], shape: tuple[int, int]) -> None:
    dataset = make_cr(size=(64, 48), extra={"ImagerPixelSpacing": None, **extra})
    pixels = pixels_of(dataset)
    assert pixels.shape == shape
    assert 0 <= pixels.min() <= pixels.max() <= 1


@pytest.mark.parametrize("attribute", ["SamplesPerPixel", "NumberOfFrames", "BitsStored", "HighBit"])
def test_attributes_that_can_be_inferred_may_be_missing(attribute: str) -> None:
    dataset = make_cr(bits=16, extra={attribute: None})
    assert np.array_equal(pixels_of(dataset), pixels_of(make_cr(bits=16)))


def real(name: str) -> str:
    path = get_testdata_file(name, download=False)
    assert path is not None, "pydicom-data is not installed"
    return str(path)


def test_air_and_lungs_of_a_real_chest_are_dark_and_its_spine_is_bright() -> None:
    """Philips CR, MONOCHROME1, 15 bits."""
    pixels = from_dicom(dcmread(real("RG1_UNCR.dcm")), maximum_pixels=4_000_000).pixels
    assert pixels.shape == (1955, 1841)
    air = pixels[60:140, 20:120].mean()
    right_lung, left_lung = pixels[400:480, 580:660].mean(), pixels[250:330, 1120:1200].mean()
    spine, abdomen = pixels[700:900, 900:960].mean(), pixels[1600:1700, 300:500].mean()
    assert air < min(right_lung, left_lung)
    assert max(right_lung, left_lung) < 0.7
    assert min(spine, abdomen) > 0.8


def test_the_jpeg_2000_variant_of_a_real_chest_is_identical() -> None:
    native, compressed = (
        from_dicom(dcmread(real(name)), maximum_pixels=4_000_000).pixels for name in ("RG1_UNCR.dcm", "RG1_J2KR.dcm")
    )
    assert np.array_equal(native, compressed)


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"Rows": None}, "Rows is missing"),
        ({"Rows": 0}, "0 x 280"),
        ({"Columns": [280, 280]}, "Columns is not one number"),
        ({"Rows": 60000, "Columns": 60000}, "60000 x 60000 pixels are above the limit"),
        ({"Rows": 321}, "PixelData has 179200 bytes"),
        ({"Columns": 140}, "PixelData has 179200 bytes"),
        ({"SamplesPerPixel": 3}, "SamplesPerPixel is 3"),
        ({"NumberOfFrames": 2}, "NumberOfFrames is 2"),
        ({"PhotometricInterpretation": "RGB"}, "PhotometricInterpretation"),
        ({"BitsAllocated": 32}, "BitsAllocated 32"),
        ({"BitsStored": 17}, "BitsStored 17"),
        ({"HighBit": 16}, "HighBit 16"),
        ({"PixelRepresentation": 2}, "PixelRepresentation is 2"),
        ({"PixelData": None}, "PixelData is missing"),
        ({"RescaleSlope": "1e308", "RescaleIntercept": "0"}, "no finite values"),
        ({"PixelAspectRatio": ["1", "9"], "ImagerPixelSpacing": None}, "four times"),
    ],
)
def test_an_object_that_contradicts_itself_is_refused_with_a_reason(extra: dict[str, Any], reason: str) -> None:
    dataset = make_cr(extra=extra)
    with pytest.raises(UndecodablePixels, match=reason) as raised:
        pixels_of(dataset)
    assert "PHANTOM" not in str(raised.value)


def test_square_pixels_may_not_grow_beyond_the_limit() -> None:
    dataset = make_cr(size=(64, 64), aspect=(4, 1))
    with pytest.raises(UndecodablePixels, match="256 x 64 square pixels are above the limit"):
        from_dicom(dataset, maximum_pixels=64 * 64)


def test_an_object_without_transfer_syntax_is_refused() -> None:
    dataset = make_cr()
    del dataset.file_meta.TransferSyntaxUID
    with pytest.raises(UndecodablePixels, match="image attributes"):
        pixels_of(dataset)
