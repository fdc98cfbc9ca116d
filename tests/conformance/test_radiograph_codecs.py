"""Codestreams that other software wrote: DCMTK's JPEG encoders and JPEG-LS, and OpenJPH's HTJ2K."""

import base64
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from pipeline.radiograph import from_dicom
from tests.phantom import encapsulated, make_cr

LIMIT = 1_000_000


def encoded(bits: int, tool: str, option: str, folder: Path) -> Path:
    """The phantom, encoded by a tool of DCMTK."""
    path = shutil.which(tool)
    assert path, f"{tool} is not installed: apt-get install dcmtk"
    source, target = folder / "source.dcm", folder / "target.dcm"
    make_cr(bits=bits, window=(2 ** (bits - 1), 2**bits)).save_as(source, enforce_file_format=True)
    subprocess.run([path, option, source, target], check=True, timeout=60)
    return target


@pytest.mark.parametrize(
    ("bits", "tool", "option", "syntax", "tolerance"),
    [
        (8, "dcmcjpeg", "+eb", JPEGBaseline8Bit, 0.06),
        (12, "dcmcjpeg", "+ee", JPEGExtended12Bit, 0.06),
        (8, "dcmcjpeg", "+el", JPEGLossless, 0),
        (12, "dcmcjpeg", "+el", JPEGLossless, 0),
        (12, "dcmcjpeg", "+e1", JPEGLosslessSV1, 0),
        (16, "dcmcjpeg", "+e1", JPEGLosslessSV1, 0),
        (12, "dcmcjpls", "+el", JPEGLSLossless, 0),
        (16, "dcmcjpls", "+el", JPEGLSLossless, 0),
        (12, "dcmcjpls", "+en", JPEGLSNearLossless, 0.002),
        (12, "dcmcrle", "+un", RLELossless, 0),
    ],
)
def test_what_dcmtk_encodes_reads_like_the_original(
    bits: int, tool: str, option: str, syntax: UID, tolerance: float, tmp_path: Path
) -> None:
    dataset = dcmread(encoded(bits, tool, option, tmp_path))
    assert dataset.file_meta.TransferSyntaxUID == syntax
    expected = from_dicom(make_cr(bits=bits, window=(2 ** (bits - 1), 2**bits)), maximum_pixels=LIMIT).pixels
    pixels = from_dicom(dataset, maximum_pixels=LIMIT).pixels
    np.testing.assert_allclose(pixels, expected, atol=tolerance)


# 24 x 20 pixels of 12 bits, (97 row + 61 column) modulo 4096; written by `ojph_compress -reversible true`.
HTJ2K_RAMP = """
    /0//UQApQAAAAAAUAAAAGAAAAAAAAAAAAAAAFAAAABgAAAAAAAAAAAABCwEB/1AACAACAAAACP9SAAwAAgABAAUEBEAB/1wAEyBweHiAeHiAeH
    iAeHh4cHB4/2QAFgABT3BlbkpQSCBWZXIgMC45LjAu/5AACgAAAAAAowAB/5PAATDb/QKHdADAAJYABMDSAod0APz8Awd0AMAAmgAEwGH4AAt0
    AO32ACI0AMAAqIABVCGEAAIwAnYAdNNN98BCAf62AMAAroABWhAhICBCQPzYL9fhi3cAsmVlZWX0DEYxgey4AMABacABawA4juM4juM4juPv+n
    p6enpwgnoAwEAgEAgEAoHA/1AEPYhAe/YhAey9AP/Z
"""


@pytest.mark.parametrize("syntax", [HTJ2KLossless, HTJ2KLosslessRPCL], ids=lambda uid: uid.keyword)
def test_high_throughput_jpeg_2000_is_read(syntax: UID) -> None:
    ramp = (np.add.outer(np.arange(24) * 97, np.arange(20) * 61) % 4096).astype(np.uint16)
    plain = make_cr(pixels=ramp, bits=12, window=(2048, 4096))
    dataset = encapsulated(make_cr(pixels=ramp, bits=12, window=(2048, 4096)), base64.b64decode(HTJ2K_RAMP), syntax)
    pixels = from_dicom(dataset, maximum_pixels=LIMIT).pixels
    assert np.array_equal(pixels, from_dicom(plain, maximum_pixels=LIMIT).pixels)
