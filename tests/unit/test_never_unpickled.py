"""The queue is JSON: what is pickled in the database is not unpickled, and the others are worked on."""

import base64
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from dbos._serialization import DBOSDefaultSerializer

from dicom_node.journey.database import prepare
from dicom_node.journey.queue import JourneyQueue, journey_of
from dicom_node.journey.runs import READ_WORKFLOW, READING_QUEUE
from dicom_node.settings import Settings
from tests.listening import wait_until
from tests.unit.test_journey_queue import CHEST
from tests.working import listed


class Program:
    """What whoever can write into the database would put there."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.target,)  # type: ignore[return-value]


def test_what_is_pickled_raises_instead_of_running(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    with pytest.raises(ValueError, match="nothing is unpickled"):
        DBOSDefaultSerializer.deserialize(base64.b64encode(pickle.dumps(Program(target))).decode())
    assert not target.exists()


def test_a_journey_whose_row_was_pickled_by_somebody_runs_nothing_and_stops_no_other(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    settings = Settings(data_dir=tmp_path / "data")
    prepare(settings)
    queue = JourneyQueue(settings)
    for number in range(2):
        queue.record(replace(CHEST, sop_instance_uid=f"1.{number}", digest=str(number)))
    with queue.engine.begin() as connection:
        ((kind,),) = connection.execute(sa.text("SELECT DISTINCT serialization FROM workflow_status")).all()
        assert kind == "portable_json"
        connection.execute(
            sa.text(
                "UPDATE workflow_status SET inputs = :inputs, serialization = 'py_pickle' WHERE workflow_uuid = :id"
            ),
            {"inputs": base64.b64encode(pickle.dumps(Program(target))).decode(), "id": journey_of("1.0")},
        )
    queue.close()
    with listed(settings, READING_QUEUE, READ_WORKFLOW) as ran:
        wait_until(lambda: ran, seconds=60)

    assert ran == [journey_of("1.1")]
    assert not target.exists()
