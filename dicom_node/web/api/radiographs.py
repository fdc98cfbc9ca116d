"""The worklist, and one radiograph with its whole journey."""

import re
from datetime import date
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from sqlalchemy.orm import Session

from dicom_node.audit import Kind
from dicom_node.journey.ledger import ReceivedObject
from dicom_node.spool import Spool
from dicom_node.web.api.guard import Caller, Operator, Viewer
from dicom_node.web.api.problems import GuardedRoute, Refused
from dicom_node.web.api.shapes import Done, Radiograph, Worklist
from dicom_node.web.orders import Order, carry_out
from dicom_node.web.patient import known, patient_of
from dicom_node.web.worklist import LARGEST_ID, LONGEST_SEARCH, Standing, Wanted, find, look_for, standing_of

router = APIRouter(route_class=GuardedRoute, tags=["radiographs"])

_NO_NUL: Final = r"^[^\x00]*$"
"""PostgreSQL has no place for it in a text."""

Number = Annotated[int, Path(ge=1, le=LARGEST_ID, description="Of the object in the ledger: `received.id`.")]


def _written_out(day: object) -> object:
    """Refuse what pydantic would take for a day, too, such as seconds since 1970."""
    if isinstance(day, date) or (isinstance(day, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", day)):
        return day
    raise ValueError("a day is written YYYY-MM-DD")


Day = Annotated[date, BeforeValidator(_written_out)]


class Filter(BaseModel):
    """Which objects; what is left out means any."""

    model_config = ConfigDict(extra="forbid")

    standing: Standing | None = Field(default=None, description="Where they stand.")
    sender: str = Field(default="", max_length=16, pattern=_NO_NUL, description="AE title of who sent them.")
    since: Day | None = Field(default=None, description="First day, on the clock of the node.")
    until: Day | None = Field(default=None, description="Last day.")
    before: int | None = Field(default=None, ge=1, le=LARGEST_ID, description="`older` of the page before this one.")


class Search(Filter):
    """The same with a search, which is sent in the body: addresses are written into logs, and it may name a patient."""

    search: str = Field(
        default="",
        max_length=LONGEST_SEARCH,
        pattern=_NO_NUL,
        description="Beginning of a Study or SOP Instance UID, or of a patient id or accession number if the role of "
        "the token may see who patients are.",
    )


@router.get("/radiographs")
def worklist(caller: Viewer, wanted: Annotated[Filter, Query()]) -> Worklist:
    """The objects that came, the newest first, 50 on a page."""
    return _listed(caller, Search(**wanted.model_dump()))


@router.post("/radiographs/search")
def search(caller: Viewer, wanted: Search) -> Worklist:
    """The same as the list, with a search."""
    return _listed(caller, wanted)


@router.get("/radiographs/{number}")
def radiograph(caller: Viewer, number: Number) -> Radiograph:
    """One object with its whole journey: verdict, evidence, stages, and its returns with status and proof."""
    with Session(caller.gate.engine) as session:
        row = _asked(session, number)
        _note(caller, row, "api")
        path = Spool(caller.gate.settings.spool_dir, minimum_free_bytes=0).path(row.digest)
        said = {
            "received": row,
            "standing": standing_of(row),
            "patient": patient_of(row, path) if caller.identity else None,
            "reading": row.reading,
            "returns": row.returns,
        }
        return Radiograph.model_validate(said, from_attributes=True)


@router.post("/radiographs/{number}/{order}", openapi_extra={"x-role": "operator"})
def act(caller: Operator, number: Number, order: Order) -> Done:
    """Retry: offer its results that were set aside again. Read-again: read what could not be read. Set-aside: set
    aside its results that wait."""
    with Session(caller.gate.engine) as session:
        row = _asked(session, number)
        done = carry_out(caller.gate.settings, order, row.id)
        _note(caller, row, f"{order}: {done}")
    return Done(order=order, number=done)


def _listed(caller: Caller, wanted: Search) -> Worklist:
    with Session(caller.gate.engine) as session:
        found = look_for(session, Wanted(**wanted.model_dump(), identity=caller.identity))
        caller.record(Kind.QUERY, found=len(found.objects))
        listed = [
            {
                "received": row,
                "standing": standing_of(row),
                "patient": known(row) if caller.identity else None,
                "reading": row.reading,
                "returns": row.returns,
            }
            for row in found.objects
        ]
        return Worklist.model_validate({"radiographs": listed, "older": found.older}, from_attributes=True)


def _asked(session: Session, number: int) -> ReceivedObject:
    row = find(session, number)
    if row is None:
        raise Refused(404, f"There is no object {number}.", remedy="/api/radiographs lists what there is.")
    return row


def _note(caller: Caller, row: ReceivedObject, what: str) -> None:
    caller.record(Kind.INSTANCES_ACCESSED, what=what, study=row.study_instance_uid, object=row.sop_instance_uid)
