"""A drawn radiograph through the running node to the destinations and back: the proof that all of it works."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from sqlalchemy.orm import Session

from dicom_node.errors import PeerUnreachable
from dicom_node.inspection.health import Check
from dicom_node.journey.ledger import OPEN_STATES, ReceivedObject, ReturnState, now
from dicom_node.peers import Caller, Peer
from dicom_node.returns.returner import Sender
from dicom_node.settings import Settings
from dicom_node.synthetic import wrap
from dicom_node.wire import COMPUTED_RADIOGRAPHY

PATIENT_ID: Final = "COVIDXNET-TEST"
PATIENT_NAME: Final = "TEST^COVID-XNET NODE"
_IMAGE: Final = Path(__file__).with_name("test-radiograph.png")
"""Drawn, with TEST and NO PATIENT in its pixels."""
_PIXELS: Final = 2**20
_LOOK_SECONDS: Final = 0.5
_NAME: Final = "test radiograph"


def drawn_radiograph() -> Dataset:
    """A new study of the patient who does not exist: a drawn chest that says in words and in pixels what it is."""
    dataset = wrap(_IMAGE, maximum_pixels=_PIXELS)
    moment = now()
    dataset.PatientName, dataset.PatientID, dataset.PatientSex = PATIENT_NAME, PATIENT_ID, "O"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = (
        generate_uid(prefix=None) for _ in range(3)
    )
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyDate = dataset.ContentDate = f"{moment:%Y%m%d}"
    dataset.StudyTime = dataset.ContentTime = f"{moment:%H%M%S}"
    dataset.StudyID, dataset.StudyDescription = "TEST", "TEST: covid-xnet check, no patient, may be deleted"
    dataset.SeriesDescription = "TEST: drawn, no patient"
    dataset.PatientComments = "Made by covid-xnet check. No patient."
    dataset.ViewPosition = "PA"
    return dataset


def caller_for(settings: Settings) -> str | None:
    """The AE title to call the node by from this machine; None if its list lets nobody in from here."""
    if not settings.calling_aes:
        return settings.ae_title
    address = _host_of(settings)
    for caller in map(Caller.parse, settings.calling_aes):
        try:
            if caller.may_be_at(address):
                return caller.ae_title
        except ValueError:  # the host is a name
            if caller.network is None:
                return caller.ae_title
    listed = {Caller.parse(text).ae_title for text in settings.calling_aes}
    return next((d.peer.ae_title for d in settings.destinations if d.peer.ae_title not in listed), None)


def _host_of(settings: Settings) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)


def send_and_wait(settings: Settings, engine: sa.Engine, *, seconds: float) -> list[Check]:
    """Send the test radiograph to the node, and wait until every destination has proved that it has the results.

    seconds: to wait at most.
    """
    calling = caller_for(settings)
    if calling is None:
        return [
            Check(
                name=_NAME,
                well=False,
                detail="not sent: calling_aes lets nobody in from this machine",
                remedy="`covid-xnet peers add --sender CHECK` lets this command in, as AE title CHECK.",
            )
        ]
    dataset = drawn_radiograph()
    begin = time.monotonic()
    if problem := _send(settings, dataset, calling):
        return [problem]
    uid = str(dataset.SOPInstanceUID)
    while (row := _row(engine, uid)) is None or not _is_over(row):
        if time.monotonic() - begin > seconds:
            return _too_long(row, seconds)
        time.sleep(_LOOK_SECONDS)
    return _verdict(row, settings, time.monotonic() - begin)


def _send(settings: Settings, dataset: Dataset, calling: str) -> Check | None:
    peer = Peer(settings.ae_title, _host_of(settings), settings.port)
    # The certificate names the node for its peers, and not for this machine.
    tls = replace(settings.tls, check_host=False) if settings.tls_certificate else None
    kinds = [(COMPUTED_RADIOGRAPHY, ExplicitVRLittleEndian)]
    try:
        with Sender(peer, kinds, calling_ae=calling, timeout=settings.network_timeout, tls=tls) as sender:
            answer = sender.send(dataset)
    except PeerUnreachable as e:
        return Check(name=_NAME, well=False, detail=e.args[0], remedy=e.hint)
    if answer.delivered:
        return None
    return Check(
        name=_NAME, well=False, detail=f"the node answered {answer.in_words}", remedy="Its log has the reason: refused."
    )


def _row(engine: sa.Engine, uid: str) -> ReceivedObject | None:
    with Session(engine) as session:
        row = session.scalar(sa.select(ReceivedObject).where(ReceivedObject.sop_instance_uid == uid))
        if row is not None:
            _ = row.reading, row.returns  # loaded as long as there is a session
            session.expunge_all()
        return row


def _is_over(row: ReceivedObject) -> bool:
    if not row.accepted:
        return True
    return row.reading is not None and all(sent.state not in OPEN_STATES for sent in row.returns)


def _too_long(row: ReceivedObject | None, seconds: float) -> list[Check]:
    if row is None:
        detail, remedy = "taken, and not in the ledger", "Is database_url of this command that of the node?"
    elif row.reading is None:
        detail = "taken, and not read"
        remedy = "See workers and queues; others may wait before it: `covid-xnet status`."
    else:
        waiting = [sent for sent in row.returns if sent.state in OPEN_STATES]
        why = next((sent.reason for sent in waiting if sent.reason), "no answer yet")
        detail = f"read, and {len(waiting)} results are not closed: {why}"
        remedy = "See the lines of this destination."
    return [Check(name=_NAME, well=False, detail=f"{detail} after {seconds:.0f} s", remedy=remedy)]


def _verdict(row: ReceivedObject, settings: Settings, seconds: float) -> list[Check]:
    if not row.accepted or row.reading is None:
        return [Check(name=_NAME, well=False, detail=f"not read: {row.reason}: {row.detail}", remedy="Report this.")]
    if row.reading.failure:
        return [Check(name=_NAME, well=False, detail=f"not read: {row.reading.failure}", remedy="The log says more.")]
    read = Check(name=_NAME, well=True, detail=f"read as {row.reading.verdict}, closed after {seconds:.1f} s")
    if row.reading.shadow:
        remedy = f"`covid-xnet commission on {row.calling_ae}` switches it on, once the site is commissioned."
        return [read, Check(name="results", well=True, detail=f"none: {row.calling_ae} is in shadow", remedy=remedy)]
    if not row.returns:
        return [read, Check(name="results", well=True, detail="none: there is no destination")]
    found = [read]
    for destination in dict.fromkeys(sent.destination for sent in row.returns):
        results = [sent for sent in row.returns if sent.destination == destination]
        lost = [sent for sent in results if sent.state != ReturnState.DELIVERED]
        said = ", ".join(f"{sent.kind} by {sent.proof}" for sent in results if sent not in lost)
        found.append(
            Check(
                name=f"{destination} results",
                well=not lost,
                detail=lost[0].reason if lost else f"has {said}",
                remedy="Remove the cause, and `covid-xnet retry`." if lost else "",
            )
        )
    return found
