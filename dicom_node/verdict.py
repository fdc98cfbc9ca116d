"""What is said of a received object, first by its header, then, where that leaves it open, by its pixels."""

from dataclasses import dataclass
from enum import StrEnum


class View(StrEnum):
    """Projection of a chest radiograph, as far as the header tells, or else the pixels."""

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
    OBLIQUE = "oblique view"
    TOO_SMALL = "too small"


class Flag(StrEnum):
    """What is uncertain about an accepted radiograph; goes into its report."""

    BODY_PART_UNKNOWN = "body part unknown"
    VIEW_UNKNOWN = "view unknown"
    VIEW_CONTRADICTED = "view contradicted"
    DERIVED = "derived image"
    UNLIKE_A_FRONTAL = "not clearly a frontal chest, from the pixels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The object will be read. `evidence` names what told the view; `flags` go into the report."""

    view: View
    evidence: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The object is recorded with its reason and never read. `detail` is one sentence without patient identity."""

    reason: Reason
    detail: str
