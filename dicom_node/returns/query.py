"""Ask a peer whether it finds an object among its own. Source: PS3.4 annex C, Study Root, level IMAGE."""

from pydicom import Dataset
from pynetdicom.association import Association
from pynetdicom.status import code_to_category

from dicom_node.wire import STUDY_ROOT_FIND


def identifier(header: Dataset) -> Dataset:
    """What to ask for: one object, with the unique keys of the levels above it. PS3.4 C.4.1.1.3.1.

    header: has the UIDs of study, series and instance.
    """
    wanted = Dataset()
    wanted.QueryRetrieveLevel = "IMAGE"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(wanted, keyword, header[keyword].value)
    return wanted


def finds(association: Association, header: Dataset) -> bool | None:
    """Whether the peer finds the object; None if it answers with a failure.

    Raises ConnectionError if it went away before it answered.
    """
    found = False
    for status, match in association.send_c_find(identifier(header), STUDY_ROOT_FIND):
        if "Status" not in status:
            raise ConnectionError("no answer to C-FIND")
        category = code_to_category(status.Status)
        if category == "Pending":
            found = found or (match is not None and match.get("SOPInstanceUID") == header.SOPInstanceUID)
        elif category != "Success":
            return None
    return found
