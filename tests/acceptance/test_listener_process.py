"""The listener as a process of its own, and other toolkits' network code against it."""

import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydicom import Dataset

from dicom_node.audit import Head, entries, first_fault
from dicom_node.demo.orthanc import free_port
from dicom_node.spool import Spool
from tests.listening import Node, assert_serves, associate, run_listener, send, settings_in, wait_until
from tests.phantom import as_bytes, make_cr, make_dx


@pytest.fixture
def process(tmp_path: Path, prepared: Path) -> Iterator[tuple[Node, subprocess.Popen[str]]]:
    settings = settings_in(tmp_path).model_copy(update={"port": free_port()})
    shutil.copytree(prepared, settings.data_dir)
    listener = run_listener(settings)
    assert listener.stderr is not None
    line = listener.stderr.readline()
    assert "event=listening" in line, line
    yield (
        Node(settings=settings, port=settings.port, spool=Spool(settings.spool_dir, minimum_free_bytes=0)),
        listener,
    )
    if listener.poll() is None:
        listener.kill()
    listener.communicate()


def test_the_listener_process_is_small_and_ends_cleanly_with_sigterm(
    process: tuple[Node, subprocess.Popen[str]],
) -> None:
    node, listener = process
    assert_serves(node)
    memory = psutil.Process(listener.pid).memory_info().rss / 1e6
    print(f"listener RSS {memory:.1f} MB")
    assert memory < 100

    listener.send_signal(signal.SIGTERM)

    assert listener.wait(10) == 0


def test_a_store_that_runs_when_sigterm_comes_is_answered(process: tuple[Node, subprocess.Popen[str]]) -> None:
    node, listener = process
    association = associate(node)
    source = make_cr(size=(3000, 3000))
    answers: list[Dataset] = []
    thread = threading.Thread(target=lambda: answers.append(association.send_c_store(source)))
    thread.start()
    wait_until(lambda: any(path.suffix == ".part" for path in node.files))
    listener.send_signal(signal.SIGTERM)
    thread.join(15)

    assert listener.wait(15) == 0
    assert answers[0].Status == 0x0000
    assert len(node.rows("select * from received where accepted")) == 1


def test_a_port_that_a_killed_listener_still_holds_is_waited_for(tmp_path: Path, prepared: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        settings = settings_in(tmp_path).model_copy(update={"port": held.getsockname()[1]})
        shutil.copytree(prepared, settings.data_dir)
        listener = run_listener(settings)
        wait_until(lambda: settings.spool_dir.is_dir(), seconds=60)  # it is about to bind
    assert listener.stderr is not None
    assert "event=listening" in listener.stderr.readline()
    listener.kill()
    listener.communicate()


def test_no_patient_identity_is_logged(process: tuple[Node, subprocess.Popen[str]]) -> None:
    node, listener = process
    long_name = "MUSTERMANN^" + "ERIKA" * 20
    identity = {"PatientName": long_name, "PatientID": "P" * 70, "StudyDescription": long_name}
    assert send(node, make_cr(extra=identity)).Status == 0x0000
    send(node, make_cr(extra={**identity, "Rows": 1}))
    listener.send_signal(signal.SIGTERM)

    _, log = listener.communicate(timeout=10)

    assert "event=received" in log
    assert "event=refused" in log
    assert "MUSTERMANN" not in log
    assert "PPPP" not in log


def test_what_the_listener_leaves_is_private_and_names_no_patient_but_where_it_must(
    process: tuple[Node, subprocess.Popen[str]],
) -> None:
    node, listener = process
    identity = {"PatientName": "MUSTERMANN^ERIKA", "PatientID": "MUSTERMANN", "AccessionNumber": "MUSTERMANN"}
    assert send(node, make_cr(extra=identity)).Status == 0x0000
    send(node, make_cr(extra={**identity, "Rows": 1}))
    assert associate(node, calling="MUSTER", called="OTHER").is_rejected

    listener.send_signal(signal.SIGTERM)
    assert listener.wait(15) == 0

    trail = list(entries(node.settings.audit_dir))
    assert sorted((line["event"], line["outcome"]) for line in trail) == [
        ("Application Activity", 0),
        ("Application Activity", 0),
        ("DICOM Instances Transferred", 0),
        ("DICOM Instances Transferred", 4),
        ("Security Alert", 4),
    ]
    (study,) = node.rows("select study_instance_uid from studies")
    taken = next(line for line in trail if line["event"] == "DICOM Instances Transferred" and line["outcome"] == 0)
    assert (taken["studies"], taken["statuses"]) == ({study[0]: 1}, {"0x0000": 1})
    ((number, digest),) = node.rows("select number, digest from audit_head")
    assert first_fault(node.settings.audit_dir, Head(number=number, digest=digest)) == ""
    assert number == len(trail)

    left = [node.settings.data_dir, *node.settings.data_dir.rglob("*")]
    may_hold = (".dcm", ".sqlite", ".sqlite-wal", ".sqlite-shm")
    assert [path for path in left if "MUSTERMANN" in str(path)] == []
    assert [
        path for path in left if path.is_file() and path.suffix not in may_hold and b"MUSTERMANN" in path.read_bytes()
    ] == []
    assert {path.stat().st_mode & 0o777 for path in left if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in left if path.is_file()} == {0o600}
    # Of the database, the tables of the queue name nobody.
    assert "MUSTERMANN" not in str(node.rows("select * from workflow_status"))


def test_the_listener_imports_nothing_that_reads_pixels() -> None:
    program = (
        "import dicom_node.reception.listener, sys;"
        "heavy = 'tensorflow keras openvino onnxruntime highdicom cv2 skimage pipeline models'.split();"
        "print([name for name in heavy if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


@pytest.mark.parametrize("command", ["storescu", "dcmsend"])
def test_dcmtk_sends_to_the_node(start: Any, tmp_path: Path, command: str) -> None:
    node = start()
    frontal, lateral, lying = tmp_path / "1.dcm", tmp_path / "2.dcm", tmp_path / "3.dcm"
    frontal.write_bytes(as_bytes(make_cr()))
    lateral.write_bytes(as_bytes(make_dx(view="LL")))
    lying.write_bytes(as_bytes(make_cr(extra={"Rows": 100})))

    for file in (lying, frontal, lateral):
        subprocess.run(
            [command, "-aec", "COVIDXNET", "127.0.0.1", str(node.port), str(file)], capture_output=True, timeout=30
        )

    assert node.rows("select accepted, reason from received order by rowid") == [(1, ""), (0, "lateral view")]
    assert node.rows("select status from rejected") == [(0xA900,)]
