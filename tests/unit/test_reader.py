"""What the reader says of a machine in trouble."""

from contextlib import suppress
from pathlib import Path

import pytest
from pydicom import dcmwrite

from dicom_node.journey.reader import _in_a_line
from tests.phantom import make_cr


def test_a_full_disk_is_told_in_one_line_whatever_the_library_puts_into_its_error() -> None:
    # Buffered, so that the header goes in and the pixels meet the end of the disk.
    full = Path("/dev/full").open("wb", buffering=65536)  # noqa: SIM115
    with pytest.raises(OSError, match="Traceback") as caught:
        dcmwrite(full, make_cr(), enforce_file_format=True)
    with suppress(OSError):
        full.close()
    told = _in_a_line(caught.value)
    assert "No space left on device" in told
    assert "Traceback" not in told
    assert "\n" not in told
