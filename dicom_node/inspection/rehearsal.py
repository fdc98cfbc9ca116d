"""What would happen to a file if it came now: each decision by who takes it in the node, and nothing recorded."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.errors import AlreadyRead, DoesNotMatch, NotUnderstood, OutOfResources
from dicom_node.journey.known import Recorded, place
from dicom_node.journey.queue import KNOWN_UID, OWN_RESULT
from dicom_node.journey.senders import is_on
from dicom_node.reception.admission import Admission, Request
from dicom_node.reception.attributes import text
from dicom_node.reception.header import Header, read_header
from dicom_node.reception.intake import judge
from dicom_node.reception.urgency import haste
from dicom_node.settings import Settings
from dicom_node.spool import fingerprint
from dicom_node.verdict import Flag, Refused
from dicom_node.wire import ACCEPTED, StoreStatus

_OPEN: Final = (Flag.VIEW_UNKNOWN, Flag.BODY_PART_UNKNOWN)
"""What the pixels are asked about before a reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who would send: AE title and IP address."""

    calling_ae: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What would happen.

    file: its path. admitted: whether its sender could open an association; None: no sender was named. status: what
    C-STORE would be answered; None: it would not come to that. read: whether the networks would see it. reason: of the
    first thing that keeps it from being read; else "". view, evidence, flags: of the gate. pixels: whether these still
    have to say that it is a frontal chest. urgency: "stat", "routine"; "" if it is not read. known: what the ledger
    says of its UIDs. shadow: whether nothing of it would be sent; None: that depends on the sender. returns:
    destination -> objects that it would get.
    """

    file: str
    admitted: bool | None
    status: int | None
    read: bool
    reason: str = ""
    view: str = ""
    evidence: str = ""
    flags: tuple[str, ...] = ()
    pixels: bool = False
    urgency: str = ""
    urgency_evidence: str = ""
    known: str = ""
    shadow: bool | None = None
    returns: dict[str, tuple[str, ...]]


def rehearse(file: Path, settings: Settings, engine: sa.Engine | None, sender: Sender | None) -> Rehearsal:
    """Tell what would happen to `file`, as it is, if `sender` sent it now; changes nothing.

    engine: of the ledger; None: there is none yet. Raises OSError if the file cannot be read.
    """
    stopped = Rehearsal(file=str(file), admitted=None, status=None, read=False, returns={})
    admitted = None if sender is None else _rejection(settings, sender)
    if admitted:
        return replace(stopped, admitted=False, reason=f"association rejected: {admitted}")
    stopped = replace(stopped, admitted=None if sender is None else True)
    maximum_bytes = int(settings.maximum_object_megabytes * 1e6)
    try:
        if file.stat().st_size > maximum_bytes:
            raise DoesNotMatch("The object is larger than maximum_object_megabytes.")
        header = read_header(
            file,
            maximum_bytes=maximum_bytes,
            maximum_pixels=int(settings.maximum_megapixels * 1e6),
        )
        sop_class = text(header.dataset, "SOPClassUID")
        if header.transfer_syntax_uid not in ACCEPTED.get(sop_class, ()):
            return replace(
                stopped, reason="the node takes no presentation context of its SOP class and transfer syntax"
            )
        known = Recorded.NEW if engine is None else _known(file, header, settings, engine)
    except NotUnderstood as e:
        return replace(stopped, status=StoreStatus.CANNOT_UNDERSTAND, reason=e.args[0])
    except DoesNotMatch as e:
        return replace(stopped, status=StoreStatus.DOES_NOT_MATCH_SOP_CLASS, reason=e.args[0])
    except AlreadyRead as e:
        return replace(stopped, status=StoreStatus.DUPLICATE_SOP_INSTANCE, reason=e.args[0])
    except OutOfResources as e:
        return replace(stopped, status=StoreStatus.OUT_OF_RESOURCES, reason=e.args[0])
    return _taken_in(stopped, header, known, settings, engine, sender)


def _rejection(settings: Settings, sender: Sender) -> str:
    request = Request(called_ae=settings.ae_title, calling_ae=sender.calling_ae, address=sender.address)
    # Addresses of destinations only keep places for them, which is no matter here.
    rejection = Admission(settings, addresses_of_destinations=frozenset()).judge(request)
    return rejection.in_words if rejection else ""


def _known(file: Path, header: Header, settings: Settings, engine: sa.Engine) -> Recorded:
    try:
        digest, _ = fingerprint(file)
    except ValueError:  # its file meta information is odd: as an object it would be given another
        digest = ""
    with Session(engine) as session:
        recorded, _ = place(
            session,
            sop_instance_uid=text(header.dataset, "SOPInstanceUID"),
            series_instance_uid=text(header.dataset, "SeriesInstanceUID"),
            digest=digest,
            policy=settings.duplicate_policy,
        )
    return recorded


def _taken_in(
    stopped: Rehearsal,
    header: Header,
    known: Recorded,
    settings: Settings,
    engine: sa.Engine | None,
    sender: Sender | None,
) -> Rehearsal:
    """Of an object that would be answered with success."""
    taken = replace(stopped, status=StoreStatus.SUCCESS, known=known.value)
    verdict = judge(header.dataset, settings)
    if isinstance(verdict, Refused):
        return replace(taken, reason=f"{verdict.reason}: {verdict.detail}")
    taken = replace(
        taken,
        view=verdict.view.value,
        evidence=verdict.evidence,
        flags=tuple(str(flag) for flag in verdict.flags),
        pixels=any(flag in verdict.flags for flag in _OPEN),
    )
    why_not = {
        Recorded.IDENTICAL: "the same object was received before",
        Recorded.DIFFERENT: KNOWN_UID,
        Recorded.OWN: OWN_RESULT,
    }
    if known in why_not:
        return replace(taken, reason=why_not[known])
    hurry = haste(header.dataset, calling_ae=sender.calling_ae if sender else "", priority=None, settings=settings)
    shadow = _in_shadow(settings, engine, sender)
    return replace(
        taken,
        read=True,
        urgency=hurry.urgency.value,
        urgency_evidence=hurry.evidence,
        shadow=shadow,
        returns={}
        if shadow
        else {str(each.peer): tuple(kind.value for kind in each.objects) for each in settings.destinations},
    )


def _in_shadow(settings: Settings, engine: sa.Engine | None, sender: Sender | None) -> bool | None:
    if not settings.shadow_until_commissioned:
        return False
    if sender is None:
        return None
    if engine is None:
        return True
    with Session(engine) as session:
        return not is_on(session, sender.calling_ae)
