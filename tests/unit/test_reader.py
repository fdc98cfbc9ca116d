"""What the reader says of a machine in trouble."""

from pathlib import Path

import pytest
from pydicom import dcmwrite

from dicom_node.journey.reader import _in_a_line
from tests.phantom import make_cr


def test_a_full_disk_is_told_in_one_line_whatever_the_library_puts_into_its_error() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OSError, match="Traceback") as caught:
        dcmwrite(full, make_cr(), enforce_file_format=True)
    told = _in_a_line(caught.value)
    assert "No space left on device" in told
    assert "Traceback" not in told
    assert "\n" not in told
