"""One radiograph with its whole journey: what it is, what was found, and where the results went."""

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from dicom_node.access import Role
from dicom_node.audit import Kind
from dicom_node.journey.ledger import OPEN_STATES, ReceivedObject, ReturnState
from dicom_node.logs import log
from dicom_node.results.shelf import ResultShelf
from dicom_node.spool import Spool
from dicom_node.web.gatehouse import Gatehouse, Visit
from dicom_node.web.orders import Order, carry_out
from dicom_node.web.paper import quoted
from dicom_node.web.patient import patient_of
from dicom_node.web.report import contents, overlay_file, report_file
from dicom_node.web.worklist import Standing, find, standing_of


def routes(gate: Gatehouse) -> list[Route]:
    """The pages of this file."""
    spool = Spool(gate.settings.spool_dir, minimum_free_bytes=0)
    shelf = ResultShelf(gate.settings.results_dir)

    def asked(visit: Visit, session: Session) -> ReceivedObject:
        """The object that the address names; raises HTTPException 404."""
        row = find(session, visit.request.path_params["id"])
        if row is None:
            raise HTTPException(404)
        return row

    def note(visit: Visit, row: ReceivedObject, what: str) -> None:
        gate.record(
            visit, Kind.INSTANCES_ACCESSED, what=what, study=row.study_instance_uid, object=row.sop_instance_uid
        )

    def show(visit: Visit, *, done: str = "", what: str = "page") -> Response:
        with Session(gate.engine) as session:
            row = asked(visit, session)
            folder = shelf.folder(row.journey) if row.journey else None
            note(visit, row, what)
            return gate.render(
                visit,
                "radiograph.html",
                row=row,
                standing=standing_of(row),
                Standing=Standing,
                done=done,
                trouble=_viewable(row, spool.path(row.digest)),
                overlay=folder is not None and overlay_file(folder) is not None,
                report=_report(folder),
                patient=patient_of(row, spool.path(row.digest)) if gate.may_identify(visit.user) else {},
                viewer=_viewer(gate, visit, row),
                can_retry=any(r.state == ReturnState.SET_ASIDE for r in row.returns),
                can_read_again=bool(row.reading and row.reading.failure and row.purged_at is None),
                can_set_aside=any(r.state in OPEN_STATES for r in row.returns),
                newer=_neighbour(session, row.id, newer=True),
                older=_neighbour(session, row.id, newer=False),
            )

    def radiograph(visit: Visit) -> Response:
        return show(visit)

    def picture(visit: Visit) -> Response:
        from dicom_node.web.pictures import as_sent_png, overlay_png, radiograph_png  # numpy and the decoders

        with Session(gate.engine) as session:
            row = asked(visit, session)
            name = visit.request.path_params["picture"]
            path = spool.path(row.digest)
            if trouble := _viewable(row, path):
                raise HTTPException(404, trouble)
            overlay = overlay_file(shelf.folder(row.journey or ""))
            try:
                if name == "radiograph":
                    level, width = _window(visit)
                    data = radiograph_png(
                        path, maximum_pixels=int(gate.settings.maximum_megapixels * 1e6), level=level, width=width
                    )
                elif name in ("overlay", "sent") and overlay is not None:
                    data = overlay_png(overlay) if name == "overlay" else as_sent_png(overlay)
                else:
                    raise HTTPException(404)
            except HTTPException:
                raise
            # The edge: a file that rots breaks parsers and decoders in ways of their own.
            except Exception as e:
                log.warning("picture not made", journey=row.journey, error=type(e).__name__)
                raise HTTPException(404, "The file is not on disk, or cannot be shown.") from None
            note(visit, row, name)
        return Response(data, media_type="image/png")

    def act(visit: Visit) -> Response:
        try:
            order = Order(visit.request.path_params["action"])
        except ValueError:
            raise HTTPException(404) from None
        with Session(gate.engine) as session:
            number = carry_out(gate.settings, order, asked(visit, session).id)
        match order:
            case Order.RETRY:
                done = f"{number} results will be returned again." if number else "Nothing was set aside."
            case Order.READ_AGAIN:
                done = "It will be read again." if number else "It is being read, or its files were purged."
            case Order.SET_ASIDE:
                done = f"{number} results are set aside." if number else "Nothing was waiting any more."
        return show(visit, done=done, what=f"{order}: {number}")

    return [
        Route("/radiographs/{id:int}", gate.admit(radiograph)),
        Route("/radiographs/{id:int}/{picture}.png", gate.admit(picture)),
        Route("/radiographs/{id:int}/{action}", gate.admit(act, Role.OPERATOR), methods=["POST"]),
    ]


def _viewable(row: ReceivedObject, path: Path) -> str:
    """Why there is no picture; empty if there is one."""
    if row.purged_at is not None:
        return "The files were purged; the PACS has the original."
    if row.reading is None:
        return "It is not read: no picture is made of it." if not row.accepted else "It is not read yet."
    if row.reading.failure:
        return "It could not be read, so it is not decoded here either."
    return "" if path.is_file() else "The file is not on this machine."


def _report(folder: Path | None) -> object:
    path = report_file(folder) if folder else None
    try:
        return contents(path) if path else None
    # The edge: as of the pictures; the rest of the page is worth showing.
    except Exception as e:
        log.warning("report not shown", error=type(e).__name__)
        return None


def _viewer(gate: Gatehouse, visit: Visit, row: ReceivedObject) -> str:
    if not gate.settings.web_viewer_url:
        return ""
    accession = row.study.accession_number if gate.may_identify(visit.user) else ""
    return gate.settings.web_viewer_url.format(
        study=quoted(row.study_instance_uid), object=quoted(row.sop_instance_uid), accession=quoted(accession)
    )


def _window(visit: Visit) -> tuple[float, float]:
    try:
        level = float(visit.request.query_params.get("level", "0.5"))
        width = float(visit.request.query_params.get("width", "1"))
    except ValueError:
        raise HTTPException(400, "level and width are numbers.") from None
    if not (0 <= level <= 1 and 0.01 <= width <= 2):
        raise HTTPException(400, "level is 0 to 1, width 0.01 to 2.")
    return level, width


def _neighbour(session: Session, number: int, *, newer: bool) -> int | None:
    query = sa.select(sa.func.min(ReceivedObject.id) if newer else sa.func.max(ReceivedObject.id))
    return session.scalar(query.where(ReceivedObject.id > number if newer else ReceivedObject.id < number))
