"""Where a test lets a process die: only there, only once, and never when nobody asked."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import dicom_node
from dicom_node.faultpoints import VARIABLE, Point


def pass_by(point: Point, folder: Path | None) -> int:
    """Exit code of a process that comes by `point`."""
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    if folder is not None:
        environment[VARIABLE] = str(folder)
    code = f"from dicom_node.faultpoints import Point, reach; reach(Point.{point.name})"
    return subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode


def test_an_armed_point_kills_once(tmp_path: Path) -> None:
    armed = tmp_path / Point.SPOOL_KEPT
    armed.touch()
    assert pass_by(Point.SPOOL_SYNCED, tmp_path) == 0
    assert armed.exists()
    assert pass_by(Point.SPOOL_KEPT, tmp_path) == -signal.SIGKILL
    assert not armed.exists()
    assert pass_by(Point.SPOOL_KEPT, tmp_path) == 0


def test_a_point_is_off_where_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / Point.SPOOL_KEPT).touch()
    assert pass_by(Point.SPOOL_KEPT, None) == 0


@pytest.mark.parametrize("point", Point)
def test_each_point_stands_at_one_place(point: Point) -> None:
    sources = [path.read_text() for path in Path(dicom_node.__file__).parent.rglob("*.py")]
    assert sum(source.count(f"reach(Point.{point.name})") for source in sources) == 1
