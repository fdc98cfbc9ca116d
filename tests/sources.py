"""The radiographs that hospitals send, in a table: every transfer syntax, depth, sign and greyscale attribute."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dicom_node.wire import TRANSFER_SYNTAXES
from tests.peers.codecs import ENCODED_BY_OTHERS, encode
from tests.phantom import chest_phantom, make_cr, make_dx

LOSSY: Final = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K})

REFERENCE: Final = "cr ExplicitVRLittleEndian"
"""The row whose radiograph many others show."""

_COMPRESSION: Final[Mapping[UID, Mapping[str, Any]]] = {
    JPEGLSNearLossless: {"jls_error": 2},
    JPEG2000: {"j2k_psnr": [60]},
}
_WINDOW: Final = (2048.0, 4096.0)  # all values of 12 bits, PS3.3 C.11.2.1.2.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One row of the table.

    make: builds the object in explicit VR little endian or what pydicom writes.
    syntax: in which it is sent. tolerance: difference to a second decoder, of [0, 1]: 0, or one stored value where
        decoders may round.
    same: how near its score must be to that of `REFERENCE`, None if it shows another radiograph. An inverted greyscale
        is the same but for the last bit of a float.
    render: options of dcm2pnm for the greyscale attributes, None if it shows them otherwise or not at all.
    large: whether it is left to the run that takes minutes.
    """

    make: Callable[[], Dataset]
    syntax: UID = ExplicitVRLittleEndian
    tolerance: float = 0.0
    same: float | None = None
    render: tuple[str, ...] | None = None
    large: bool = False

    def write(self, file: Path) -> Dataset:
        """Write the object to `file` as it is sent; returns it."""
        dataset = self.make()
        if self.syntax in ENCODED_BY_OTHERS:
            dataset = encode(dataset, self.syntax, file.parent)
        dataset.save_as(file, enforce_file_format=True)
        return dataset


def _coded(build: Callable[..., Dataset], syntax: UID, *, large: bool, **options: Any) -> Source:
    bits = 8 if syntax == JPEGBaseline8Bit else 12
    written = ExplicitVRLittleEndian if syntax in ENCODED_BY_OTHERS else syntax
    window = (2.0 ** (bits - 1), 2.0**bits)

    def make() -> Dataset:
        return build(bits=bits, window=window, syntax=written, compression=_COMPRESSION.get(syntax, {}), **options)

    return Source(
        make=make,
        syntax=syntax,
        tolerance=1.01 / (2**bits - 1) if syntax in LOSSY else 0.0,
        same=None if syntax in LOSSY or "size" in options else 1e-6,
        large=large,
    )


def _by_codec() -> Mapping[str, Source]:
    """Each SOP class in each transfer syntax; the small run has each syntax once, and each class."""
    table = {}
    for number, syntax in enumerate(TRANSFER_SYNTAXES):
        name = syntax.keyword
        table[f"cr {name}"] = _coded(make_cr, syntax, large=number % 3 != 0)
        table[f"dx {name}"] = _coded(make_dx, syntax, large=number % 3 != 1)
        table[f"dx-for-processing {name}"] = _coded(make_dx, syntax, large=number % 3 != 2, for_processing=True)
    return table


def _by_shape() -> Mapping[str, Source]:
    """Odd sizes in every compression, and values below zero in those that know a sign."""
    odd = {
        f"odd size in {syntax.keyword}": _coded(make_cr, syntax, large=True, size=(321, 279))
        for syntax in TRANSFER_SYNTAXES
        if syntax.is_encapsulated
    }
    signed = {
        f"signed in {syntax.keyword}": Source(
            make=lambda s=syntax: make_cr(  # type: ignore[misc]
                signed=True,
                rescale=(1.0, 2048.0),
                window=_WINDOW,
                syntax=ExplicitVRLittleEndian if s in ENCODED_BY_OTHERS else s,
            ),
            syntax=syntax,
            same=1e-6,
            large=True,
        )
        for syntax in (RLELossless, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless)
    }
    return odd | signed


def _lut(entries: NDArray[Any], first: int, bits: int) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries) % 65536, first, bits])
    item.add_new("LUTData", "US", [int(entry) for entry in entries])
    return item


def _with_modality_lut() -> Dataset:
    item = _lut(np.round(4095 * np.linspace(0, 1, 4096) ** 1.2), 0, 16)
    item.ModalityLUTType = "US"
    return make_cr(window=_WINDOW, extra={"ModalityLUTSequence": [item]})


def _grey() -> NDArray[np.uint16]:
    return np.round(chest_phantom() * 4095).astype(np.uint16)


def _collimated() -> Dataset:
    pixels = _grey()
    pixels[:20] = pixels[-20:] = 0
    pixels[:, :16] = pixels[:, -16:] = 0
    return make_cr(pixels=pixels, bits=12, window=_WINDOW, padding=0)


def _labelled() -> Dataset:
    pixels = _grey()
    pixels[10:40, 10:16] = pixels[34:40, 10:26] = 4095  # an L of lead
    return make_cr(pixels=pixels, bits=12, window=_WINDOW, extra={"BurnedInAnnotation": "YES"})


def _padded_below_zero() -> Dataset:
    pixels = _grey().astype(np.int16)
    pixels[:20], pixels[-20:] = -2000, -1990
    return make_cr(
        pixels=pixels, bits=12, signed=True, window=_WINDOW, padding=-2000, extra={"PixelPaddingRangeLimit": -1990}
    )


_WI, _WL = ("+Wi", "1"), ("+Wl", "1")
_ROOT: Final = tuple(int(entry) for entry in np.round(65535 * np.sqrt(np.linspace(0, 1, 4096))))
_SPACED: Final = {"PixelSpacing": ["0.3", "0.3"], "PixelSpacingCalibrationType": "GEOMETRY"}

_SHUT: Final = {
    # Both are of the display, and the pixels below them were made by X-rays; the node reads all that was stored.
    "ShutterShape": "RECTANGULAR",
    "ShutterLeftVerticalEdge": "20",
    "ShutterRightVerticalEdge": "260",
    "ShutterUpperHorizontalEdge": "20",
    "ShutterLowerHorizontalEdge": "300",
    "CollimatorShape": "RECTANGULAR",
    "CollimatorLeftVerticalEdge": "10",
    "CollimatorRightVerticalEdge": "270",
    "CollimatorUpperHorizontalEdge": "10",
    "CollimatorLowerHorizontalEdge": "310",
}


def _by_depth() -> Mapping[str, Source]:
    table = {}
    for bits in range(8, 17):
        window = (2.0 ** (bits - 1), 2.0**bits)
        middle = (0.0, 2.0**bits)
        table[f"{bits} bits"] = Source(
            make=lambda b=bits, w=window: make_cr(bits=b, window=w),  # type: ignore[misc]
            render=_WI,
            large=bits not in (8, 16),
        )
        table[f"{bits} bits signed"] = Source(
            make=lambda b=bits, w=middle: make_cr(bits=b, signed=True, window=w),  # type: ignore[misc]
            render=_WI,
            large=bits != 10,
        )
    return table


def _by_greyscale() -> Mapping[str, Source]:
    table = {
        "monochrome1": Source(make=lambda: make_cr(photometric="MONOCHROME1", window=_WINDOW), same=1e-5, render=_WI),
        "inverse": Source(make=lambda: make_dx(photometric="MONOCHROME1", window=_WINDOW), same=1e-5, render=_WI),
        "signed rescaled": Source(
            make=lambda: make_cr(signed=True, rescale=(1.0, 2048.0), window=_WINDOW), same=1e-6, render=_WI
        ),
        "rescaled": Source(make=lambda: make_cr(rescale=(2.0, -1000.0), window=(3096.0, 8192.0)), render=_WI),
        "modality lut": Source(make=_with_modality_lut, render=_WI),
        "voi lut": Source(make=lambda: make_cr(voi_lut=(0, _ROOT, 16)), render=_WL),
        "narrow window": Source(make=lambda: make_cr(window=(1800.0, 1500.0)), render=_WI),
        "linear exact": Source(make=lambda: make_cr(window=_WINDOW, voi_function="LINEAR_EXACT"), render=_WI),
        "sigmoid": Source(make=lambda: make_cr(window=(2000.0, 1600.0), voi_function="SIGMOID"), render=_WI),
        "no window": Source(make=make_cr),
        "padded and collimated": Source(make=_collimated, render=_WI),
        "label burned in": Source(make=_labelled, render=_WI),
        "tall pixels": Source(make=lambda: make_cr(window=_WINDOW, aspect=(2, 1))),
        "wide pixels": Source(make=lambda: make_cr(window=_WINDOW, aspect=(3, 4))),
        "calibrated spacing": Source(make=lambda: make_cr(window=_WINDOW, extra=_SPACED), same=1e-6, render=_WI),
        "odd size": Source(make=lambda: make_cr(size=(321, 279), window=_WINDOW), render=_WI),
        "odd size of 8 bits": Source(make=lambda: make_cr(size=(321, 279), bits=8, window=(128.0, 256.0)), render=_WI),
        "big-endian of 8 bits and odd size": Source(
            make=lambda: make_cr(size=(321, 279), bits=8, window=(128.0, 256.0), syntax=ExplicitVRBigEndian),
            syntax=ExplicitVRBigEndian,
        ),
        "range of padding below zero": Source(make=_padded_below_zero, render=_WI),
        "shutter and collimator": Source(make=lambda: make_dx(window=_WINDOW, extra=_SHUT), same=1e-6, render=_WI),
    }
    chosen = {
        "monochrome1",
        "inverse",
        "signed rescaled",
        "voi lut",
        "sigmoid",
        "padded and collimated",
        "odd size of 8 bits",
    }
    return {
        name: Source(
            make=row.make, syntax=row.syntax, same=row.same, render=row.render, large=name not in chosen
        )
        for name, row in table.items()
    } | {
        "4 megapixels": Source(make=lambda: make_dx(size=(2140, 1870), bits=14, window=(8192.0, 16384.0)), large=True),
        "4 megapixels in JPEG": _coded(make_dx, JPEGLosslessSV1, large=True, size=(2139, 1871)),
        "12 megapixels in JPEG-LS": _coded(make_dx, JPEGLSLossless, large=True, size=(4001, 3001)),
        "40 megapixels": Source(make=lambda: make_dx(size=(7000, 5720), window=_WINDOW), large=True),
    }  # fmt: skip


SOURCES: Final[Mapping[str, Source]] = {**_by_codec(), **_by_depth(), **_by_shape(), **_by_greyscale()}
