"""The routing example, in Debian's Orthanc: what reaches the node, how often, and what happens while it is away."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from pydicom import Dataset, dcmwrite
from sqlalchemy.orm import Session

from dicom_node.demo.orthanc import Orthanc, free_port, running_orthanc
from dicom_node.journey.database import prepare
from dicom_node.journey.ledger import latest, latest_rejected
from dicom_node.journey.queue import JourneyQueue
from dicom_node.peers import Peer
from dicom_node.reception.listener import Listener
from dicom_node.returns.sending import send_files
from dicom_node.settings import Settings
from dicom_node.spool import Spool
from dicom_node.wire import NODE_MODEL_NAME, SECONDARY_CAPTURE
from tests.phantom import make_cr, make_dx

SCRIPT = Path(__file__).parents[2] / "deploy" / "orthanc" / "route.lua"
TODAY = date.today().strftime("%Y%m%d")


class Place:
    """A node's listener that can be started late, an Orthanc that routes to it, and what a modality sends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings(
            data_dir=folder / "data", port=free_port(), calling_aes=("PACS",), minimum_free_megabytes=0
        )
        prepare(self.settings)
        self.queue = JourneyQueue(self.settings)

    @contextmanager
    def node(self) -> Iterator[None]:
        with Listener(self.settings, self.queue, Spool(self.settings.spool_dir, minimum_free_bytes=0)):
            yield

    @contextmanager
    def orthanc(self) -> Iterator[Orthanc]:
        with running_orthanc(
            self.folder / "pacs",
            ae_title="PACS",
            modalities=[Peer("COVIDXNET", "127.0.0.1", self.settings.port)],
            LuaScripts=[str(SCRIPT)],
            ExecuteLuaEnabled=True,
        ) as orthanc:
            yield orthanc

    def send(self, orthanc: Orthanc, *objects: Dataset, calling_ae: str = "MODALITY") -> None:
        files = []
        for dataset in objects:
            files.append(self.folder / f"{dataset.SOPInstanceUID}.dcm")
            dcmwrite(files[-1], dataset, enforce_file_format=True)
        sent = send_files(orthanc.peer, files, calling_ae=calling_ae, timeout=10, maximum_pixels=10**8)
        assert [each.problem for each in sent] == [""] * len(objects)

    def received(self) -> dict[str, int]:
        """SOP Instance UID of what the node has -> how often it came."""
        with Session(self.queue.engine) as session:
            return {row.sop_instance_uid: row.times_received for row in latest(session, None)}

    def rejected(self) -> list[str]:
        with Session(self.queue.engine) as session:
            return [row.sop_instance_uid for row in latest_rejected(session, None)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("ROUTE_RETRY_SECONDS", "1")
    place = Place(tmp_path)
    yield place
    place.queue.close()


def beat(orthanc: Orthanc) -> None:
    """What LuaHeartBeatPeriod does in newer versions of Orthanc, by the timer that README.md describes."""
    url = f"http://127.0.0.1:{orthanc.http_port}/tools/execute-script"
    with build_opener(ProxyHandler({})).open(Request(url, b"OnHeartBeat()"), timeout=30) as answer:
        assert answer.status == 200


def marks(orthanc: Orthanc) -> dict[str, str | None]:
    """SOP Instance UID -> what the script noted of it."""
    found: dict[str, str | None] = {}
    for instance in json.loads(orthanc.rest("/instances")):
        uid = json.loads(orthanc.rest(f"/instances/{instance}"))["MainDicomTags"]["SOPInstanceUID"]
        try:
            found[uid] = orthanc.rest(f"/instances/{instance}/metadata/4242").decode()
        except URLError:
            found[uid] = None
    return found


def beating(orthanc: Orthanc) -> dict[str, str | None]:
    beat(orthanc)
    return marks(orthanc)


def eventually(holds: Callable[[], bool], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)


def test_each_frontal_or_unknown_radiograph_of_a_chest_goes_to_the_node_once(place: Place) -> None:
    cr, dx = make_cr(), make_dx()
    unknown = make_cr(extra={"BodyPartExamined": None})
    others = [
        make_cr(body_part="HAND"),
        make_dx(for_processing=True),
        make_cr(extra={"SOPClassUID": SECONDARY_CAPTURE}),
        make_cr(extra={"ManufacturerModelName": NODE_MODEL_NAME}),
    ]
    wanted = {ds.SOPInstanceUID for ds in (cr, dx, unknown)}
    with place.node(), place.orthanc() as orthanc:
        place.send(orthanc, cr, dx, unknown, *others)
        eventually(lambda: {uid for uid, mark in marks(orthanc).items() if mark == "sent"} == wanted)
        beat(orthanc)
        place.send(orthanc, cr)
        time.sleep(1.5)
        assert marks(orthanc) == {**dict.fromkeys(wanted, "sent"), **{ds.SOPInstanceUID: None for ds in others}}
    assert place.received() == dict.fromkeys(wanted, 1)


def test_what_the_node_itself_sends_to_the_pacs_does_not_come_back(place: Place) -> None:
    radiograph = make_cr()
    with place.node(), place.orthanc() as orthanc:
        place.send(orthanc, radiograph, calling_ae="COVIDXNET")
        time.sleep(1.5)
        assert marks(orthanc) == {radiograph.SOPInstanceUID: None}
    assert place.received() == {}


def test_a_node_that_is_down_gets_what_it_missed_once_it_is_back(place: Place) -> None:
    radiograph = make_cr()
    uid = radiograph.SOPInstanceUID
    with place.orthanc() as orthanc:
        place.send(orthanc, radiograph)
        time.sleep(1.5)
        assert marks(orthanc) == {uid: "waiting"}
        with place.node():
            eventually(lambda: beating(orthanc) == {uid: "sent"})
    assert place.received() == {uid: 1}


def test_what_waits_when_orthanc_is_restarted_is_found_again(place: Place) -> None:
    radiograph = make_cr(extra={"StudyDate": TODAY})
    uid = radiograph.SOPInstanceUID
    with place.orthanc() as orthanc:
        place.send(orthanc, radiograph)
        eventually(lambda: marks(orthanc) == {uid: "waiting"})
    with place.node(), place.orthanc() as orthanc:
        eventually(lambda: beating(orthanc) == {uid: "sent"})
    assert uid in place.received()


def test_what_the_node_will_never_take_is_not_sent_again(place: Place) -> None:
    broken = make_cr(extra={"Rows": 100})
    uid = broken.SOPInstanceUID
    with place.node(), place.orthanc() as orthanc:
        place.send(orthanc, broken)
        eventually(lambda: marks(orthanc) == {uid: "refused"})
        time.sleep(1.5)
        beat(orthanc)
        time.sleep(1)
    assert place.rejected() == [uid]
