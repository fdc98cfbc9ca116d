"""The sections on how a destination proves that it has the results: storage commitment, and queries."""

from dicom_node.conformance.document import Section, Table
from dicom_node.destination import Commitment
from dicom_node.journey.visit import PROOFS_ASKED_FOR, REPORT_SECONDS, REQUESTS_AT_MOST
from dicom_node.settings import Settings
from dicom_node.wire import PLAIN, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE, CommitmentFailure, ReportStatus

_CONTEXT_HEAD = ("SOP class", "UID", "Transfer syntaxes", "Role", "Extended negotiation")

_ANSWERED = {
    ReportStatus.SUCCESS: "The report is in the ledger; also one that came before, and changes nothing.",
    ReportStatus.NO_SUCH_EVENT_TYPE: "The event type is neither 1 nor 2.",
    ReportStatus.INVALID_ARGUMENT_VALUE: "The report is not complete, or answers no request that its sender, known by "
    "its AE title, got from the node. Nothing is changed.",
    ReportStatus.RESOURCE_LIMITATION: "The database cannot be written: the report should be sent again.",
}


def storage_commitment() -> Section:
    """Storage Commitment Push Model as SCU."""
    fields = Settings.model_fields
    syntaxes = ", ".join(f"`{syntax}` {syntax.name}" for syntax in PLAIN)
    return Section(
        title="Storage commitment as SCU",
        content=(
            "Unless `commitment` of the destination says otherwise, the presentation contexts of its results come with "
            f"one for {STORAGE_COMMITMENT.name} (proposed in the table of Storage as SCU). If it is accepted, N-ACTION "
            f"(action type 1, SOP instance `{STORAGE_COMMITMENT_INSTANCE}`, Transaction UID, Referenced SOP Sequence) "
            "follows the last C-STORE on the same association, one transaction for the results of one reading. "
            f"The report is taken on this association, which is kept open for {REPORT_SECONDS:g} s unless the "
            "destination is known to report on one of its own, and at any time on an association that the destination "
            "opens to the port of the node.",
            Table(
                caption="Presentation contexts accepted for reports",
                head=_CONTEXT_HEAD,
                rows=(
                    (
                        STORAGE_COMMITMENT.name,
                        f"`{STORAGE_COMMITMENT}`",
                        syntaxes,
                        "SCU",
                        "SCP/SCU role selection: the requestor as SCP is accepted, the requestor as SCU alone is not",
                    ),
                ),
            ),
            "A requestor without role selection is taken for one that reports. N-ACTION to the node is answered "
            "`0x0211`.",
            Table(
                caption="N-ACTION status understood",
                head=("Status", "Behaviour"),
                rows=(
                    (
                        "`0x0000`, warnings",
                        "The report is awaited for `commitment_timeout` "
                        f"({fields['commitment_timeout'].default:g} s by default), then a new transaction follows.",
                    ),
                    ("`0x0213`", "Asked again later."),
                    (
                        "any other, or abort at two associations in a row",
                        "The destination offers no storage commitment; it is asked again after ten minutes.",
                    ),
                ),
            ),
            f"After {REQUESTS_AT_MOST} transactions without a report, a weaker proof closes the result; a report that "
            f"comes later still counts. With `commitment` `{Commitment.REQUIRED}` no weaker proof does.",
            Table(
                caption="N-EVENT-REPORT: what follows",
                head=("In the report", "Behaviour"),
                rows=(
                    ("Referenced SOP Sequence", 'The result is closed; proof "storage commitment".'),
                    (
                        f"Failure Reason `0x{CommitmentFailure.NO_SUCH_OBJECT_INSTANCE:04X}`",
                        "The object is stored again; counts as a refusal.",
                    ),
                    (
                        "any other Failure Reason",
                        "Asked for again; counts as a refusal. After `return_attempts` refusals the object is set "
                        "aside, with the reason.",
                    ),
                    ("not mentioned", "Awaited until the time-out."),
                ),
            ),
            Table(
                caption="N-EVENT-REPORT status sent",
                head=("Status", "When"),
                rows=tuple((f"`0x{status:04X}`", _ANSWERED[status]) for status in ReportStatus),
            ),
        ),
    )


def query() -> Section:
    """Study Root C-FIND as SCU."""
    (_, find) = PROOFS_ASKED_FOR[Commitment.AUTO]
    return Section(
        title="Query as SCU",
        content=(
            f"A destination that takes no request for storage commitment, but {find.name} (proposed in the table of "
            "Storage as SCU), is asked by C-FIND for each result that it stored. Query/Retrieve Level IMAGE; the keys "
            "are Study, Series and SOP Instance UID, each with one value.",
            Table(
                caption="C-FIND status understood",
                head=("Status", "Behaviour"),
                rows=(
                    ("`0xFF00`, `0xFF01` with this SOP Instance UID", 'The result is closed; proof "C-FIND".'),
                    ("`0x0000` without a match", "The object is stored again; counts as a refusal."),
                    (
                        "any other, or abort at two associations in a row",
                        'The result is closed; proof "C-STORE status".',
                    ),
                ),
            ),
        ),
    )
