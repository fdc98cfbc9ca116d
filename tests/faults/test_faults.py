"""The fault suite in short; `make faults` is the long form."""

from functools import partial
from pathlib import Path

import pytest

from dicom_node.faultpoints import Point
from tests.faults.storm import each_point, storm
from tests.faults.trial import try_out

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("seed", [101])
def test_a_storm_of_kills_loses_and_doubles_nothing(tmp_path: Path, seed: int) -> None:
    trial = try_out(tmp_path / "ward", "storm", seed, partial(storm, seed=seed, kills=20))
    assert trial.verdict.clean, trial.in_a_line
    assert trial.verdict.acknowledged > 10
    assert sum(trial.kills.values()) >= 15


def test_a_death_at_each_fault_point_loses_and_doubles_nothing(tmp_path: Path) -> None:
    trial = try_out(tmp_path / "ward", "points", 0, partial(each_point, seed=0), points=tuple(Point))
    assert trial.verdict.clean, trial.in_a_line
