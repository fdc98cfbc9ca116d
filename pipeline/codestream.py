"""What a compressed frame says about its own size, read before any decoder sees it.

A few bytes can claim 65535 x 65535 pixels, and decoders allocate what a codestream claims. So the claim is compared
with Rows and Columns, which the caller has checked against its limit, and a frame that disagrees is never decoded.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise
from struct import unpack_from

from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes, RLELossless

from pipeline.errors import UndecodablePixels

# Decoders keep a structure of some kilobytes for each tile. The smallest tile in clinical use, 256 x 256, cuts
# 100 megapixels into 1,600.
_MAXIMUM_TILES = 4096

# PS3.5 A.4: one byte of padding; some encoders write a few more.
_TRAILING = 64

# EOI of JPEG is EOC of JPEG 2000.
_SOI, _SOS, _EOI = 0xD8, 0xDA, 0xD9
# ITU-T T.81 table B.1: SOF0 to SOF15 without DHT, JPG and DAC; ISO/IEC 14495-1 table C.1: SOF55 of JPEG-LS.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSize:
    """The size that a codestream states: pixels and samples per pixel."""

    rows: int
    columns: int
    samples: int


def check_frame(frame: bytes, syntax: UID, *, rows: int, columns: int, bytes_allocated: int) -> None:
    """Compare what a compressed frame states with what the data set states.

    frame: one codestream; rows, columns: of the data set; bytes_allocated: BitsAllocated / 8, for RLE.
    Raises UndecodablePixels if they differ, or if the codestream has no readable header.
    Source: PS3.5 section 8.2 and annex G.3.
    """
    try:
        if syntax == RLELossless:
            _check_rle(frame, bytes_allocated)
            return
        if syntax in JPEGTransferSyntaxes or syntax in JPEGLSTransferSyntaxes:
            size = _size_of_jpeg(frame)
        elif syntax in JPEG2000TransferSyntaxes:  # HTJ2K, too
            size = _size_of_jpeg_2000(frame)
        else:
            raise UndecodablePixels(f"The transfer syntax {syntax.name} is not supported.")
    except (IndexError, struct.error):
        raise UndecodablePixels("The compressed frame ends within its header.") from None
    # Decoders fill what a truncated frame lacks with grey and say nothing. Entropy-coded data never holds a marker.
    if bytes((0xFF, _EOI)) not in frame[-_TRAILING:]:
        raise UndecodablePixels("The compressed frame has no end.")
    if size != FrameSize(rows=rows, columns=columns, samples=1):
        raise UndecodablePixels(
            f"The compressed frame states {size.rows} x {size.columns} pixels of {size.samples} samples, "
            f"the data set {rows} x {columns} of 1."
        )


def _check_rle(frame: bytes, segments: int) -> None:
    """PS3.5 annex G: 16 little-endian words, the number of segments and their offsets; one segment for each byte."""
    stated = unpack_from("<16I", frame)
    if stated[0] != segments:
        raise UndecodablePixels(f"The RLE frame has {stated[0]} segments instead of {segments}.")
    offsets = (*stated[1 : segments + 1], len(frame))
    if offsets[0] != 64 or any(a >= b for a, b in pairwise(offsets)):
        raise UndecodablePixels("The offsets of the RLE segments are not in order.")


def _size_of_jpeg(frame: bytes) -> FrameSize:
    """Walk the marker segments to the first scan. Source: ITU-T T.81 annex B, ISO/IEC 14495-1 annex C."""
    if frame[:2] != bytes((0xFF, _SOI)):
        raise UndecodablePixels("The compressed frame is not JPEG.")
    size: FrameSize | None = None
    position = 2
    while True:
        if frame[position] != 0xFF:
            raise UndecodablePixels("The JPEG header is damaged.")
        marker = frame[position + 1]
        if marker == 0xFF:  # T.81 B.1.1.2: fill bytes may precede a marker
            position += 1
            continue
        if marker in (_SOS, _EOI):
            break
        (length,) = unpack_from(">H", frame, position + 2)
        if length < 2:
            raise UndecodablePixels("The JPEG header is damaged.")
        if marker in _START_OF_FRAME:
            if size is not None:  # a decoder might take the second
                raise UndecodablePixels("The JPEG header states its size twice.")
            _, rows, columns, samples = unpack_from(">BHHB", frame, position + 4)
            size = FrameSize(rows=rows, columns=columns, samples=samples)
        position += 2 + length
    if size is None:
        raise UndecodablePixels("The JPEG header states no size.")
    return size


def _size_of_jpeg_2000(frame: bytes) -> FrameSize:
    """Read the SIZ segment, also of HTJ2K. Source: ISO/IEC 15444-1 annex A.5.1."""
    if frame[:4] != b"\xff\x4f\xff\x51":
        # PS3.5 A.4.4: the bare codestream, never a JP2 file around it.
        raise UndecodablePixels("The compressed frame is not a JPEG 2000 codestream.")
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, samples = unpack_from(">8IH", frame, 8)
    if tile_width == 0 or tile_height == 0 or right <= left or bottom <= top:
        raise UndecodablePixels("The JPEG 2000 header is damaged.")
    tiles = -((tile_left - right) // tile_width) * -((tile_top - bottom) // tile_height)
    if tiles > _MAXIMUM_TILES:
        raise UndecodablePixels(f"The JPEG 2000 frame is cut into {tiles} tiles; at most {_MAXIMUM_TILES} are decoded.")
    if frame[43:45] != b"\x01\x01":  # XRsiz, YRsiz
        raise UndecodablePixels("The JPEG 2000 frame is subsampled.")
    return FrameSize(rows=bottom - top, columns=right - left, samples=samples)
