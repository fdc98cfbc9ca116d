"""Whether a destination takes what the node sends to it: asked with the presentation contexts of a return itself."""

import socket
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom.presentation import build_context

from dicom_node.destination import Commitment, Destination, ReportClass, ResultKind
from dicom_node.errors import ConfigurationError, NoContextAccepted, PeerUnreachable
from dicom_node.inspection.health import Check
from dicom_node.inspection.premises import valid_until
from dicom_node.journey.visit import PROOFS_ASKED_FOR
from dicom_node.peers import Peer, Tls
from dicom_node.returns.returner import Sender, associate
from dicom_node.settings import Settings
from dicom_node.tls import client_context
from dicom_node.wire import (
    COMPREHENSIVE_3D_SR,
    COMPREHENSIVE_SR,
    KEY_OBJECT_SELECTION,
    OVERLAY_COMPRESSION,
    PRESENTATION_STATE,
    SECONDARY_CAPTURE,
    SEGMENTATION,
    STORAGE_COMMITMENT,
    STUDY_ROOT_FIND,
    VERIFICATION,
)

_SOP_CLASS: Final[Mapping[ResultKind, UID]] = {
    ResultKind.OVERLAY: SECONDARY_CAPTURE,
    ResultKind.SEGMENTATION: SEGMENTATION,
    ResultKind.PRESENTATION_STATE: PRESENTATION_STATE,
    ResultKind.KEY_OBJECT: KEY_OBJECT_SELECTION,
}
_REPORT: Final[Mapping[ReportClass, UID]] = {
    ReportClass.COMPREHENSIVE_3D: COMPREHENSIVE_3D_SR,
    ReportClass.COMPREHENSIVE: COMPREHENSIVE_SR,
}


def sop_class_of(kind: ResultKind, destination: Destination) -> UID:
    """Of the object that `destination` gets as `kind`."""
    return _REPORT[destination.report_class] if kind is ResultKind.REPORT else _SOP_CLASS[kind]


def sender_to(destination: Destination, settings: Settings, *, timeout: float) -> Sender:
    """What a return to `destination` proposes, of all objects that it can get."""
    return Sender(
        destination.peer,
        {(sop_class_of(kind, destination), ExplicitVRLittleEndian) for kind in destination.objects},
        calling_ae=settings.ae_title,
        timeout=timeout,
        tls=settings.tls if destination.tls else None,
        compression=[OVERLAY_COMPRESSION[name] for name in destination.overlay_compression],
        services=PROOFS_ASKED_FOR[destination.commitment],
    )


def echo(peer: Peer, settings: Settings, *, timeout: float, tls: Tls | None) -> str:
    """What is wrong with C-ECHO to `peer`; "" if nothing is. Raises PeerUnreachable if there is no association."""
    association = associate(peer, [build_context(VERIFICATION)], calling_ae=settings.ae_title, timeout=timeout, tls=tls)
    try:
        answer = association.send_c_echo()
    except RuntimeError:  # it ended the association meanwhile
        return "ended the association"
    finally:
        if association.is_established:
            association.release()
    if "Status" not in answer:
        return "answered nothing"
    return "" if answer.Status == 0 else f"answered 0x{answer.Status:04X}"


def examine_destination(destination: Destination, settings: Settings, *, timeout: float) -> Iterator[Check]:
    """C-ECHO, certificate, presentation contexts and storage commitment of one destination. Nothing is sent to it.

    timeout: seconds to wait for each answer.
    """
    peer, tls = destination.peer, settings.tls if destination.tls else None
    name = str(peer)
    try:
        problem = echo(peer, settings, timeout=timeout, tls=tls)
    except NoContextAccepted:
        problem = ""  # it is there; some do not offer Verification, and need not
    except PeerUnreachable as e:
        yield Check(name=f"{name} echo", well=False, detail=e.args[0].removeprefix(f"{name} "), remedy=_call_remedy(e))
        return
    yield Check(
        name=f"{name} echo",
        well=not problem,
        detail=problem or f"answers as {settings.ae_title} calls",
        remedy="Ask who runs it to look into its log." if problem else "",
    )
    if tls:
        yield from _certificate(peer, tls, timeout)
    yield from _contexts(destination, settings, timeout)


def _call_remedy(problem: PeerUnreachable) -> str:
    said = problem.args[0].lower()
    if "calling" in said:
        return "Enter the node's AE title, and its address, among the peers that this destination knows."
    if "called" in said:
        return "The destination has another AE title: correct it here."
    return problem.hint


def _contexts(destination: Destination, settings: Settings, timeout: float) -> Iterator[Check]:
    name = str(destination.peer)
    sender = sender_to(destination, settings, timeout=timeout)
    try:
        with sender:
            refused = [kind for kind in destination.objects if not sender.accepts(sop_class_of(kind, destination))]
            commits, finds = sender.accepts(STORAGE_COMMITMENT), sender.accepts(STUDY_ROOT_FIND)
    except NoContextAccepted as e:
        yield Check(name=f"{name} contexts", well=False, detail="takes none of our objects", remedy=e.hint)
        return
    except PeerUnreachable as e:
        yield Check(name=f"{name} contexts", well=False, detail=e.args[0], remedy=e.hint)
        return
    classes = ", ".join(f"{kind} ({sop_class_of(kind, destination).name})" for kind in refused)
    yield Check(
        name=f"{name} contexts",
        well=not refused,
        detail=f"does not take {classes}" if refused else f"takes {', '.join(destination.objects)}",
        remedy="Let it accept these SOP classes from us, or leave them out of `objects` of this destination."
        if refused
        else "",
    )
    if destination.commitment is Commitment.OFF:
        yield Check(name=f"{name} proof", well=True, detail="C-STORE status, as configured")
    elif commits:
        yield Check(name=f"{name} proof", well=True, detail="storage commitment")
    elif destination.commitment is Commitment.REQUIRED:
        yield Check(
            name=f"{name} proof",
            well=False,
            detail="offers no storage commitment, which is required of it",
            remedy='Switch Storage Commitment Push on at the destination, or set commitment = "auto".',
        )
    else:
        weaker = "C-FIND" if finds else "the C-STORE status"
        yield Check(
            name=f"{name} proof",
            well=True,
            detail=f"no storage commitment: {weaker} closes a return",
            remedy="Switch Storage Commitment Push on at the destination, if it has it.",
        )


def _certificate(peer: Peer, tls: Tls, timeout: float) -> Iterator[Check]:
    try:
        with (
            socket.create_connection((peer.host, peer.port), timeout=timeout) as plain,
            client_context(tls).wrap_socket(plain, server_hostname=peer.host) as encrypted,
        ):
            shown = encrypted.getpeercert() or {}
    except (OSError, ConfigurationError) as e:
        yield Check(name=f"{peer} certificate", well=False, detail=f"is not trusted: {e}", remedy="Check tls_ca.")
        return
    begin, end = (
        datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown[key])), UTC) for key in ("notBefore", "notAfter")
    )
    yield valid_until(f"{peer} certificate", begin, end)
