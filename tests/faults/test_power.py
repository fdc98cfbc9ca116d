"""A power cut at any moment: what was acknowledged is on disk and in the queue, and no object is there by half."""

import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.association import Association

from dicom_node.demo.orthanc import free_port
from dicom_node.journey.database import prepare
from dicom_node.journey.queue import journey_of
from dicom_node.settings import CONFIG_VARIABLE, Settings
from dicom_node.spool import Spool, fingerprint
from tests.faults.power import Did, Disk, Step, read_log, strace
from tests.phantom import make_cr

OBJECTS = 5
MOMENTS = 150


def listen(settings: Settings, log: Path) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if name != CONFIG_VARIABLE}
    environment |= {"COVIDXNET_PORT": str(settings.port), "COVIDXNET_DATA_DIR": str(settings.data_dir)}
    environment |= {"COVIDXNET_MINIMUM_FREE_MEGABYTES": "0"}
    return subprocess.Popen(
        [*strace(log), sys.executable, "-m", "dicom_node.roles", "listen", "listener"],
        env=environment,
        stderr=subprocess.DEVNULL,
    )


def connect(port: int) -> Association:
    entity = AE(ae_title="MODALITY")
    entity.add_requested_context("1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.1.2.1")
    deadline = time.monotonic() + 120
    while True:
        association = entity.associate("127.0.0.1", port, ae_title="COVIDXNET")
        if association.is_established:
            return association
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_power_cut_loses_nothing_that_was_acknowledged_and_leaves_nothing_half(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", port=free_port())
    prepare(settings)
    Spool(settings.spool_dir, minimum_free_bytes=0)
    disk = Disk(settings.data_dir)
    sent: list[Dataset] = [make_cr(size=128, seed=seed) for seed in range(OBJECTS)]
    listener = listen(settings, tmp_path / "strace.log")
    association = connect(settings.port)
    for dataset in sent:
        assert association.send_c_store(dataset).Status == 0x0000
    association.release()
    for child in Path(f"/proc/{listener.pid}/task/{listener.pid}/children").read_text().split():
        os.kill(int(child), 9)
    listener.wait()

    steps = list(read_log(tmp_path / "strace.log", settings.data_dir))
    assert sum(step.did is Did.ANSWER for step in steps) == OBJECTS
    chance = random.Random(7)
    answers = [i + 1 for i, step in enumerate(steps) if step.did is Did.ANSWER]
    moments = {*answers, *chance.sample(range(len(steps)), min(MOMENTS, len(steps)))}
    acknowledged = 0
    for i, step in enumerate(steps, 1):
        acknowledged += step.did is Did.ANSWER
        disk.take(step)
        if i in moments:
            for share in (0, 1, 0.5):
                disk.leave(tmp_path / "after", chance, share=share)
                judge(tmp_path / "after", [str(dataset.SOPInstanceUID) for dataset in sent[:acknowledged]])


def judge(data: Path, acknowledged: list[str]) -> None:
    with sqlite3.connect(data / "covid-xnet.sqlite") as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = dict(database.execute("SELECT sop_instance_uid, digest FROM received"))
        queued = {run for (run,) in database.execute("SELECT workflow_uuid FROM workflow_status")}
    database.close()
    assert set(acknowledged) <= set(rows)
    for uid, digest in rows.items():  # also of one that was about to be acknowledged
        assert journey_of(uid) in queued
        assert (data / "spool" / digest[:2] / f"{digest}.dcm").exists()
    for file in data.glob("spool/*/*.dcm"):
        assert fingerprint(file)[0] == file.stem, "a half-written object has a name"


def test_a_listener_that_did_not_sync_would_be_found_out(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    disk = Disk(root)
    whole = Step(did=Did.WRITE, path=f"{root}/a.part", data=b"x" * 2048, offset=-1)
    for step in (
        Step(did=Did.CREATE, path=f"{root}/a.part"),
        whole,
        Step(did=Did.RENAME, path=f"{root}/a.part", to=f"{root}/a"),
        Step(did=Did.SYNC, path=str(root)),
    ):
        disk.take(step)
    disk.leave(tmp_path / "after", random.Random(1), share=0)
    assert (tmp_path / "after" / "a").read_bytes() == b""
    disk.take(Step(did=Did.SYNC, path=f"{root}/a"))
    disk.leave(tmp_path / "after", random.Random(1), share=0)
    assert (tmp_path / "after" / "a").read_bytes() == whole.data
