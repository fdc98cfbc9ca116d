"""The gate: which objects are radiographs that the node reads. Pure: a header in, a verdict out."""

from dataclasses import dataclass
from enum import StrEnum


class View(StrEnum):
    """Projection of a chest radiograph, as far as the header tells."""

    PA = "PA"
    AP = "AP"
    FRONTAL = "frontal"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """Why an object is recorded but never read."""

    OWN_RESULT = "own result"
    NOT_A_RADIOGRAPH = "not a radiograph"
    FOR_PROCESSING = "for processing"
    DERIVED = "derived image"
    MULTI_FRAME = "multi-frame"
    NOT_GREYSCALE = "not greyscale"
    NOT_CHEST = "not a chest"
    LATERAL = "lateral view"
    TOO_SMALL = "too small"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The object will be read. `evidence` names the attribute that told the view; `flags` go into the report."""

    view: View
    evidence: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The object is recorded with its reason and never read. `detail` is one sentence without patient identity."""

    reason: Reason
    detail: str
