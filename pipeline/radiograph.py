"""A radiograph as an array: from a DICOM object or from a plain image, as a viewer would show it.

The values that a pixel can have are few (256 or 65,536), so the whole greyscale pipeline of PS3.4 annex N.2 (modality
LUT, VOI LUT, photometric interpretation) is worked out once on a table of them, and the pixels are looked up in it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder
from pydicom.uid import UID, JPEGLSTransferSyntaxes

from pipeline.codestream import check_frame
from pipeline.errors import UndecodablePixels, UnreadableRadiograph

Gray = NDArray[np.float32]
"""float32 (H, W), [0, 1], air dark (MONOCHROME2 sense)."""

Words = NDArray[np.uint8] | NDArray[np.uint16]
"""Stored pixels as the unsigned words that hold them, (H, W)."""

ROBUST_RANGE: Final = (0.005, 0.995)
"""Shares of the pixels that are black and not yet white, where neither window nor VOI LUT says what is meant."""

# Pixels are taken as square within one per cent; beyond 4:1 the statement is taken for an error.
_SQUARE, _LONGEST_PIXEL = 0.01, 4.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Radiograph:
    """One frame as it is meant to be seen: modality LUT, VOI LUT and photometric interpretation applied.

    pixels: float32 (H, W), [0, 1], air dark. H x W are Rows x Columns of the source, unless its pixels are not
        square: then the longer side of the pixel is resampled to the shorter.
    """

    pixels: Gray


@dataclass(frozen=True, slots=True, kw_only=True)
class _ImagePixel:
    """The Image Pixel module, checked. Source: PS3.3 C.7.6.3, with what CR and DX allow (C.8.11.3.1)."""

    syntax: UID
    rows: int
    columns: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    data: bytes


def from_dicom(dataset: Dataset, *, maximum_pixels: int) -> Radiograph:
    """Read the pixels of a CR or DX object as a viewer would show them.

    dataset: with file meta information, for the transfer syntax; any syntax that pydicom decodes.
    maximum_pixels: Rows x Columns that are decoded at most; also after non-square pixels are resampled.
    Of several VOI LUTs or windows the first counts, a LUT before a window; without either, `ROBUST_RANGE` of the
    pixels is stretched to [0, 1]. Padding is black.
    Raises UndecodablePixels if the data set contradicts itself, is too large, or cannot be decoded; sizes, also those
    that a compressed frame states, are checked before anything of that size is allocated.
    Source: PS3.4 annex N.2; PS3.3 C.7.6.3, C.11.1, C.11.2; PS3.5 section 8.
    """
    with _undecodable("The image attributes"):
        image = _image_pixel(dataset, maximum_pixels)
    with _undecodable("The pixel data"):
        words = _decode(image)
    with _undecodable("The greyscale attributes"):
        table = _greyscale(dataset, image, words)
        vertical, horizontal = _pixel_shape(dataset)
    pixels = cast(Gray, cv2.LUT(words, table.reshape(1, -1)))
    return Radiograph(pixels=_square(pixels, vertical, horizontal, maximum_pixels))


def from_image(path: Path, *, maximum_pixels: int) -> Radiograph:
    """Read a PNG or JPEG file that shows a radiograph with air dark.

    8-bit images are taken as they are; 16-bit images are stretched like a DICOM object without a window.
    Raises UndecodablePixels if the file is no such image, is too large, or is damaged.
    """
    words = grey_levels(path, maximum_pixels=maximum_pixels)
    table = np.linspace(0, 1, 256) if words.itemsize == 1 else _stretch(np.arange(65536.0), words, None)
    return Radiograph(pixels=cast(Gray, cv2.LUT(words, table.astype(np.float32).reshape(1, -1))))


def grey_levels(path: Path, *, maximum_pixels: int) -> Words:
    """Read the grey levels of a PNG or JPEG file: uint8 or, for a 16-bit grey PNG, uint16; (H, W).

    Colours become luma, transparent parts black; the orientation in EXIF data is applied.
    Raises UndecodablePixels; the size is checked before the pixels are decoded.
    """
    with _undecodable("The image file"), Image.open(path, formats=("PNG", "JPEG")) as image:
        if image.width * image.height > maximum_pixels:
            raise UndecodablePixels(f"{image.height} x {image.width} pixels are above the limit of {maximum_pixels}.")
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):
            return np.asarray(upright).astype(np.uint16)
        if upright.has_transparency_data:
            upright = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", upright.size, "black"), upright)
        return np.asarray(upright.convert("L"))


@contextmanager
def _undecodable(part: str) -> Iterator[None]:
    """Turn whatever a decoder raises into UndecodablePixels; messages of decoders can quote the data set."""
    try:
        yield
    except (UnreadableRadiograph, MemoryError):
        raise
    except Image.DecompressionBombError as e:
        raise UndecodablePixels(f"{part} states more pixels than could ever be read.") from e
    except Exception as e:
        raise UndecodablePixels(f"{part} cannot be decoded ({type(e).__name__}).") from e
    except BaseException as e:
        # The RLE decoder is written in Rust: what it panics with is no Exception and cannot be imported.
        if type(e).__name__ != "PanicException":
            raise
        raise UndecodablePixels(f"{part} cannot be decoded (damaged).") from None


def _integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    value = dataset.get(keyword)
    if value is None and default is not None:
        return default
    if not isinstance(value, int):
        raise UndecodablePixels(f"{keyword} is {'missing' if value is None else 'not one number'}.")
    return int(value)


def _image_pixel(dataset: Dataset, maximum_pixels: int) -> _ImagePixel:
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    rows, columns = _integer(dataset, "Rows"), _integer(dataset, "Columns")
    if rows < 1 or columns < 1:
        raise UndecodablePixels(f"{rows} x {columns} are no pixels.")
    if rows * columns > maximum_pixels:
        raise UndecodablePixels(f"{rows} x {columns} pixels are above the limit of {maximum_pixels}.")
    if (samples := _integer(dataset, "SamplesPerPixel", 1)) != 1:
        raise UndecodablePixels(f"SamplesPerPixel is {samples}, not 1.")
    if (frames := _integer(dataset, "NumberOfFrames", 1)) != 1:
        raise UndecodablePixels(f"NumberOfFrames is {frames}, not 1.")
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise UndecodablePixels("PhotometricInterpretation is not MONOCHROME1 or MONOCHROME2.")
    allocated = _integer(dataset, "BitsAllocated")
    stored = _integer(dataset, "BitsStored", allocated)
    high = _integer(dataset, "HighBit", stored - 1)
    if allocated not in (8, 16) or not 1 <= stored <= high + 1 <= allocated:
        raise UndecodablePixels(f"BitsAllocated {allocated}, BitsStored {stored}, HighBit {high} are not supported.")
    if (representation := _integer(dataset, "PixelRepresentation", 0)) not in (0, 1):
        raise UndecodablePixels(f"PixelRepresentation is {representation}.")
    data = dataset.get("PixelData")
    if not isinstance(data, bytes) or not data:
        raise UndecodablePixels("PixelData is missing.")
    if not syntax.is_encapsulated:
        # PS3.5 8.1.1: padded to an even length. Some writers pad more, but a whole row more is another image.
        row = columns * allocated // 8
        if not rows * row <= len(data) < (rows + 1) * row + 1:
            raise UndecodablePixels(
                f"PixelData has {len(data)} bytes, {rows} x {columns} of {allocated} bits need {rows * row}."
            )
    return _ImagePixel(
        syntax=syntax, rows=rows, columns=columns, photometric=photometric, bits_allocated=allocated,
        bits_stored=stored, high_bit=high, signed=representation == 1, data=data,
    )  # fmt: skip


def _decode(image: _ImagePixel) -> Words:
    """Decode to the words as they are stored, unused bits included; (rows, columns)."""
    plugin = ""
    if image.syntax.is_encapsulated:
        frame = get_frame(image.data, 0, number_of_frames=1)
        check_frame(
            frame, image.syntax, rows=image.rows, columns=image.columns, bytes_allocated=image.bits_allocated // 8
        )
        # One decoder each, so that a damaged frame is not tried on a second: CharLS, because it is the fastest, and
        # for the rest pylibjpeg, whose RLE decoder, unlike pydicom's own, writes no more than the image has.
        plugin = "pyjpegls" if image.syntax in JPEGLSTransferSyntaxes else "pylibjpeg"
    array, _ = get_decoder(image.syntax).as_array(
        image.data, index=0, raw=True, decoding_plugin=plugin, number_of_frames=1, samples_per_pixel=1,
        rows=image.rows, columns=image.columns, photometric_interpretation=image.photometric,
        bits_allocated=image.bits_allocated, bits_stored=image.bits_stored,
        pixel_representation=int(image.signed), pixel_keyword="PixelData",
        pixel_vr="OB" if image.bits_allocated == 8 else "OW", view_only=True,
        # `_values` masks unused bits and extends the sign: on a table that costs nothing.
        correct_unused_bits=False, apply_j2k_sign_correction=False, apply_jls_sign_correction=False,
    )  # fmt: skip
    if array.shape != (image.rows, image.columns) or array.itemsize > 2:
        raise UndecodablePixels("The decoded frame has another size than the data set states.")
    native = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
    return cast(Words, native.view(np.uint8 if native.itemsize == 1 else np.uint16))


def _values(image: _ImagePixel, itemsize: int) -> NDArray[np.float64]:
    """Give the stored value that each possible word means. Source: PS3.5 8.1.1."""
    words = np.arange(1 << 8 * itemsize)
    bits = min(image.bits_stored, 8 * itemsize)
    # Decoders right-align; only native words can have their bits elsewhere.
    shift = 0 if image.syntax.is_encapsulated else image.high_bit + 1 - image.bits_stored
    values = (words >> shift) & ((1 << bits) - 1)
    if image.signed:
        values -= (values >> (bits - 1)) << bits
    return values.astype(np.float64)


def _greyscale(dataset: Dataset, image: _ImagePixel, words: Words) -> NDArray[np.float32]:
    """Compose the greyscale pipeline: for each possible word what is shown, float32 [0, 1]. Source: PS3.4 N.2."""
    stored = _values(image, words.itemsize)
    padding = _padding(dataset, stored)
    values = _modality(dataset, stored)
    shown = _voi(dataset, values)
    if shown is None:
        shown = _stretch(values, words, padding)
    shown = np.clip(shown, 0, 1)
    # PS3.3 C.8.11.3.1.2: in DX, INVERSE goes with MONOCHROME1 and says the same again.
    if image.photometric == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE":
        shown = 1 - shown
    if padding is not None:
        shown = np.where(padding, 0, shown)
    return np.ascontiguousarray(shown, dtype=np.float32)


def _padding(dataset: Dataset, stored: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    """Tell which values are padding. Source: PS3.3 C.7.5.1.1.2."""
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((value, limit if isinstance(limit, int) else value))
    return (low <= stored) & (stored <= high)


def _modality(dataset: Dataset, stored: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply the modality LUT or the rescale. Source: PS3.3 C.11.1."""
    if items := dataset.get("ModalityLUTSequence"):
        return _look_up(dataset, items[0], stored)
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    if slope is None or intercept is None:
        return stored
    with np.errstate(over="ignore"):
        values = stored * slope + intercept
    if not np.isfinite(values).all():
        raise UndecodablePixels("RescaleSlope and RescaleIntercept give no finite values.")
    return values


def _voi(dataset: Dataset, values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Apply the VOI LUT or the window, to [0, 1]; None if there is none that can be used. Source: PS3.3 C.11.2."""
    if items := dataset.get("VOILUTSequence"):
        entries = _look_up(dataset, items[0], values)
        bits = items[0].LUTDescriptor[2]
        # Some LUTs have larger entries than they say; then the largest is white.
        return entries / max(float((1 << bits) - 1 if 8 <= bits <= 16 else 0), float(entries.max()), 1.0)
    center, width = _number(dataset, "WindowCenter"), _number(dataset, "WindowWidth")
    if center is None or width is None:
        return None
    function = str(dataset.get("VOILUTFunction") or "LINEAR")
    shown: NDArray[np.float64] | None = None
    if function == "LINEAR" and width == 1:
        shown = (values > center - 0.5).astype(np.float64)  # PS3.3 C.11.2.1.2.1: a step
    elif function == "LINEAR" and width > 1:
        shown = (values - (center - 0.5)) / (width - 1) + 0.5
    elif function == "LINEAR_EXACT" and width > 0:
        shown = (values - center) / width + 0.5  # PS3.3 C.11.2.1.3.2
    elif function == "SIGMOID" and width > 0:
        # PS3.3 C.11.2.1.3.1: 1 / (1 + exp(-4 (x - c) / w)), written so that it cannot overflow.
        shown = 0.5 * (1 + np.tanh(2 * (values - center) / width))
    return shown


def _look_up(dataset: Dataset, item: Dataset, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map values by a LUT; those outside get its first or last entry. Source: PS3.3 C.11.1.1, C.11.2.1.1."""
    length, first, _ = (int(part) for part in item.LUTDescriptor)
    length = length or 65536
    data: Any = item.LUTData
    if isinstance(data, bytes):
        little = UID(dataset.file_meta.TransferSyntaxUID).is_little_endian
        kind = np.dtype("u1") if len(data) == length else np.dtype("<u2" if little else ">u2")
        entries = np.frombuffer(data, kind, count=length)
    else:
        entries = np.atleast_1d(np.asarray(data, np.int64))[:length] & 0xFFFF
    if len(entries) != length:
        raise UndecodablePixels(f"A LUT has {len(entries)} entries and states {length}.")
    if first > 32767 and values.min() < 0:  # the descriptor was read as US, though the values have a sign
        first -= 65536
    index = np.clip(np.rint(values) - first, 0, length - 1).astype(np.intp)
    mapped: NDArray[np.float64] = entries.astype(np.float64)[index]
    return mapped


def _stretch(values: NDArray[np.float64], words: Words, padding: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """Stretch ROBUST_RANGE of the pixels to [0, 1]: for each possible word what is shown."""
    counts = cv2.calcHist([words], [0], None, [len(values)], [0, len(values)]).ravel().astype(np.float64)
    if padding is not None:
        counts[padding] = 0
    order = np.argsort(values, kind="stable")
    order = order[counts[order] > 0]
    if not order.size:
        return np.zeros_like(values)
    shares = np.cumsum(counts[order])
    low, high = values[order[np.searchsorted(shares, shares[-1] * np.array(ROBUST_RANGE))]]
    if low == high:  # nearly all pixels have one value
        low, high = values[order[0]], values[order[-1]]
    if low == high:
        return np.zeros_like(values)
    stretched: NDArray[np.float64] = np.clip((values - low) / (high - low), 0, 1)
    return stretched


def _number(dataset: Dataset, keyword: str) -> float | None:
    """Read the first number of an attribute; None if there is none."""
    value = dataset.get(keyword)
    first = value if isinstance(value, int | float) else value[0] if value else None
    return None if first is None or not np.isfinite(float(first)) else float(first)


def _pixel_shape(dataset: Dataset) -> tuple[float, float]:
    """Give height and width of a pixel, in any unit. Source: PS3.3 C.7.6.3.1.7, 10.7.1.3."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        value = dataset.get(keyword)
        if value is not None and not isinstance(value, int | float | str) and len(value) == 2:
            height, width = (float(part) for part in value)
            if height > 0 and width > 0:
                return height, width
    return 1.0, 1.0


def _square(pixels: Gray, height: float, width: float, maximum_pixels: int) -> Gray:
    """Resample to square pixels; each of them as large as the shorter side, so that no detail is lost."""
    aspect = height / width
    if abs(aspect - 1) <= _SQUARE:
        return pixels
    if not 1 / _LONGEST_PIXEL <= aspect <= _LONGEST_PIXEL:
        raise UndecodablePixels("The pixels are more than four times as long as wide.")
    rows, columns = pixels.shape
    rows, columns = (round(rows * aspect), columns) if aspect > 1 else (rows, round(columns / aspect))
    if rows * columns > maximum_pixels:
        raise UndecodablePixels(f"{rows} x {columns} square pixels are above the limit of {maximum_pixels}.")
    return cast(Gray, cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_LINEAR))
