"""Independent judges of DICOM objects: dicom3tools and DCMTK, run on a file."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydicom import dcmread
from pydicom.encaps import get_frame
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from dicom_node.wire import PRESENTATION_STATE, SECONDARY_CAPTURE, SEGMENTATION

PACKAGES: Final = {
    "dciodvfy": "dicom3tools",
    "dcmftest": "dcmtk",
    "dcmdump": "dcmtk",
    "dsrdump": "dcmtk",
    "dsr2html": "dcmtk",
    "dcm2pnm": "dcmtk",
    "dcml2pnm": "dcmtk",
    "grk_decompress": "grokj2k-tools",
    "java": "default-jre-headless",
    "dcmpschk": "dcmtk",
    "dcmp2pgm": "dcmtk",
}
"""The Debian package of each tool."""


_NO_JUDGEMENT: Final = (
    "VR checker does not support this Specific Character Set",
    "Check for template constraints not yet supported",
)
"""What DCMTK says of texts in UTF-8, and of the template of every key object, that it did not look at."""


_PIXELMED: Final = ("pixelmed", "commons-codec", "commons-net", "javax.json", "javax.json-api", "slf4j-api", "jaxb-api")
_EXTENSIBLE: Final = "not found in context group 100"
"""What PixelMed says of every procedure that is not among the examples of CID 100, which is extensible and has no plain
radiography."""


class MissingValidator(AssertionError):
    """A validator is not installed. A failure and not a skip: an object that nobody judged has not passed."""


def complaints(path: Path) -> list[str]:
    """What the validators call an error in the object at `path`, each with the name of the tool; empty if it is good.

    dcmftest: it is a DICOM file. dciodvfy: its attributes are those of its IOD (PS3.3). dcmdump: its encoding
    (PS3.5). For a structured report or key object, dsrdump and dsr2html parse the content tree; for a capture, dcm2pnm
    renders it; for a presentation state, dcmpschk judges it.
    Raises MissingValidator.
    """
    found = _run(["dcmftest", str(path)], errors=(), failed=True)
    found += _run(["dciodvfy", "-new", str(path)], errors=("Error",), failed=False)
    found += _run(["dcmdump", "-q", str(path)], errors=("E:", "F:"), failed=True)
    sop_class = dcmread(path, specific_tags=["SOPClassUID"], stop_before_pixels=True).SOPClassUID
    if sop_class == SEGMENTATION:
        return found
    if sop_class == PRESENTATION_STATE:
        return found + _run(["dcmpschk", "-q", str(path)], errors=("E:", "F:"), failed=True)
    if sop_class == SECONDARY_CAPTURE:
        return found + _render(path)
    found += _run(["dsrdump", str(path)], errors=("E:", "W:", "F:"), failed=True)
    return found + _run(["dsr2html", str(path), str(path.with_suffix(".html"))], errors=("E:", "W:", "F:"), failed=True)


def template_complaints(report: Path) -> list[str]:
    """What PixelMed's validator calls an error in the content tree of a report: IOD, and TID 1500 with its parts.

    It takes seconds, for it compiles the templates anew. Raises MissingValidator.
    """
    jars = [jar for jar in (Path("/usr/share/java") / f"{name}.jar" for name in _PIXELMED) if jar.exists()]
    if not jars or jars[0].stem != "pixelmed":
        raise MissingValidator("PixelMed is not installed: apt-get install libpixelmed-java")
    # Java limits the length of an XPath that it compiles, and the template is longer.
    limits = [f"-Djdk.xml.xpath{limit}Limit=0" for limit in ("ExprOp", "TotalOp", "ExprGrp")]
    validator = "com.pixelmed.validate.DicomSRValidator"
    command = ["java", *limits, "-cp", ":".join(map(str, jars)), validator, str(report)]
    found = _run(command, errors=("Error", "Exception"), failed=True, finished="IOD validation complete")
    return [line for line in found if _EXTENSIBLE not in line]


def _render(capture: Path) -> list[str]:
    """Render a capture beside itself as PPM: with DCMTK, or with Grok in JPEG 2000, which DCMTK does not know."""
    rendered, dataset = capture.with_suffix(".ppm"), dcmread(capture)
    if dataset.file_meta.TransferSyntaxUID == JPEG2000Lossless:
        codestream = capture.with_suffix(".j2k")
        codestream.write_bytes(get_frame(dataset.PixelData, 0, number_of_frames=1))
        return _run(["grk_decompress", "-i", str(codestream), "-o", str(rendered)], errors=(), failed=True)
    tool = "dcml2pnm" if dataset.file_meta.TransferSyntaxUID == JPEGLSLossless else "dcm2pnm"
    return _run([tool, str(capture), str(rendered)], errors=("E:", "F:"), failed=True)


def shown_with(presentation_state: Path, image: Path) -> Path:
    """Let DCMTK render `image` as the presentation state says; returns a PGM file of 8 bits. AssertionError."""
    rendered = presentation_state.with_suffix(".pgm")
    command = ["dcmp2pgm", "-p", str(presentation_state), str(image), str(rendered)]
    assert _run(command, errors=("E:", "F:"), failed=True) == []
    return rendered


def _run(command: Sequence[str], *, errors: tuple[str, ...], failed: bool, finished: str = "") -> list[str]:
    """Lines of the output that begin with one of `errors`, and the exit code if it is not 0 and `failed` is set.

    finished: what the tool says at its end, whose absence is an error, too.
    """
    tool = command[0]
    if shutil.which(tool) is None:
        raise MissingValidator(f"{tool} is not installed: apt-get install {PACKAGES[tool]}")
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    found = [f"{tool}: {line}" for line in lines if errors and line.startswith(errors)]
    found = [line for line in found if not any(remark in line for remark in _NO_JUDGEMENT)]
    if finished not in done.stdout + done.stderr:
        found.append(f"{tool}: did not say {finished!r}: {' '.join(lines[-2:])}")
    if failed and done.returncode != 0:
        found.append(f"{tool}: exit code {done.returncode}")
    return found
