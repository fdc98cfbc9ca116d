"""What lies in the spool and stands in no ledger is taken in by the next listener."""

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from dicom_node.demo.orthanc import free_port
from dicom_node.faultpoints import VARIABLE, Point
from dicom_node.journey.queue import JourneyQueue, journey_of
from dicom_node.reception.adoption import Adoption
from dicom_node.reception.receiver import Receiver
from dicom_node.spool import Spool, fingerprint
from tests.listening import Node, associate, run_listener, send, settings_in, wait_until
from tests.phantom import make_cr, make_dx


def look_through(node: Node) -> None:
    queue = JourneyQueue(node.settings)
    with Adoption(Receiver(node.settings, queue, node.spool), queue, node.spool) as adoption:
        adoption._thread.join()
    queue.close()


def forget(node: Node) -> None:
    """Bring back the database as it was before anything came."""
    with sqlite3.connect(node.settings.data_dir / "covid-xnet.sqlite") as database:
        for table in ("received", "studies", "workflow_status"):
            database.execute(f"DELETE FROM {table}")


@pytest.mark.parametrize("point", [Point.SPOOL_RENAMED, Point.SPOOL_KEPT, Point.OBJECT_WRITTEN])
def test_an_object_whose_listener_died_before_the_commit_is_taken_in(
    tmp_path: Path, prepared: Path, point: Point
) -> None:
    settings = settings_in(tmp_path).model_copy(update={"port": free_port()})
    shutil.copytree(prepared, settings.data_dir)
    (tmp_path / point).touch()
    node = Node(settings=settings, port=settings.port, spool=Spool(settings.spool_dir, minimum_free_bytes=0))
    source = make_cr()
    listener = run_listener(settings, environment={VARIABLE: str(tmp_path)})
    wait_until(lambda: associate(node).is_established, seconds=60)
    association = associate(node)
    assert "Status" not in association.send_c_store(source), "nobody may be told that it was kept"
    listener.communicate()
    assert node.rows("select * from received") == []
    assert [path.suffix for path in node.files] == [".dcm"]

    listener = run_listener(settings)
    wait_until(lambda: node.rows("select * from received") != [], seconds=60)

    journey = journey_of(str(source.SOPInstanceUID))
    assert node.rows("select calling_ae, accepted, journey from received") == [("MODALITY", 1, journey)]
    assert node.rows("select workflow_uuid from workflow_status") == [(journey,)]
    assert send(node, source).Status == 0x0000
    assert node.rows("select times_received from received") == [(2,)]
    listener.kill()
    listener.communicate()


def test_what_came_after_the_backup_of_the_database_is_taken_in_again(start: Any) -> None:
    node = start()
    for dataset in (make_cr(), make_dx(view="LL")):
        send(node, dataset)
    before = node.rows("select sop_instance_uid, digest, size, calling_ae, accepted, reason, view from received")
    forget(node)
    look_through(node)
    look_through(node)  # a second time changes nothing
    again = node.rows("select sop_instance_uid, digest, size, calling_ae, accepted, reason, view from received")
    assert sorted(again) == sorted(before)
    assert len(node.rows("select * from workflow_status")) == 1


def test_a_file_that_has_rotted_is_not_taken_in(start: Any) -> None:
    node = start()
    send(node, make_cr())
    (file,) = node.files
    assert fingerprint(file)[0] == file.stem
    forget(node)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    (node.spool.root / "00" / "stranger.dcm").write_bytes(b"no DICOM")
    look_through(node)
    assert node.rows("select * from received") == []
    assert file.exists()
