"""Objects made to fill the memory, to take for ever, or to crash whoever believes what they say."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from tests.phantom import encapsulated, make_cr

_UNDEFINED: Final = 0xFFFFFFFF
_ITEM: Final = struct.pack("<HHL", 0xFFFE, 0xE000, 0)
_END_OF_SEQUENCE: Final = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Poison:
    """An object, and what must become of it.

    status: of the C-STORE. reason: how the reason begins that the ledger has for it, of whichever kind; "": it is read.
    """

    make: Callable[[], tuple[Dataset, bytes]]
    status: int = 0x0000
    reason: str


def write(path: Path, source: Dataset, body: bytes) -> None:
    """Write `body` as it is, under the file meta information of `source`."""
    buffer = BytesIO()
    buffer.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(buffer, source.file_meta)
    path.write_bytes(buffer.getvalue() + body)


def _encoded(source: Dataset) -> bytes:
    syntax = source.file_meta.TransferSyntaxUID
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = syntax.is_implicit_VR, True
    write_dataset(buffer, source)
    return bytes(buffer.getvalue())


def _plain(source: Dataset) -> tuple[Dataset, bytes]:
    return source, _encoded(source)


def _changed(**changes: Any) -> Callable[[], tuple[Dataset, bytes]]:
    return lambda: _plain(make_cr(extra=changes))


def _before_pixels(element: bytes, *, syntax: UID = ExplicitVRLittleEndian) -> tuple[Dataset, bytes]:
    source = make_cr(syntax=syntax)
    body = _encoded(source)
    place = body.rindex(struct.pack("<HH", 0x7FE0, 0x0010))
    return source, body[:place] + element + body[place:]


def _deflated(megabytes: int) -> tuple[Dataset, bytes]:
    """A radiograph whose private element has so many zeros, deflated a thousand times smaller."""
    head = struct.pack("<HH2sHL", 0x7FDF, 0x1001, b"OB", 0, megabytes * 2**20)
    source, body = _before_pixels(b"")
    place = body.rindex(struct.pack("<HH", 0x7FE0, 0x0010))
    deflate = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = bytes(2**20)
    parts = [deflate.compress(body[:place] + head), *(deflate.compress(zeros) for _ in range(megabytes))]
    parts += [deflate.compress(body[place:]), deflate.flush()]
    source.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return source, b"".join(parts)


def many_numbers(count: int) -> tuple[Dataset, bytes]:
    """A radiograph with so many window centres, each of which becomes an object when somebody looks."""
    value = b"1\\" * count
    element = struct.pack("<HHL", 0x0028, 0x1050, len(value)) + value
    return _before_pixels(element, syntax=ImplicitVRLittleEndian)


def _nested(depth: int) -> bytes:
    opened = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, _UNDEFINED) + struct.pack(
        "<HHL", 0xFFFE, 0xE000, _UNDEFINED
    )
    closed = struct.pack("<HHL", 0xFFFE, 0xE00D, 0) + _END_OF_SEQUENCE
    return opened * depth + closed * depth


def _items(count: int) -> bytes:
    return struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, _UNDEFINED) + _ITEM * count + _END_OF_SEQUENCE


def _frame(codestream: bytes, syntax: UID, *, side: int = 320) -> Callable[[], tuple[Dataset, bytes]]:
    def make() -> tuple[Dataset, bytes]:
        source = encapsulated(make_cr(size=(320, 320)), codestream, syntax)
        source.Rows = source.Columns = side
        return _plain(source)

    return make


def _jpeg(marker: int, side: int) -> bytes:
    frame = struct.pack(">BBHBHHBBBB", 0xFF, marker, 11, 8, side, side, 1, 1, 0x11, 0)
    return b"\xff\xd8" + frame + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\xff\xd9"


def _jpeg_2000(side: int) -> bytes:
    size = struct.pack(">HHIIIIIIIIHBBB", 41, 0, side, side, 0, 0, 2**20, 2**20, 0, 0, 1, 7, 1, 1)
    return b"\xff\x4f\xff\x51" + size + b"\xff\xd9"


def _run_length(expanded: int) -> bytes:
    """Two segments of 128 equal bytes for every two bytes."""
    segment = b"\x81\xff" * (expanded // 128)
    return struct.pack("<16I", 2, 64, 64 + len(segment), *[0] * 13) + segment * 2


def _constant() -> tuple[Dataset, bytes]:
    return _plain(make_cr(pixels=np.full((320, 280), 7, np.uint16)))


def _frames(count: int) -> tuple[Dataset, bytes]:
    source = make_cr(size=(16, 16))
    source.NumberOfFrames = count
    source.PixelData = source.PixelData * count
    return _plain(source)


POISON: Final = {
    # Refused at the door: the sender keeps them.
    "65535 x 65535 in a few bytes": Poison(
        make=_frame(b"\xff\x4f", JPEG2000Lossless, side=65535), status=0xA900, reason="Rows x Columns are 65535 x 65535"
    ),
    "100 megapixels": Poison(
        make=_frame(b"\xff\x4f", JPEG2000Lossless, side=10_000), status=0xA900, reason="Rows x Columns are 10000"
    ),
    "deflated a thousand times, 700 MB": Poison(
        make=lambda: _deflated(700), status=0xA900, reason="The deflated data set grows beyond the limit"
    ),
    "an element of 2 GB": Poison(
        make=lambda: _before_pixels(struct.pack("<HH2sHL", 0x0029, 0x1001, b"OB", 0, 2**31)),
        status=0xC000,
        reason="The data set is truncated",
    ),
    "sequences 1,000 deep": Poison(
        make=lambda: _before_pixels(_nested(1000)), status=0xC000, reason="Sequences are nested too deep"
    ),
    "a million empty items": Poison(
        make=lambda: _before_pixels(_items(1_000_000)), status=0xC000, reason="The header has more than 20000 elements"
    ),
    "65535 samples": Poison(make=_changed(SamplesPerPixel=65535), status=0xA900, reason="PixelData has"),
    "64 bits": Poison(make=_changed(BitsAllocated=64), status=0xA900, reason="PixelData has"),
    # Taken, so that a wide routing rule fills no queue, but no radiograph that the node reads.
    "10,000 frames": Poison(make=lambda: _frames(10_000), reason="multi-frame"),
    # Failed by a worker, before it believes them.
    "JPEG that lies": Poison(
        make=_frame(_jpeg(0xC0, 65535), JPEGBaseline8Bit), reason="The compressed frame states 65535 x 65535"
    ),
    "lossless JPEG that lies": Poison(
        make=_frame(_jpeg(0xC3, 65535), JPEGLosslessSV1), reason="The compressed frame states 65535 x 65535"
    ),
    "JPEG-LS that lies": Poison(
        make=_frame(_jpeg(0xF7, 65535), JPEGLSLossless), reason="The compressed frame states 65535 x 65535"
    ),
    "JPEG 2000 that lies": Poison(
        make=_frame(_jpeg_2000(65535), JPEG2000Lossless), reason="The compressed frame states 65535 x 65535"
    ),
    "HTJ2K that lies": Poison(
        make=_frame(_jpeg_2000(65535), HTJ2KLossless), reason="The compressed frame states 65535 x 65535"
    ),
    "RLE that grows to 512 MB": Poison(
        make=_frame(_run_length(256_000_000), RLELossless), reason="The pixel data cannot be decoded"
    ),
    "one grey level": Poison(make=_constant, reason="All pixels have one grey level"),
    "a slope that is no number": Poison(
        make=lambda: _plain(make_cr(rescale=(float("nan"), 0.0), window=(float("inf"), 1.0))), reason=""
    ),
    "BitsStored beyond BitsAllocated": Poison(make=_changed(BitsStored=60_000), reason="BitsAllocated 16, BitsStored"),
    "a LUT of three entries": Poison(
        make=lambda: _plain(make_cr(voi_lut=(0, [1, 2, 3], 16))), reason="All pixels have one grey level"
    ),
    # They end the worker, twice.
    "deflated a thousand times, 480 MB": Poison(
        make=lambda: _deflated(480), reason="Set aside: it needed more than 1000 MB of memory, 2 times."
    ),
    "six million window centres": Poison(
        make=lambda: many_numbers(6_000_000), reason="Set aside: it needed more than 1000 MB of memory, 2 times."
    ),
}
