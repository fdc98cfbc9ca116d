"""The worklist."""

from collections.abc import Mapping
from datetime import date

from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from dicom_node.audit import Kind
from dicom_node.web.gatehouse import Gatehouse, Visit
from dicom_node.web.worklist import Standing, Wanted, look_for, sender_names, standing_of


def routes(gate: Gatehouse) -> list[Route]:
    """The pages of this file."""
    searched: dict[str, str] = {}
    """What each user looked for last: a page that updates itself searches for nothing new."""

    def worklist(visit: Visit) -> Response:
        # A search may hold who the patient is, and addresses are written into logs and histories: only forms search.
        posted = visit.request.method == "POST"
        fields = visit.fields if posted else {**visit.request.query_params, "search": ""}
        wanted = _wanted(fields, identity=gate.may_identify(visit.user))
        with Session(gate.engine) as session:
            found = look_for(session, wanted)
            if wanted.search != searched.get(visit.user.name, ""):
                searched[visit.user.name] = wanted.search
                if wanted.search:
                    gate.record(visit, Kind.QUERY, found=len(found.objects))
            return gate.render(
                visit,
                "worklist.html",
                wanted=wanted,
                found=found,
                senders=sender_names(session),
                standing_of=standing_of,
                Standing=Standing,
            )

    return [Route("/worklist", gate.admit(worklist), methods=["GET", "POST"])]


def _wanted(fields: Mapping[str, str], *, identity: bool) -> Wanted:
    """Raises HTTPException 400 that names the field that cannot be read."""

    def day(name: str) -> date | None:
        return date.fromisoformat(fields[name]) if fields.get(name) else None

    try:
        before = int(fields["before"]) if fields.get("before") else None
        if before is not None and not 0 < before < 2**63:
            raise ValueError(f"{before} is no place in the list")
        return Wanted(
            standing=Standing(fields["standing"]) if fields.get("standing") else None,
            sender=fields.get("sender", "")[:16],
            search=fields.get("search", "").replace("\0", ""),
            since=day("since"),
            until=day("until"),
            before=before,
            identity=identity,
        )
    except (ValueError, OverflowError) as e:
        raise HTTPException(400, f"The filter cannot be read: {e}.") from None
