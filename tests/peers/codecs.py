"""Encoders and decoders of others: DCMTK, OpenJPH, and Grok for JPEG 2000, which DCMTK does not know."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import get_frame
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from tests.phantom import encapsulated

PACKAGES: Final = {
    "dcmcjpeg": "dcmtk",
    "dcmconv": "dcmtk",
    "dcmdjpeg": "dcmtk",
    "dcmdjpls": "dcmtk",
    "dcmdrle": "dcmtk",
    "dcm2pnm": "dcmtk",
    "ojph_compress": "openjph-tools",
    "ojph_expand": "openjph-tools",
    "grk_decompress": "grokj2k-tools",
}
"""The Debian package of each tool."""

_ENCODER: Final[Mapping[UID, Sequence[str]]] = {
    JPEGBaseline8Bit: ("dcmcjpeg", "+eb"),
    JPEGExtended12Bit: ("dcmcjpeg", "+ee"),
    JPEGLossless: ("dcmcjpeg", "+el"),
    JPEGLosslessSV1: ("dcmcjpeg", "+e1"),
    HTJ2KLossless: ("ojph_compress", "-reversible", "true", "-prog_order", "LRCP"),
    HTJ2KLosslessRPCL: ("ojph_compress", "-reversible", "true", "-prog_order", "RPCL"),
    HTJ2K: ("ojph_compress", "-reversible", "false", "-qstep", "0.0005"),
}
"""For what pydicom does not write."""

_DECODER: Final[Mapping[UID, str]] = {
    JPEGBaseline8Bit: "dcmdjpeg",
    JPEGExtended12Bit: "dcmdjpeg",
    JPEGLossless: "dcmdjpeg",
    JPEGLosslessSV1: "dcmdjpeg",
    JPEGLSLossless: "dcmdjpls",
    JPEGLSNearLossless: "dcmdjpls",
    RLELossless: "dcmdrle",
    JPEG2000Lossless: "grk_decompress",
    JPEG2000: "grk_decompress",
    HTJ2KLossless: "ojph_expand",
    HTJ2KLosslessRPCL: "ojph_expand",
    HTJ2K: "ojph_expand",
}

ENCODED_BY_OTHERS: Final = frozenset(_ENCODER)
"""Transfer syntaxes that `encode` is for."""


class MissingCodec(AssertionError):
    """A codec is not installed. A failure and not a skip: pixels that nobody compared have not passed."""


def run(*command: str | Path) -> None:
    """Run a tool; MissingCodec if it is not installed, AssertionError with its words if it fails."""
    tool = str(command[0])
    if shutil.which(tool) is None:
        raise MissingCodec(f"{tool} is not installed: apt-get install {PACKAGES[tool]}")
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def encode(native: Dataset, syntax: UID, folder: Path) -> Dataset:
    """Encode an object of explicit VR little endian with the tool of another maker; the identity stays."""
    tool, *options = _ENCODER[syntax]
    source = folder / "native.dcm"
    if tool == "dcmcjpeg":
        native.save_as(source, enforce_file_format=True)
        run(tool, *options, "+un", source, folder / "encoded.dcm")
        return dcmread(folder / "encoded.dcm")
    kind = np.dtype("u1" if native.BitsAllocated == 8 else "<u2")
    words = np.frombuffer(native.PixelData, kind, count=native.Rows * native.Columns)
    head = f"P5\n{native.Columns} {native.Rows}\n{2**native.BitsStored - 1}\n".encode()
    (folder / "native.pgm").write_bytes(head + words.astype(kind.newbyteorder(">")).tobytes())
    run(tool, "-i", folder / "native.pgm", "-o", folder / "encoded.j2c", *options)
    return encapsulated(native, (folder / "encoded.j2c").read_bytes(), syntax)


def decoded(file: Path, folder: Path) -> Dataset:
    """The object in `file` with the pixels that another decoder finds in it, in explicit VR little endian."""
    dataset = dcmread(file)
    tool = _DECODER.get(dataset.file_meta.TransferSyntaxUID, "dcmconv")
    target = folder / "decoded.dcm"
    if tool.startswith("dcm"):
        run(tool, *(("+te",) if tool == "dcmconv" else ()), file, target)
        return dcmread(target)
    (folder / "frame.j2k").write_bytes(get_frame(dataset.PixelData, 0, number_of_frames=1))
    run(tool, "-i", folder / "frame.j2k", "-o", folder / "frame.pgm")
    words = read_pgm(folder / "frame.pgm")
    stored = words.astype("u1" if dataset.BitsAllocated == 8 else "<u2").tobytes()
    dataset.PixelData = stored + b"\0" * (len(stored) % 2)
    dataset["PixelData"].VR = "OB" if dataset.BitsAllocated == 8 else "OW"
    dataset["PixelData"].is_undefined_length = False
    dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1")
    return dataset


def rendered(file: Path, folder: Path, *options: str) -> NDArray[np.float64]:
    """What DCMTK shows of the object in `file`: [0, 1], 16 bits deep."""
    run("dcm2pnm", "+opw", *options, file, folder / "rendered.pgm")
    return read_pgm(folder / "rendered.pgm") / 65535


def read_pgm(file: Path) -> NDArray[np.int64]:
    """Grey levels of a PGM file, ASCII (P2) or binary (P5)."""
    data, position = file.read_bytes(), 0
    fields: list[bytes] = []
    while len(fields) < 4:
        end = data.index(b"\n", position)
        fields += data[position:end].split(b"#")[0].split()
        position = end + 1
    magic, width, height, maximum = fields[0], *(int(field) for field in fields[1:4])
    if magic == b"P2":
        values: NDArray[Any] = np.array(data[position:].split(), np.int64)
    else:
        values = np.frombuffer(data, "u1" if maximum < 256 else ">u2", count=width * height, offset=position)
    return values.astype(np.int64).reshape(height, width)
