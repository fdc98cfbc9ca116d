"""Whatever a peer sends, pixels come out in [0, 1], or a reason."""

from contextlib import suppress
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import get_frame
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from pipeline.errors import UnreadableRadiograph
from pipeline.radiograph import from_dicom
from tests.phantom import encapsulated, make_cr

LIMIT = 10_000

# A busy machine is no failure.
relaxed = settings(deadline=None)
SIZE = (40, 36)

NATIVE = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
COMPRESSED = [
    RLELossless, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLosslessSV1, JPEGLSLossless, JPEGLSNearLossless,
    JPEG2000Lossless, JPEG2000, HTJ2KLossless,
]  # fmt: skip
WRITTEN = {uid: make_cr(size=SIZE, syntax=uid) for uid in (RLELossless, JPEGLSLossless, JPEG2000Lossless)}
FRAMES = {uid: bytes(get_frame(dataset.PixelData, 0, number_of_frames=1)) for uid, dataset in WRITTEN.items()}

numbers = st.one_of(
    st.integers(-70000, 70000),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(lambda value: float(f"{value:.6e}")),
)
dicom_numbers = numbers.map(lambda value: f"{value:g}")


def check(dataset: Any) -> None:
    """Pixels in [0, 1] or an UnreadableRadiograph; any other exception fails the test."""
    with suppress(UnreadableRadiograph):
        pixels = from_dicom(dataset, maximum_pixels=LIMIT).pixels
        assert pixels.dtype == np.float32
        assert pixels.ndim == 2
        assert pixels.size <= LIMIT
        assert np.isfinite(pixels).all()
        assert pixels.min() >= 0
        assert pixels.max() <= 1


@relaxed
@given(data=st.binary(max_size=3000), syntax=st.sampled_from(NATIVE))
def test_any_bytes_as_native_pixel_data(data: bytes, syntax: UID) -> None:
    dataset = make_cr(size=SIZE, extra={"PixelData": data})
    dataset.file_meta.TransferSyntaxUID = syntax
    check(dataset)


@relaxed
@given(data=st.binary(max_size=400), syntax=st.sampled_from(COMPRESSED))
def test_any_bytes_as_encapsulated_pixel_data(data: bytes, syntax: UID) -> None:
    dataset = make_cr(size=SIZE, extra={"PixelData": data})
    dataset.file_meta.TransferSyntaxUID = syntax
    check(dataset)


@relaxed
@given(
    syntax=st.sampled_from(sorted(FRAMES)),
    edits=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=8),
    length=st.one_of(st.none(), st.integers(2, 4000)),
)
def test_a_codestream_with_any_bytes_changed_or_cut_off(
    syntax: UID, edits: list[tuple[int, int]], length: int | None
) -> None:
    frame = bytearray(FRAMES[syntax])
    for place, value in edits:
        frame[place % len(frame)] = value
    check(encapsulated(make_cr(size=SIZE), bytes(frame[:length]), syntax))


@relaxed
@given(
    extra=st.fixed_dictionaries(
        {},
        optional={
            "Rows": st.integers(0, 65535),
            "Columns": st.integers(0, 65535),
            "BitsAllocated": st.sampled_from([0, 1, 8, 12, 16, 32, 64]),
            "BitsStored": st.integers(0, 17),
            "HighBit": st.integers(0, 17),
            "PixelRepresentation": st.integers(0, 2),
            "PhotometricInterpretation": st.sampled_from(["MONOCHROME1", "MONOCHROME2", "RGB", ""]),
            "NumberOfFrames": st.sampled_from(["1", "0", "-1", "2", ""]),
            "SamplesPerPixel": st.integers(0, 4),
        },
    )
)
def test_any_image_attributes(extra: dict[str, Any]) -> None:
    check(make_cr(size=SIZE, extra=extra))


@relaxed
@given(
    signed=st.booleans(),
    extra=st.fixed_dictionaries(
        {},
        optional={
            "WindowCenter": dicom_numbers,
            "WindowWidth": dicom_numbers,
            "VOILUTFunction": st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID", "OTHER", ""]),
            "RescaleSlope": dicom_numbers,
            "RescaleIntercept": dicom_numbers,
            "PresentationLUTShape": st.sampled_from(["IDENTITY", "INVERSE", "LIN OD"]),
            "PixelAspectRatio": st.lists(st.integers(0, 100).map(str), min_size=1, max_size=3),
            "PixelPaddingValue": st.integers(0, 32767),
            "PixelPaddingRangeLimit": st.integers(0, 32767),
        },
    ),
)
def test_any_greyscale_attributes(signed: bool, extra: dict[str, Any]) -> None:
    check(make_cr(size=SIZE, signed=signed, extra={"ImagerPixelSpacing": None, **extra}))


@relaxed
@given(
    first=st.integers(-32768, 65535),
    entries=st.lists(st.integers(0, 65535), min_size=1, max_size=40),
    bits=st.integers(0, 20),
    stated=st.integers(0, 65535),
)
def test_any_lut(first: int, entries: list[int], bits: int, stated: int) -> None:
    dataset = make_cr(size=SIZE, voi_lut=(first, entries, bits))
    check(dataset)
    dataset.VOILUTSequence[0].LUTDescriptor = [stated, first, bits]
    check(dataset)
