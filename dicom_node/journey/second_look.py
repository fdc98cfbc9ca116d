"""The second look: where the header left open what an object is, its pixels say. Headers win where they say it."""

from dataclasses import replace
from typing import Final

from dicom_node.verdict import Accepted, Flag, Reason, Refused, View
from models.serving import Network
from pipeline.radiograph import Radiograph
from pipeline.view import Seen, ViewOpinion, view_of

EVIDENCE: Final = "the pixels"
"""What told the view, where no attribute did."""


def look(accepted: Accepted, radiograph: Radiograph, judge: Network) -> Accepted | Refused:
    """Decide whether an object that the gate accepted is read.

    An object whose header says from which side a chest was taken is not looked at. A lateral is refused only if the
    header does not name the view; what is no chest, only if it does not name the view or the body part. What the
    pixels leave open is read with a flag. Raises BlankRadiograph if all pixels have one grey level.
    """
    view_open, part_open = (flag in accepted.flags for flag in (Flag.VIEW_UNKNOWN, Flag.BODY_PART_UNKNOWN))
    if not (view_open or part_open):
        return accepted
    opinion = view_of(radiograph, judge)
    match opinion.seen:
        case Seen.FRONTAL:
            if not view_open:
                return accepted
            flags = tuple(flag for flag in accepted.flags if flag != Flag.VIEW_UNKNOWN)
            return replace(accepted, view=View.FRONTAL, evidence=EVIDENCE, flags=flags)
        case Seen.LATERAL if view_open:
            return Refused(reason=Reason.LATERAL, detail=_detail(opinion))
        case Seen.NEITHER:
            return Refused(reason=Reason.NOT_CHEST, detail=_detail(opinion))
        case _:
            return replace(accepted, flags=(*accepted.flags, Flag.UNLIKE_A_FRONTAL))


def _detail(opinion: ViewOpinion) -> str:
    shares = f"frontal {opinion.frontal:.2f}, lateral {opinion.lateral:.2f}, no chest {opinion.neither:.2f}"
    return f"From the pixels: {shares}."
