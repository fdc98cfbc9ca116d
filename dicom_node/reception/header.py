"""The header of a received file, read without trust: every promise of a length is checked before it is believed."""

import struct
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from dicom_node.errors import DoesNotMatch, NotUnderstood, OutOfResources
from dicom_node.reception.attributes import CONVERSION_ERRORS, number, text
from dicom_node.wire import RADIOGRAPHS

MAXIMUM_HEADER_BYTES: Final = 8 * 2**20
"""Bytes of elements that are read at all: a header of nothing but elements would fill the memory."""

MAXIMUM_ELEMENTS: Final = 20_000
"""Elements and items that are read at all: each of a few bytes becomes an object of some hundred."""

LONG_VALUE_BYTES: Final = 64 * 2**10
"""A longer value at the top level, such as an overlay or a private blob, is stepped over."""

MAXIMUM_NESTING: Final = 32
"""Sequences within sequences; structured reports use about ten."""

_TOO_MANY: Final = f"The header has more than {MAXIMUM_ELEMENTS} elements."
_PIXEL_DATA: Final = 0x7FE00010
_PIXELS_OF_ANY_KIND: Final = (0x7FE00008, 0x7FE00009, _PIXEL_DATA)
_UNDEFINED_LENGTH: Final = 0xFFFFFFFF
_ITEM: Final = 0xFFFEE000
_SEQUENCE_DELIMITER: Final = 0xFFFEE0DD
_PREAMBLE_BYTES: Final = 132
_PARSE_ERRORS: Final = (*CONVERSION_ERRORS, EOFError, InvalidDicomError, zlib.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a file says before its pixels.

    dataset: all elements but pixel data and values over 64 KiB; with `file_meta`.
    pixel_bytes: length of native pixel data, None if they are encapsulated or absent.
    """

    dataset: Dataset
    transfer_syntax_uid: str
    pixel_bytes: int | None


@dataclass(slots=True, kw_only=True)
class _Pixels:
    tag: int = 0
    length: int = 0
    header_length: int = 0

    def begin(self, tag: BaseTag, vr: str | None, length: int) -> bool:
        """Called by pydicom before it reads a value; True stops it there."""
        if tag not in _PIXELS_OF_ANY_KIND:
            return False
        self.tag, self.length, self.header_length = tag, length, 12 if vr in EXPLICIT_VR_LENGTH_32 else 8
        return True


class _Distrusting:
    """A binary file that raises NotUnderstood where a value would reach past its end or the header past its limit."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size = file.seek(0, 2)
        file.seek(0)
        self._budget = MAXIMUM_HEADER_BYTES
        self._reads = 0
        self._position = 0

    def read(self, length: int) -> bytes:
        # pydicom asks for 8 bytes, or fewer, to find out whether there is another element.
        if length > 8 and length > self.size - self._position:
            raise NotUnderstood("The data set is truncated: a value is longer than what is left.")
        self._budget -= length
        self._reads += 1
        if self._reads > 3 * MAXIMUM_ELEMENTS:  # of an element: tag, length, value
            raise NotUnderstood(_TOO_MANY)
        if self._budget < 0:
            raise NotUnderstood(f"The header is longer than {MAXIMUM_HEADER_BYTES // 2**20} MiB.")
        data = self._file.read(length)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        target = offset + (0, self._position, self.size)[whence]
        if target > self.size:
            raise NotUnderstood("The data set is truncated: a value is longer than what is left.")
        self._position = self._file.seek(target)
        return self._position

    def tell(self) -> int:
        return self._position


def is_uid(value: str) -> bool:
    """Whether `value` can be a UID: 1 to 64 characters, digits with dots between (PS3.5 section 9.1).

    A component with a leading zero passes: some modalities write them.
    """
    return 1 <= len(value) <= 64 and value.isascii() and all(part.isdigit() for part in value.split("."))


def read_header(path: Path, *, maximum_bytes: int, maximum_pixels: int, scratch: Path | None = None) -> Header:
    """Read the header of a received DICOM file and check that it tells the truth about the rest.

    maximum_bytes: to which a deflated data set may grow. maximum_pixels: largest Rows x Columns of a radiograph.
    scratch: folder in which a deflated data set is inflated; None: the system's for temporary files.
    Raises NotUnderstood if the file cannot be parsed or is truncated, nested too deep or too long; DoesNotMatch if
    it contradicts the C-STORE command (its file meta information), has UIDs that are none, or is a radiograph whose
    Rows, Columns and pixel data do not agree or that is too large; OutOfResources if the disk fails.
    Pixels are not decoded. Source: PS3.5 sections 7 and 9, A.4, A.5; PS3.3 C.7.6.3.
    """
    try:
        with path.open("rb") as file:
            return _read(file, scratch, maximum_bytes, maximum_pixels)
    except RecursionError:
        raise NotUnderstood("Sequences are nested too deep.") from None
    except _PARSE_ERRORS as e:
        if isinstance(e.__context__, NotUnderstood):  # pydicom makes an OSError of whatever ends an item
            raise e.__context__ from None
        if isinstance(e, OSError) and e.errno is not None:  # pydicom raises OSError without errno for bad sequences
            raise OutOfResources(f"The received file cannot be read: {e.strerror}.") from e
        raise NotUnderstood("The data set cannot be parsed.") from e


def _read(file: IO[bytes], scratch: Path | None, maximum_bytes: int, maximum_pixels: int) -> Header:
    stream = _Distrusting(file)
    stream.seek(_PREAMBLE_BYTES)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
    syntax = UID(text(meta, "TransferSyntaxUID"))
    if syntax != DeflatedExplicitVRLittleEndian:
        dataset, pixels = _read_data_set(stream, syntax)
    else:
        with tempfile.TemporaryFile(dir=scratch) as inflated:
            _inflate(file, inflated, maximum_bytes)
            dataset, pixels = _read_data_set(_Distrusting(inflated), syntax)
    _compare_uids(dataset, meta)
    native = pixels.tag != 0 and pixels.length != _UNDEFINED_LENGTH
    if text(dataset, "SOPClassUID") in RADIOGRAPHS:
        if pixels.tag != _PIXEL_DATA:
            raise DoesNotMatch("PixelData is missing.")
        if native == syntax.is_encapsulated:
            raise DoesNotMatch("The pixel data are not encoded as their transfer syntax says.")
        _compare_pixels(dataset, pixels.length if native else None, maximum_pixels)
    return Header(dataset=dataset, transfer_syntax_uid=str(syntax), pixel_bytes=pixels.length if native else None)


def _inflate(file: IO[bytes], inflated: IO[bytes], maximum_bytes: int) -> None:
    inflator, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while not inflator.eof:
        piece = inflator.unconsumed_tail or file.read(2**16)
        grown = inflator.decompress(piece, 2**20)
        if not piece and not grown:
            raise NotUnderstood("The data set is truncated: its deflated stream has no end.")
        total += len(grown)
        if total > maximum_bytes:
            raise DoesNotMatch("The deflated data set grows beyond the limit.")
        inflated.write(grown)


def _read_data_set(stream: _Distrusting, syntax: UID) -> tuple[Dataset, _Pixels]:
    pixels = _Pixels()
    implicit, little = syntax.is_implicit_VR, syntax.is_little_endian
    dataset = read_dataset(stream, implicit, little, stop_when=pixels.begin, defer_size=LONG_VALUE_BYTES)
    for tag in list(dataset.keys()):
        element = dataset.get_item(tag, keep_deferred=True)
        if isinstance(element, RawDataElement) and element.value is None and element.length:
            del dataset[tag]
    _count_elements(dataset, 0)
    if pixels.tag:
        stream.seek(pixels.header_length, 1)
        if pixels.length == _UNDEFINED_LENGTH:
            _step_over_fragments(stream)
        else:
            stream.seek(pixels.length, 1)
        # What follows, such as padding or a signature, must be whole as well.
        read_dataset(stream, implicit, little, defer_size=LONG_VALUE_BYTES)
    elif stream.tell() != stream.size:
        raise NotUnderstood("The data set is truncated: it ends within an element.")
    return dataset, pixels


def _step_over_fragments(stream: _Distrusting) -> None:
    # PS3.5 A.4: encapsulated pixel data are little endian items up to a sequence delimiter.
    while True:
        head = stream.read(8)
        if len(head) < 8:
            raise NotUnderstood("The data set is truncated: its pixel data have no end.")
        group, element, length = struct.unpack("<HHL", head)
        tag = group << 16 | element
        if tag == _SEQUENCE_DELIMITER:
            return
        if tag != _ITEM:
            raise NotUnderstood("The pixel data are not a sequence of fragments.")
        stream.seek(length, 1)


def _count_elements(dataset: Dataset, depth: int) -> int:
    if depth > MAXIMUM_NESTING:
        raise NotUnderstood("Sequences are nested too deep.")
    count = 1 + len(dataset)
    for tag in list(dataset.keys()):
        if _is_sequence(dataset, tag):
            # Sequences of explicit length are parsed here, when somebody looks.
            for item in dataset[tag].value:
                count += _count_elements(item, depth + 1)
                if count > MAXIMUM_ELEMENTS:
                    raise NotUnderstood(_TOO_MANY)
    return count


def _is_sequence(dataset: Dataset, tag: BaseTag) -> bool:
    vr = dataset.get_item(tag).VR
    if vr is None or vr == "UN":
        try:
            vr = dictionary_VR(tag)
        except KeyError:
            return False
    return bool(vr == "SQ")


def _compare_uids(dataset: Dataset, meta: Dataset) -> None:
    for keyword, commanded in (
        ("SOPClassUID", text(meta, "MediaStorageSOPClassUID")),
        ("SOPInstanceUID", text(meta, "MediaStorageSOPInstanceUID")),
        ("StudyInstanceUID", None),
        ("SeriesInstanceUID", None),
    ):
        value = text(dataset, keyword)
        if not is_uid(value):
            raise DoesNotMatch(f"{keyword} is missing or not a UID.")
        if commanded is not None and value != commanded:
            raise DoesNotMatch(f"{keyword} is not the one of the C-STORE command.")


def _compare_pixels(dataset: Dataset, pixel_bytes: int | None, maximum_pixels: int) -> None:
    def positive(keyword: str) -> int:
        value = number(dataset, keyword)
        if value is None or value < 1:
            raise DoesNotMatch(f"{keyword} is missing or not a positive number.")
        return value

    rows, columns = positive("Rows"), positive("Columns")
    samples, bits = positive("SamplesPerPixel"), positive("BitsAllocated")
    frames = positive("NumberOfFrames") if text(dataset, "NumberOfFrames") else 1
    if rows * columns > maximum_pixels:
        raise DoesNotMatch(f"Rows x Columns are {rows} x {columns}, above the limit.")
    expected = (rows * columns * samples * frames * bits + 7) // 8
    # PS3.5 section 8.1.1: pixel data of odd length are padded by one byte.
    if pixel_bytes is not None and pixel_bytes not in (expected, expected + expected % 2):
        raise DoesNotMatch(f"PixelData has {pixel_bytes} bytes, Rows and Columns promise {expected}.")
