import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import DataElement, Dataset, dcmread
from pydicom.config import IGNORE
from pydicom.data import get_testdata_file
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from dicom_node.errors import DoesNotMatch, NotUnderstood
from dicom_node.reception import header as header_module
from dicom_node.reception.header import Header, is_uid, read_header
from tests.phantom import as_bytes, encapsulated, make_cr, make_dx

LIMITS: dict[str, Any] = {"maximum_bytes": 50_000_000, "maximum_pixels": 100_000_000}
PIXEL_BYTES = 320 * 280 * 2


def read(folder: Path, content: bytes, **limits: Any) -> Header:
    path = folder / "object.part"
    path.write_bytes(content)
    return read_header(path, **{**LIMITS, **limits})


def data_set(content: bytes) -> int:
    """Where the data set begins in a DICOM file."""
    return 144 + int.from_bytes(content[140:144], "little")


def with_meta(dataset: Dataset, body: bytes, syntax: UID) -> bytes:
    """`body` as a file with the file meta information of `dataset` but for the transfer syntax."""
    meta = dataset.file_meta
    meta.TransferSyntaxUID = syntax
    buffer = BytesIO()
    buffer.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(buffer, meta)
    return buffer.getvalue() + body


def body_of(dataset: Dataset) -> bytes:
    """The data set alone, in explicit VR little endian."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_dataset(buffer, dataset)
    return bytes(buffer.getvalue())


def explicit(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    """One element in explicit VR little endian; `length` may lie."""
    length = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    long = vr in ("OB", "OW", "SQ", "UN", "UT")
    return head + (struct.pack("<HL", 0, length) if long else struct.pack("<H", length)) + value


@pytest.mark.parametrize(
    ("syntax", "pixel_bytes"),
    [
        (ImplicitVRLittleEndian, PIXEL_BYTES),
        (ExplicitVRLittleEndian, PIXEL_BYTES),
        (ExplicitVRBigEndian, PIXEL_BYTES),
        (DeflatedExplicitVRLittleEndian, PIXEL_BYTES),
        (RLELossless, None),
    ],
)
def test_the_header_comes_without_pixels_in_every_kind_of_encoding(
    tmp_path: Path, syntax: UID, pixel_bytes: int | None
) -> None:
    source = make_cr(syntax=syntax)

    header = read(tmp_path, as_bytes(source))

    assert header.transfer_syntax_uid == syntax
    assert header.pixel_bytes == pixel_bytes
    assert "PixelData" not in header.dataset
    assert (header.dataset.Rows, header.dataset.Columns, header.dataset.ViewPosition) == (320, 280, "PA")
    assert header.dataset.SOPInstanceUID == source.SOPInstanceUID
    assert [path.name for path in tmp_path.iterdir()] == ["object.part"]


@pytest.mark.parametrize("name", ["RG1_UNCR.dcm", "RG1_J2KR.dcm", "RG1_J2KI.dcm", "RG3_UNCR.dcm"])
def test_files_of_real_modalities_pass(name: str) -> None:
    file = get_testdata_file(name)
    assert isinstance(file, str)

    header = read_header(Path(file), **LIMITS)

    assert header.dataset.SOPInstanceUID == dcmread(file, stop_before_pixels=True).SOPInstanceUID


def test_a_long_value_is_stepped_over_and_left_out(tmp_path: Path) -> None:
    source = make_cr()
    source.add_new(0x60003000, "OW", b"\0" * 100_000)

    header = read(tmp_path, as_bytes(source))

    assert 0x60003000 not in header.dataset
    assert header.pixel_bytes == PIXEL_BYTES


def test_eight_bit_pixels_of_odd_length_may_have_one_pad_byte(tmp_path: Path) -> None:
    source = make_cr(bits=8, size=(321, 281))

    assert read(tmp_path, as_bytes(source)).pixel_bytes == 321 * 281 + 1


def test_elements_after_the_pixel_data_are_allowed(tmp_path: Path) -> None:
    source = make_cr()
    source.DataSetTrailingPadding = b"\0" * 64

    assert read(tmp_path, as_bytes(source)).pixel_bytes == PIXEL_BYTES


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, syntax: UID) -> None:
    content = as_bytes(make_cr(syntax=syntax, size=(128, 128)))
    start = data_set(content)

    for cut in [*range(start, start + 900, 37), *range(start + 900, len(content) - 9, 1777), len(content) - 9]:
        with pytest.raises((NotUnderstood, DoesNotMatch)):
            read(tmp_path, content[:cut])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_pixel_data_that_promise_more_than_there_is_are_not_understood(tmp_path: Path, syntax: UID) -> None:
    content = as_bytes(make_cr(syntax=syntax))

    with pytest.raises(NotUnderstood, match="truncated"):
        read(tmp_path, content[:-1000])


def test_an_element_that_promises_four_gigabytes_is_not_understood_and_costs_no_memory(tmp_path: Path) -> None:
    source = make_cr()
    body = explicit(0x00080005, "CS", b"ISO_IR 100") + explicit(0x00081030, "UN", b"x", length=0xFFFFFFF0)

    with pytest.raises(NotUnderstood, match="truncated"):
        read(tmp_path, with_meta(source, body, ExplicitVRLittleEndian))


def test_noise_is_not_understood(tmp_path: Path) -> None:
    source = make_cr()
    body = bytes((i * 7919 + i // 251) % 256 for i in range(5000))

    for syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian):
        with pytest.raises((NotUnderstood, DoesNotMatch)):
            read(tmp_path, with_meta(source, body, syntax))


def nested(depth: int) -> bytes:
    """ContentSequence in ContentSequence, all of undefined length."""
    opened = explicit(0x0040A730, "SQ", b"", length=0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    closed = struct.pack("<HHL", 0xFFFE, 0xE00D, 0) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    return opened * depth + closed * depth


def nested_with_lengths(depth: int) -> bytes:
    """The same with explicit lengths, which pydicom parses only when somebody looks."""
    content = b""
    for _ in range(depth):
        content = explicit(0x0040A730, "SQ", struct.pack("<HHL", 0xFFFE, 0xE000, len(content)) + content)
    return content


@pytest.mark.parametrize("nest", [nested, nested_with_lengths])
@pytest.mark.parametrize("depth", [40, 300, 3000])
def test_sequences_nested_too_deep_are_not_understood(tmp_path: Path, nest: Callable[[int], bytes], depth: int) -> None:
    with pytest.raises(NotUnderstood, match="nested too deep"):
        read(tmp_path, with_meta(make_cr(), nest(depth), ExplicitVRLittleEndian))


@pytest.mark.parametrize("nest", [nested, nested_with_lengths])
def test_sequences_nested_as_in_reports_pass_the_parser(tmp_path: Path, nest: Callable[[int], bytes]) -> None:
    with pytest.raises(DoesNotMatch, match="SOPClassUID"):
        read(tmp_path, with_meta(make_cr(), nest(20), ExplicitVRLittleEndian))


def test_a_header_of_nothing_but_elements_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    element = explicit(0x00091001, "UN", b"x" * 1000)

    with pytest.raises(NotUnderstood, match="header is longer"):
        read(tmp_path, with_meta(make_cr(), element * 10_000, ExplicitVRLittleEndian))


@pytest.mark.parametrize("before", range(3))
def test_a_header_of_more_elements_than_any_radiograph_has_is_refused_wherever_the_limit_falls(
    tmp_path: Path, before: int
) -> None:
    item = struct.pack("<HHL", 0xFFFE, 0xE000, 0)
    items = explicit(0x0040A730, "SQ", item * 100_000, length=0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    sequences = b"".join(explicit(0x00091001 + 0x20000 * n, "SQ", item * 8000) for n in range(4))
    for body in (items, sequences):
        with pytest.raises(NotUnderstood, match="more than 20000 elements"):
            read(
                tmp_path,
                with_meta(make_cr(), explicit(0x00080005, "CS", b"ISO_IR 100") * before + body, ExplicitVRLittleEndian),
            )


def test_a_deflated_bomb_is_refused_at_the_limit_and_leaves_no_file(tmp_path: Path) -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(deflate.compress(b"\0" * 2**20) for _ in range(100)) + deflate.flush()
    assert len(bomb) < 200_000

    with pytest.raises(DoesNotMatch, match="grows beyond the limit"):
        read(tmp_path, with_meta(make_cr(), bomb, DeflatedExplicitVRLittleEndian), maximum_bytes=10_000_000)

    assert [path.name for path in tmp_path.iterdir()] == ["object.part"]


def test_more_pixels_than_the_limit_are_refused_with_a_clear_reason(tmp_path: Path) -> None:
    bomb = encapsulated(make_cr(), b"\xff\x4f\xff\x51", JPEG2000)
    bomb.Rows, bomb.Columns = 65535, 65535

    with pytest.raises(DoesNotMatch, match="Rows x Columns are 65535 x 65535, above the limit"):
        read(tmp_path, as_bytes(bomb))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Rows": 319}, "Rows and Columns promise"),
        ({"Columns": 2800}, "Rows and Columns promise"),
        ({"BitsAllocated": 8}, "Rows and Columns promise"),
        ({"SamplesPerPixel": 3}, "Rows and Columns promise"),
        ({"NumberOfFrames": 2}, "Rows and Columns promise"),
        ({"Rows": None}, "Rows is missing"),
        ({"Rows": 0}, "Rows is missing"),
        ({"Columns": None}, "Columns is missing"),
        ({"BitsAllocated": None}, "BitsAllocated is missing"),
        ({"SamplesPerPixel": None}, "SamplesPerPixel is missing"),
        ({"NumberOfFrames": -1}, "NumberOfFrames is missing or not"),
        ({"PixelData": None}, "PixelData is missing"),
    ],
)
def test_a_header_that_contradicts_its_pixels_does_not_match(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(DoesNotMatch, match=message):
        read(tmp_path, as_bytes(make_cr(extra=changes)))


def test_native_pixels_under_a_compressed_transfer_syntax_do_not_match(tmp_path: Path) -> None:
    source = make_cr()

    with pytest.raises(DoesNotMatch, match="not encoded as their transfer syntax"):
        read(tmp_path, with_meta(source, body_of(source), JPEG2000))


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("value", ["../../etc/passwd", "1.2.3/4", "1..2", "1" * 65, None])
def test_a_uid_that_is_none_does_not_match(tmp_path: Path, keyword: str, value: str | None) -> None:
    source = make_cr()
    if value is None:
        delattr(source, keyword)
    else:
        source[keyword] = DataElement(keyword, "UI", value, validation_mode=IGNORE)

    with pytest.raises(DoesNotMatch, match=f"{keyword} is missing or not a UID"):
        read(tmp_path, with_meta(source, body_of(source), ExplicitVRLittleEndian))


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SOPClassUID"])
def test_a_uid_other_than_that_of_the_command_does_not_match(tmp_path: Path, keyword: str) -> None:
    commanded, sent = make_cr(), make_cr()
    sent.SOPInstanceUID = commanded.SOPInstanceUID
    sent[keyword].value = make_dx()[keyword].value

    with pytest.raises(DoesNotMatch, match=f"{keyword} is not the one of the C-STORE command"):
        read(tmp_path, with_meta(commanded, body_of(sent), ExplicitVRLittleEndian))


def test_a_report_needs_no_pixels(tmp_path: Path) -> None:
    report = make_cr(extra={"PixelData": None, "Rows": None, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.33"})

    assert read(tmp_path, as_bytes(report)).pixel_bytes is None


def test_the_limit_of_nesting_is_far_above_real_reports() -> None:
    assert header_module.MAXIMUM_NESTING >= 16


@pytest.mark.parametrize("uid", ["1", "1.2.840.10008.1.1", "1.02.3", "2.25.32980073569858662929564197851150", "1" * 64])
def test_digits_and_dots_make_a_uid(uid: str) -> None:
    assert is_uid(uid)


@pytest.mark.parametrize("uid", ["", ".", "1.", ".1", "1..2", "1.2a", "../1", "1.2\n", " 1.2", "١.٢", "²", "1" * 65])
def test_anything_else_is_no_uid(uid: str) -> None:
    assert not is_uid(uid)
