"""What the demonstration sends by itself: radiographs that real modalities made."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from dicom_node.errors import NodeError

_FILES: Final = ("RG1_UNCR.dcm", "RG1_J2KR.dcm", "RG3_UNCR.dcm")
"""Philips CR of the package pydicom-data: a chest PA, the same in JPEG 2000, and a shin, which is not to be read."""


def real_radiographs() -> list[Path]:
    """The files; raises NodeError if pydicom-data is not installed."""
    package = find_spec("data_store")
    if package is None or not package.submodule_search_locations:
        raise NodeError(
            "The radiographs of the demonstration are not installed.",
            hint="Install the extra: pip install 'covid-xnet[demo]'.",
        )
    return [Path(package.submodule_search_locations[0]) / "data" / name for name in _FILES]
