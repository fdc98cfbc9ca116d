"""Compressed frames that lie about their size, or are cut off: refused before anything of that size is allocated."""

import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.uid import (
    JPEG2000,
    JPEG2000MC,
    UID,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from pipeline.errors import UndecodablePixels
from pipeline.radiograph import from_dicom, from_image
from tests.phantom import encapsulated, make_cr

LIMIT = 100_000_000
MEGABYTE = 2**20

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
SCAN = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + EOI


def frame_of(dataset: Dataset) -> bytes:
    return bytes(get_frame(dataset.PixelData, 0, number_of_frames=1))


def start_of_frame(marker: int, rows: int, columns: int, components: int = 1) -> bytes:
    parts = b"".join(bytes((i, 0x11, 0)) for i in range(components))
    return struct.pack(">BBHBHHB", 0xFF, marker, 8 + len(parts), 8, rows, columns, components) + parts


def jpeg(*segments: bytes) -> bytes:
    return SOI + b"".join(segments) + SCAN


def jpeg_2000(*, rows: int, columns: int, tile: int = 2**20, components: int = 1, step: int = 1) -> bytes:
    size = struct.pack(">HHIIIIIIIIH", 38 + 3 * components, 0, columns, rows, 0, 0, tile, tile, 0, 0, components)
    return b"\xff\x4f\xff\x51" + size + bytes((7, step, step)) * components + EOI


def rle(*segments: bytes, offsets: tuple[int, ...] | None = None) -> bytes:
    if offsets is None:
        offsets = tuple(64 + sum(map(len, segments[:i])) for i in range(len(segments)))
    return struct.pack("<16I", len(offsets), *offsets, *[0] * (15 - len(offsets))) + b"".join(segments)


@pytest.fixture
def spends_nothing() -> Iterator[None]:
    """What happens meanwhile takes under a second and under 100 MB."""
    process = psutil.Process()
    before, begin = process.memory_info().rss, time.perf_counter()
    yield
    assert time.perf_counter() - begin < 1
    assert process.memory_info().rss - before < 100 * MEGABYTE


def refuse(frame: bytes, syntax: UID, reason: str, *, rows: int = 64, columns: int = 64) -> None:
    dataset = encapsulated(make_cr(size=(64, 64)), frame, syntax)
    dataset.Rows, dataset.Columns = rows, columns
    with pytest.raises(UndecodablePixels, match=reason):
        from_dicom(dataset, maximum_pixels=LIMIT)


@pytest.mark.usefixtures("spends_nothing")
@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLosslessSV1, JPEG2000, HTJ2KLossless, JPEGLSLossless])
def test_a_data_set_that_states_too_many_pixels_is_refused(syntax: UID) -> None:
    refuse(b"\0\0", syntax, "65535 x 65535 pixels are above the limit", rows=65535, columns=65535)


@pytest.mark.usefixtures("spends_nothing")
@pytest.mark.parametrize(
    ("frame", "syntax"),
    [
        (jpeg(start_of_frame(0xC0, 65535, 65535)), JPEGBaseline8Bit),
        (jpeg(start_of_frame(0xC3, 65535, 65535)), JPEGLosslessSV1),
        (jpeg(start_of_frame(0xF7, 65535, 65535)), JPEGLSLossless),
        (jpeg(start_of_frame(0xF7, 65535, 65535)), JPEGLSNearLossless),
        (jpeg_2000(rows=65535, columns=65535), JPEG2000),
        (jpeg_2000(rows=65535, columns=65535), HTJ2KLossless),
    ],
)
def test_a_frame_that_states_more_pixels_than_the_data_set_is_refused(frame: bytes, syntax: UID) -> None:
    refuse(frame, syntax, "states 65535 x 65535 pixels of 1 samples, the data set 64 x 64 of 1")


@pytest.mark.usefixtures("spends_nothing")
@pytest.mark.parametrize(
    ("frame", "syntax", "reason"),
    [
        (jpeg(start_of_frame(0xC0, 64, 32)), JPEGBaseline8Bit, "states 64 x 32"),
        (jpeg(start_of_frame(0xC0, 64, 64, components=3)), JPEGBaseline8Bit, "of 3 samples"),
        # T.81 B.2.2: 0 lines, to be told after the scan.
        (jpeg(start_of_frame(0xC0, 0, 64)), JPEGBaseline8Bit, "states 0 x 64"),
        (jpeg(start_of_frame(0xC0, 64, 64), start_of_frame(0xC0, 9999, 9999)), JPEGBaseline8Bit, "its size twice"),
        (jpeg(), JPEGBaseline8Bit, "states no size"),
        (jpeg(b"\xff\xe0\x00\x00"), JPEGBaseline8Bit, "damaged"),
        (jpeg(b"garbage"), JPEGBaseline8Bit, "damaged"),
        (SOI + b"\xff\xe0\xff\xff", JPEGBaseline8Bit, "ends within its header"),
        (b"BM" + bytes(100), JPEGBaseline8Bit, "is not JPEG"),
        (jpeg_2000(rows=64, columns=64), JPEGBaseline8Bit, "is not JPEG"),
        (jpeg(start_of_frame(0xC0, 64, 64)), JPEG2000, "is not a JPEG 2000 codestream"),
        (jpeg_2000(rows=64, columns=64, components=3), JPEG2000, "of 3 samples"),
        (jpeg_2000(rows=64, columns=64, step=2), JPEG2000, "subsampled"),
        (jpeg_2000(rows=64, columns=64, tile=0), JPEG2000, "damaged"),
        (jpeg_2000(rows=64, columns=64)[:40], JPEG2000, "ends within its header"),
        (jpeg_2000(rows=64, columns=64), JPEG2000MC, "not supported|cannot be decoded"),
    ],
)
def test_a_frame_whose_header_does_not_fit_is_refused(frame: bytes, syntax: UID, reason: str) -> None:
    refuse(frame, syntax, reason)


@pytest.mark.usefixtures("spends_nothing")
def test_a_codestream_of_a_million_tiles_is_refused() -> None:
    refuse(jpeg_2000(rows=9000, columns=9000, tile=8), JPEG2000, "1265625 tiles", rows=9000, columns=9000)


RUN_OF_128 = b"\x81\xff"


@pytest.mark.usefixtures("spends_nothing")
@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        # 8 MB that would become 512 MB.
        (rle(RUN_OF_128 * 2_000_000, RUN_OF_128 * 2_000_000), "cannot be decoded"),
        (rle(RUN_OF_128 * 31, RUN_OF_128 * 31), "cannot be decoded"),
        (rle(RUN_OF_128 * 32), "1 segments instead of 2"),
        (rle(RUN_OF_128 * 32, RUN_OF_128 * 32, offsets=(128, 64)), "not in order"),
        (rle(RUN_OF_128 * 32, RUN_OF_128 * 32, offsets=(64, 2**31)), "not in order"),
        (b"\2\0\0\0", "ends within its header"),
    ],
)
def test_a_run_length_frame_that_does_not_fit_is_refused(frame: bytes, reason: str) -> None:
    refuse(frame, RLELossless, reason)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless], ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_frame_that_was_cut_off_is_refused_not_filled_with_grey(syntax: UID, part: float) -> None:
    frame = frame_of(make_cr(size=(64, 64), syntax=syntax))
    refuse(frame[: int(len(frame) * part)], syntax, "no end|ends within its header")


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless], ids=lambda uid: uid.keyword)
def test_damage_in_the_middle_ends_in_a_reason_or_an_image(syntax: UID) -> None:
    frame = bytearray(frame_of(make_cr(size=(64, 64), syntax=syntax)))
    for place in range(70, len(frame) - 2, 97):
        damaged = frame.copy()
        damaged[place : place + 4] = b"\xff\x90\x00\xff"
        dataset = encapsulated(make_cr(size=(64, 64)), bytes(damaged), syntax)
        with suppress(UndecodablePixels):
            assert from_dicom(dataset, maximum_pixels=LIMIT).pixels.shape == (64, 64)


def test_encapsulated_data_without_a_frame_are_refused() -> None:
    dataset = encapsulated(make_cr(size=(64, 64)), b"\0\0", JPEG2000Lossless)
    for data in (b"\0", bytes(8), b"\xfe\xff\x00\xe0\x00\x00\x00\x00", b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + bytes(64)):
        dataset.PixelData = data
        with pytest.raises(UndecodablePixels):
            from_dicom(dataset, maximum_pixels=LIMIT)


def test_the_extended_offset_table_is_not_believed() -> None:
    dataset = make_cr(size=(64, 64), syntax=JPEG2000Lossless)
    expected = from_dicom(dataset, maximum_pixels=LIMIT).pixels
    dataset.ExtendedOffsetTable = struct.pack("<Q", 2**40)
    dataset.ExtendedOffsetTableLengths = struct.pack("<Q", 2**40)
    assert (from_dicom(dataset, maximum_pixels=LIMIT).pixels == expected).all()


@pytest.mark.parametrize(
    ("side", "says"), [(60_000, "more pixels than could ever be read"), (10_500, "above the limit")]
)
def test_a_png_that_promises_too_many_pixels_is_refused_before_it_is_decoded(
    tmp_path: Path, side: int, says: str
) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b""))
    with pytest.raises(UndecodablePixels, match=says):
        from_image(tmp_path / "bomb.png", maximum_pixels=LIMIT)
