"""Who the patient of a radiograph is, for who may know."""

from pathlib import Path
from typing import Final

from pydicom import dcmread

from dicom_node.journey.ledger import ReceivedObject

_IDENTITY: Final = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyDescription",
)  # fmt: skip


def known(row: ReceivedObject) -> dict[str, str]:
    """What the ledger knows of the patient: DICOM keyword -> value, none empty."""
    said = {"PatientID": row.study.patient_id, "AccessionNumber": row.study.accession_number}
    return {name: value for name, value in said.items() if value}


def patient_of(row: ReceivedObject, path: Path) -> dict[str, str]:
    """Who the patient is, from the file at `path`; without it, what the ledger knows."""
    said = known(row)
    if row.purged_at is None and row.accepted:
        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=list(_IDENTITY))
            said |= {name: str(header.get(name) or "").replace("^", " ").strip() for name in _IDENTITY}
        # The edge: what a peer wrote may break the parser in ways of its own; the ledger is enough then.
        except Exception:
            pass
    return {name: value for name, value in said.items() if value}
