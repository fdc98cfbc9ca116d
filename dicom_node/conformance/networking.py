"""The sections on the network: application entities, associations, and one for each service."""

import signal
from typing import Final

from pydicom.uid import UID

from dicom_node.conformance.commitment import query, storage_commitment
from dicom_node.conformance.document import Section, Table
from dicom_node.conformance.samples import Samples
from dicom_node.destination import BY_DEFAULT, Commitment
from dicom_node.journey.visit import PROOFS_ASKED_FOR
from dicom_node.peers import Peer
from dicom_node.reception.intake import Reason
from dicom_node.reception.peer_socket import MAXIMUM_PDU
from dicom_node.returns.returner import PDU_LENGTH, Sender
from dicom_node.settings import Settings
from dicom_node.wire import (
    ACCEPTED,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    OVERLAY_COMPRESSION,
    RADIOGRAPHS,
    VERIFICATION,
    StoreStatus,
)

CONTEXT_HEAD: Final = ("SOP class", "UID", "Transfer syntaxes", "Role", "Extended negotiation")

_SENT: Final = {
    StoreStatus.SUCCESS: (
        "Success",
        "The object is on disk, recorded, and queued if it is to be read. An object that is not read, such as a "
        "lateral view, is taken, too; the ledger has the reason.",
    ),
    StoreStatus.PROCESSING_FAILURE: ("Failure", "A fault of the node; its log tells more."),
    StoreStatus.DUPLICATE_SOP_INSTANCE: (
        "Failure",
        "Only if `duplicate_policy` is `refuse`: other content under this SOP Instance UID was received before. "
        "Sending it again will not help.",
    ),
    StoreStatus.OUT_OF_RESOURCES: (
        "Failure",
        "Disk low or database not to be written: the sender should keep the object and send it again later.",
    ),
    StoreStatus.DOES_NOT_MATCH_SOP_CLASS: (
        "Failure",
        "The data set contradicts the C-STORE command or itself: UIDs, Rows, Columns and length of the pixel data; or "
        "it is larger than the settings allow. Sending it again will not help.",
    ),
    StoreStatus.CANNOT_UNDERSTAND: (
        "Failure",
        "The data set is missing, cut off, nested too deep or cannot be parsed. Sending it again will not help.",
    ),
}


def proposed(samples: Samples) -> tuple[tuple[UID, tuple[UID, ...]], ...]:
    """The presentation contexts that the node proposes to a destination: SOP class and transfer syntaxes of each.

    Those of compressed overlays are among them, which only a destination with `overlay_compression` is offered.
    """
    objects = (result for sample in samples.all for result in sample.results.values())
    kinds = {(result.SOPClassUID, result.file_meta.TransferSyntaxUID) for result in objects}
    sender = Sender(
        Peer("PACS", "localhost", 104),
        kinds,
        calling_ae="COVIDXNET",
        timeout=1,
        services=PROOFS_ASKED_FOR[Commitment.AUTO],
        compression=tuple(OVERLAY_COMPRESSION.values()),
    )
    return tuple((c.abstract_syntax, tuple(c.transfer_syntax)) for c in sender.contexts)


def overview(samples: Samples) -> Section:
    """Which services the node uses and provides."""
    sent = {sop_class for sop_class, _ in proposed(samples)}
    rows = tuple(
        (
            sop_class.name,
            f"`{sop_class}`",
            "yes" if sop_class in sent or sop_class == VERIFICATION else "no",
            "yes" if sop_class in ACCEPTED else "no",
        )
        for sop_class in dict.fromkeys((*ACCEPTED, *sorted(sent)))
    )
    return Section(
        title="Overview",
        content=(
            "The node receives chest radiographs over the network, reads them, and stores what it made of them at its "
            "destinations. It is investigational, not for diagnosis.",
            Table(
                caption="SOP classes", head=("SOP class", "UID", "User of service (SCU)", "Provider (SCP)"), rows=rows
            ),
            f"By default a destination gets {' and '.join(BY_DEFAULT.objects)}; `destinations` can give it others.",
            "Result SOP classes are accepted so that a routing loop ends in a record and not in a failed job of the "
            "router; the node never reads them. Query and storage commitment are used as SCU only, to prove that a "
            "destination has the results. Retrieve, worklist, MPPS, print and media are not supported.",
        ),
    )


def model() -> Section:
    """The application entities and what they do in which order."""
    return Section(
        title="Implementation model",
        content=(
            Table(
                caption="Application entities",
                head=("Application entity", "Process", "Activity"),
                rows=(
                    (
                        "COVIDXNET",
                        "`covid-xnet listen`",
                        "Answers Verification and Storage (SCP), and hears reports of storage commitment (SCU).",
                    ),
                    (
                        "COVIDXNET",
                        "`covid-xnet return`",
                        "Stores results at each destination, and has it prove that it keeps them (SCU).",
                    ),
                    ("COVIDXNET", "`covid-xnet echo`, `covid-xnet send`", "An operator checks or feeds a peer (SCU)."),
                ),
            ),
            "All processes use the AE title of the setting `ae_title`. Sequence: an object is acknowledged when it is "
            "durable; it is judged by its header; what is a frontal chest radiograph is read; the results are stored "
            "at every destination, in the study of the radiograph; a result is closed when the destination has proved "
            "that it keeps it. A destination that does not answer delays no other.",
        ),
    )


def networking(samples: Samples) -> Section:
    """Associations and services."""
    return Section(
        title="Networking",
        content=(
            _associations(),
            _verification(),
            _storage_provider(),
            _storage_user(samples),
            storage_commitment(),
            query(),
            _extended(),
        ),
    )


def _associations() -> Section:
    fields = Settings.model_fields
    rows = (
        ("Application context name", "`1.2.840.10008.3.1.1.1`", "`1.2.840.10008.3.1.1.1`"),
        ("PDU length asked for (bytes)", str(MAXIMUM_PDU), str(PDU_LENGTH)),
        (
            "Simultaneous associations",
            f"`maximum_associations`, {fields['maximum_associations'].default} by default",
            "up to 4 for each destination",
        ),
        ("Outstanding asynchronous transactions", "1", "1"),
        (
            "Time-outs (s): association, DIMSE, network",
            f"`network_timeout`, {fields['network_timeout'].default:g} by default",
            f"`network_timeout`, {fields['network_timeout'].default:g} by default",
        ),
        ("Implementation class UID", f"`{IMPLEMENTATION_CLASS_UID}`", f"`{IMPLEMENTATION_CLASS_UID}`"),
        ("Implementation version name", f"`{IMPLEMENTATION_VERSION_NAME}`", f"`{IMPLEMENTATION_VERSION_NAME}`"),
    )
    return Section(
        title="Association policies",
        content=(
            Table(caption="Associations", head=("Policy", "As acceptor", "As initiator"), rows=rows),
            "Acceptance: an association is rejected (rejected-permanent, by the service user) if it calls another AE "
            "title than the node's (reason 7), or, once `calling_aes` is set, comes from an AE title that is not on "
            "that list or from another address than is bound to it (reason 3). Beyond the highest number of "
            "associations, of all or of one address, it waits a few seconds for an idle one to be ended in its favour, "
            "and is then rejected as a local limit (rejected-transient, by the presentation service provider, reason "
            "2). Of a presentation context with several transfer syntaxes, that one is taken which comes first in the "
            "table of Storage as SCP.",
            "Encryption: TLS 1.2 or 1.3 by PS3.15 B.12; once `tls_certificate` is set, for all associations that peers "
            "open, and with `tls_ca` they must authenticate themselves; as initiator for each destination with `tls`.",
            "Initiation: one association for the results of one reading, released after the last answer. A destination "
            "that cannot be reached is tried with one association at a time, after waits of up to a minute. When the "
            "node ends, running stores may end first and idle associations are aborted "
            f"({signal.SIGTERM.name} or {signal.SIGINT.name}).",
        ),
    )


def _sets() -> dict[tuple[UID, ...], str]:
    distinct = dict.fromkeys(ACCEPTED.values())
    return {syntaxes: f"set {chr(ord('A') + i)}" for i, syntaxes in enumerate(distinct)}


def _accepted(*sop_classes: UID) -> Table:
    rows = tuple((uid.name, f"`{uid}`", _sets()[ACCEPTED[uid]], "SCP", "none") for uid in sop_classes)
    return Table(caption="Presentation contexts accepted", head=CONTEXT_HEAD, rows=rows)


def _verification() -> Section:
    return Section(
        title="Verification",
        content=(
            _accepted(VERIFICATION),
            Table(
                caption="C-ECHO status",
                head=("Status", "As SCP", "As SCU (`covid-xnet echo`)"),
                rows=(
                    ("`0x0000`", "always", "the peer answers: exit code 0"),
                    ("any other, or none", "never", "an error with the status: exit code 1"),
                ),
            ),
        ),
    )


def _storage_provider() -> Section:
    results = tuple(uid for uid in ACCEPTED if uid not in (*RADIOGRAPHS, VERIFICATION))
    sets = _sets()
    every = dict.fromkeys(syntax for syntaxes in sets for syntax in syntaxes)
    rows = tuple(
        (syntax.name, f"`{syntax}`", *("yes" if syntax in syntaxes else "" for syntaxes in sets)) for syntax in every
    )
    return Section(
        title="Storage as SCP",
        content=(
            Table(caption="Transfer syntaxes", head=("Transfer syntax", "UID", *sets.values()), rows=rows),
            _accepted(*RADIOGRAPHS, *results),
            "Level of conformance: 2 (full); all attributes, also private ones, are kept. An object is stored bit for "
            "bit in the transfer syntax in which it came; it is not given out again. The same object sent again is "
            "success and changes nothing; other content under a known SOP Instance UID is kept beside the first, and "
            "not read, unless `duplicate_policy` says otherwise. Priority (0000,0700) HIGH makes a radiograph STAT, "
            "which is read first, unless `stat_by_priority` is off.",
            Table(
                caption="C-STORE status sent",
                head=("Status", "Name", "Service status", "When, and what the sender should do"),
                rows=tuple(
                    (f"`0x{status:04X}`", status.name.replace("_", " ").capitalize(), *_SENT[status])
                    for status in StoreStatus
                ),
            ),
            "A failure comes with Error Comment (0000,0902). Taken, but not read:",
            Table(
                caption="Reasons not to read",
                head=("Reason in the ledger",),
                rows=tuple((str(reason),) for reason in Reason),
            ),
        ),
    )


def _storage_user(samples: Samples) -> Section:
    rows = tuple(
        (sop_class.name, f"`{sop_class}`", ", ".join(f"`{syntax}` {syntax.name}" for syntax in syntaxes), "SCU", "none")
        for sop_class, syntaxes in proposed(samples)
    )
    attempts = Settings.model_fields["return_attempts"].default
    return Section(
        title="Storage as SCU",
        content=(
            Table(caption="Presentation contexts proposed", head=CONTEXT_HEAD, rows=rows),
            "A context with a compressed transfer syntax is proposed only to a destination whose `overlay_compression` "
            "names it. An overlay goes in the first of these that the destination accepts, else uncompressed; its SOP "
            "Instance UID and its pixels are the same in each.",
            "`covid-xnet send` proposes one context for each SOP class and transfer syntax of the files it is given.",
            Table(
                caption="C-STORE status understood",
                head=("Status", "Service status", "Behaviour"),
                rows=(
                    ("`0x0000`", "Success", "The ledger says stored; the result is closed by the proof that follows."),
                    ("`0xBxxx`, `0x0001`, `0x0107`, `0x0116`", "Warning", "As success; the status is recorded."),
                    (
                        "any other",
                        "Failure",
                        "Offered again after a wait that doubles each time, up to a minute; set aside after "
                        f"`return_attempts` refusals ({attempts} by default). `covid-xnet retry` offers it again.",
                    ),
                    ("no presentation context", "-", "As failure."),
                    ("no answer, abort, rejection", "-", "Offered again without end; the UIDs stay the same."),
                ),
            ),
        ),
    )


def _extended() -> Section:
    return Section(
        title="Extended negotiation",
        content=(
            "None is proposed: no SOP class extended negotiation, no asynchronous operations window, no SCP/SCU role "
            "selection, no user identity. Of what a peer proposes, SCP/SCU role selection is answered for storage "
            "commitment; the rest is not answered, and the association goes on with the defaults of PS3.7 annex D.",
        ),
    )
