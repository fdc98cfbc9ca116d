"""What the pages show of a ledger, to whom, and what orders they take."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
import sqlalchemy as sa
from pydicom import Dataset
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from dicom_node.access import Role
from dicom_node.destination import BY_DEFAULT, OverlayLayout, ResultChoice, ResultKind
from dicom_node.journey.ledger import (
    CircuitRow,
    CircuitState,
    ReadingRow,
    ReceivedObject,
    ReturnRow,
    ReturnState,
    Study,
    now,
)
from dicom_node.journey.queue import SET_ASIDE_BY_HAND
from dicom_node.results.compose import compose, save
from dicom_node.results.shelf import ResultShelf
from dicom_node.spool import Spool
from pipeline.radiograph import from_dicom
from tests.pages import Pages, csrf_of, pages
from tests.phantom import PATIENT_ID, make_cr
from tests.readings import READ_AT, make_reading

ODD = "\"><script>alert(1)</script>'é😀"
DESTINATION = "PACS@127.0.0.1:9"


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Pages]:
    with pages(tmp_path, destinations=(DESTINATION,)) as shown:
        yield shown


def add(
    shown: Pages, number: int, *, sender: str = "CR1", state: ReturnState = ReturnState.DELIVERED,
    choice: ResultChoice = BY_DEFAULT, **changes: object,
) -> int:  # fmt: skip
    """One more radiograph, with its files, its reading and its returns; returns its number in the ledger."""
    source = make_cr(extra={"SOPInstanceUID": f"1.2.3.{number}", "StudyInstanceUID": f"1.2.3.{number}.9"})
    journey = f"{number:032x}"
    spool = Spool(shown.settings.spool_dir, minimum_free_bytes=0)
    digest = f"{number:064x}"
    spool.path(digest).parent.mkdir(parents=True, exist_ok=True)
    source.save_as(spool.path(digest), enforce_file_format=True)
    radiograph = from_dicom(source, maximum_pixels=10**7)
    results = compose(
        source, radiograph, make_reading(radiograph.pixels.shape, 0.731), journey=journey, view="PA",
        evidence="ViewPosition=PA", flags=(), read_at=READ_AT, choice=choice,
    )  # fmt: skip
    shelf = ResultShelf(shown.settings.results_dir)
    with Session(shown.engine) as session, session.begin():
        session.add(
            Study(
                study_instance_uid=source.StudyInstanceUID, accession_number=f"ACC{number}", patient_id=PATIENT_ID,
                first_received_at=now(),
            )
        )  # fmt: skip
        session.flush()
        row = ReceivedObject(
            **{
                "sop_instance_uid": str(source.SOPInstanceUID), "digest": digest, "sop_class_uid": source.SOPClassUID,
                "transfer_syntax_uid": "1.2.840.10008.1.2.1", "study_instance_uid": source.StudyInstanceUID,
                "series_instance_uid": "1.2", "size": 10, "calling_ae": sender, "peer_address": "127.0.0.1",
                "received_at": now(), "accepted": True, "view": "PA", "evidence": "ViewPosition=PA",
                "journey": journey, **changes,
            }
        )  # fmt: skip
        session.add(row)
        session.add(
            ReadingRow(
                journey=journey, read_at=now(), score=0.731, verdict="positive", threshold=0.5, lungs_found=True,
                model_name="COVID-XNet", model_version="1.0.0", model_digest="5e" * 32, milliseconds=7.0,
                stages={"decode": 4.0, "classify": 3.0},
            )
        )  # fmt: skip
        session.flush()
        for kind, result in results.objects.items():
            save(result, shelf.path(journey, kind, result.SOPInstanceUID))
            session.add(
                ReturnRow(
                    journey=journey, destination=DESTINATION, kind=kind, sop_class_uid=result.SOPClassUID,
                    sop_instance_uid=result.SOPInstanceUID, state=state, status=0xA700, reason="0xA700: full",
                    changed_at=now(),
                )
            )  # fmt: skip
        return row.id


def states(shown: Pages) -> set[str]:
    with Session(shown.engine) as session:
        return set(session.scalars(sa.select(ReturnRow.state)))


def picture(browser: TestClient, path: str) -> np.ndarray:
    answer = browser.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    decoded = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded is not None
    return np.asarray(decoded)


def test_the_overview_tells_what_came_was_read_and_went_back_today(shown: Pages) -> None:
    add(shown, 1)
    add(shown, 2, state=ReturnState.SET_ASIDE)
    with Session(shown.engine) as session, session.begin():
        session.add(
            CircuitRow(
                destination=DESTINATION, state=CircuitState.OPEN, since=now(), failures=3, openings=1,
                last_error="does not answer", last_contact_at=now(),
            )
        )  # fmt: skip
    text = shown.user("ada", Role.VIEWER).get("/").text
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))
    for said in (
        "2 received",
        "2 read",
        "2 results returned",
        "2 results set aside",
        "2 read in the last hour",
        "away",
    ):
        assert said in words
    assert "does not answer" in words


def test_health_is_shown_to_who_is_signed_in(shown: Pages) -> None:
    text = shown.user("ada", Role.VIEWER).get("/health").text
    assert "can be written" in text
    assert "not well" in text


@pytest.mark.parametrize(("role", "sees"), [(Role.VIEWER, False), (Role.OPERATOR, True), (Role.ADMIN, True)])
def test_who_the_patient_is_is_shown_to_the_roles_of_the_setting_alone(shown: Pages, role: Role, sees: bool) -> None:
    number = add(shown, 1)
    browser = shown.user("ada", role)
    found = browser.post("/worklist", data={"csrf": csrf_of(browser), "search": PATIENT_ID})
    assert (f"/radiographs/{number}" in found.text) is sees, "nor can it be searched for"
    for text in (browser.get("/").text, browser.get("/worklist").text, browser.get(f"/radiographs/{number}").text):
        assert (PATIENT_ID in text) is sees
        assert ("ACC1" in text) is sees


def test_a_radiograph_is_shown_with_its_journey_and_its_report(shown: Pages) -> None:
    number = add(shown, 1)
    text = shown.user("ada", Role.VIEWER).get(f"/radiographs/{number}").text
    for said in (
        "0.731", "COVID-XNet", "ViewPosition=PA", DESTINATION, "0xA700", "delivered", "decode", "1.2.3.1.9",
        "Abnormal opacity", "not for diagnosis",
    ):  # fmt: skip
        assert said in text


def test_a_reading_in_shadow_says_that_nothing_is_sent(shown: Pages) -> None:
    number = add(shown, 1)
    with Session(shown.engine) as session, session.begin():
        session.execute(sa.delete(ReturnRow))
        session.execute(sa.update(ReadingRow).values(shadow=True))
    browser = shown.user("ada", Role.VIEWER)
    assert "in shadow" in browser.get("/worklist").text
    assert "CR1 was not switched on: nothing is sent" in browser.get(f"/radiographs/{number}").text


def test_the_pictures_are_the_radiograph_and_what_was_found_laid_over_it(shown: Pages) -> None:
    browser = shown.user("ada", Role.VIEWER)
    for order, layout in enumerate(OverlayLayout, start=1):
        number = add(shown, order, choice=ResultChoice(objects=tuple(ResultKind)[:2], overlay_layout=layout))
        original = picture(browser, f"/radiographs/{number}/radiograph.png")
        overlay = picture(browser, f"/radiographs/{number}/overlay.png")
        assert original.ndim == 2
        assert overlay.shape[2] == 4
        assert original.shape[0] / original.shape[1] == pytest.approx(overlay.shape[0] / overlay.shape[1], rel=0.01)
        alpha = overlay[..., 3].astype(float) / 255
        height, width = alpha.shape
        assert 0.02 < alpha.mean() < 0.6, "transparent where nothing was found"
        assert alpha[: height // 20].max() == 0, "no captions"
        # The hotter spot of the drawn reading lies in the lower left quarter.
        assert alpha[height // 2 :, : width // 2].sum() > alpha[: height // 2, : width // 2].sum()
        sent = picture(browser, f"/radiographs/{number}/sent.png")
        assert sent.shape[0] / sent.shape[1] != pytest.approx(original.shape[0] / original.shape[1], rel=0.01)


def test_level_and_window_are_applied_to_the_full_depth(shown: Pages) -> None:
    number = add(shown, 1)
    browser = shown.user("ada", Role.VIEWER)
    first = picture(browser, f"/radiographs/{number}/radiograph.png").astype(float) / 255
    narrow = picture(browser, f"/radiographs/{number}/radiograph.png?level=0.5&width=0.2").astype(float) / 255
    expected = np.clip((first - 0.4) / 0.2, 0, 1)
    assert np.abs(narrow - expected).max() < 0.02
    assert len(np.unique(narrow[(narrow > 0) & (narrow < 1)])) > 0
    for wrong in ("level=x", "level=2", "width=0", "width=nan", "level=inf", "width=-1"):
        assert browser.get(f"/radiographs/{number}/radiograph.png?{wrong}").status_code == 400


def test_every_look_at_a_radiograph_and_every_search_is_audited_with_the_user(shown: Pages) -> None:
    number = add(shown, 1)
    browser = shown.user("ada", Role.OPERATOR)
    browser.get(f"/radiographs/{number}")
    browser.get(f"/radiographs/{number}/radiograph.png")
    browser.get(f"/radiographs/{number}/overlay.png")
    form = {"csrf": csrf_of(browser), "search": PATIENT_ID}
    browser.post("/worklist", data=form)
    browser.post("/worklist", data=form)
    lines = shown.audited()
    looks = [(e["what"], e["user"], e["object"]) for e in lines if e["event"] == "DICOM Instances Accessed"]
    assert looks == [(what, "ada", "1.2.3.1") for what in ("page", "radiograph", "overlay")]
    searches = [e for e in lines if e["event"] == "Query"]
    assert [(e["user"], e["found"]) for e in searches] == [("ada", 1)]
    assert PATIENT_ID not in str(lines)


def test_what_was_set_aside_is_returned_again_and_what_waits_is_set_aside_by_operators_alone(shown: Pages) -> None:
    number = add(shown, 1, state=ReturnState.SET_ASIDE)
    viewer, operator = shown.user("vera", Role.VIEWER), shown.user("ada", Role.OPERATOR)
    assert "Return again" not in viewer.get(f"/radiographs/{number}").text
    assert viewer.post(f"/radiographs/{number}/retry", data={"csrf": csrf_of(viewer)}).status_code == 403
    assert states(shown) == {ReturnState.SET_ASIDE}

    form = {"csrf": csrf_of(operator)}
    assert "Return again" in operator.get(f"/radiographs/{number}").text
    assert "2 results will be returned again" in operator.post(f"/radiographs/{number}/retry", data=form).text
    assert states(shown) == {ReturnState.WAITING}
    # Two operators at once: the second finds nothing to do, and is told.
    assert "Nothing was set aside" in operator.post(f"/radiographs/{number}/retry", data=form).text

    assert "2 results are set aside" in operator.post(f"/radiographs/{number}/set-aside", data=form).text
    assert "Nothing was waiting" in operator.post(f"/radiographs/{number}/set-aside", data=form).text
    assert states(shown) == {ReturnState.SET_ASIDE}
    assert SET_ASIDE_BY_HAND in operator.get(f"/radiographs/{number}").text
    said = [e["what"] for e in shown.audited() if ":" in e.get("what", "")]
    assert said == ["retry: 2", "retry: 0", "set-aside: 2", "set-aside: 0"]
    assert operator.post(f"/radiographs/{number}/destroy", data=form).status_code == 404
    assert operator.get(f"/radiographs/{number}/retry").status_code in (404, 405)


def test_what_could_not_be_read_is_not_decoded_here_and_can_be_read_again(shown: Pages) -> None:
    number = add(shown, 1)
    with Session(shown.engine) as session, session.begin():
        session.execute(sa.delete(ReturnRow))
        session.execute(sa.update(ReadingRow).values(failure="It crashed the worker.", score=None, verdict=""))
    browser = shown.user("ada", Role.OPERATOR)
    assert "It crashed the worker." in browser.get(f"/radiographs/{number}").text
    assert browser.get(f"/radiographs/{number}/radiograph.png").status_code == 404
    answer = browser.post(f"/radiographs/{number}/read-again", data={"csrf": csrf_of(browser)})
    assert "It will be read again" in answer.text
    assert "It waits for a worker" in answer.text


def test_what_was_purged_is_told_and_not_an_error(shown: Pages) -> None:
    number = add(shown, 1, purged_at=now())
    browser = shown.user("ada", Role.ADMIN)
    assert "The files were purged" in browser.get(f"/radiographs/{number}").text
    assert browser.get(f"/radiographs/{number}/radiograph.png").status_code == 404
    kept = add(shown, 2)
    Spool(shown.settings.spool_dir, minimum_free_bytes=0).path(f"{2:064x}").write_bytes(b"rotten")
    assert browser.get(f"/radiographs/{kept}").status_code == 200
    assert browser.get(f"/radiographs/{kept}/radiograph.png").status_code == 404


@pytest.mark.parametrize("number", ["0", "9", "99999999999999999999999", "-1", "x", "1.5"])
def test_a_radiograph_that_is_not_there_is_not_found(shown: Pages, number: str) -> None:
    browser = shown.user("ada", Role.ADMIN)
    assert browser.get(f"/radiographs/{number}").status_code == 404
    assert browser.get(f"/radiographs/{number}/overlay.png").status_code == 404


def test_the_worklist_filters_searches_and_goes_on(shown: Pages) -> None:
    first, second = add(shown, 1), add(shown, 2, sender="CR2", state=ReturnState.SET_ASIDE)
    add(shown, 3, accepted=False, journey=None, reason="lateral view", received_at=now() - timedelta(days=3))
    browser = shown.user("ada", Role.OPERATOR)
    form = {"csrf": csrf_of(browser)}

    def found(**fields: str) -> list[int]:
        answer = browser.post("/worklist", data=form | fields)
        assert answer.status_code == 200
        return [int(number) for number in re.findall(r'class="row" href="/radiographs/(\d+)"', answer.text)]

    today = f"{now().astimezone():%Y-%m-%d}"
    assert found() == [3, second, first]
    assert found(standing="not read") == [3]
    assert found(standing="positive") == [second, first]
    assert found(standing="set aside") == [second]
    assert found(standing="returning") == found(standing="waiting") == found(standing="failed") == []
    assert found(sender="CR2") == [second]
    assert found(since=today) == [second, first]
    assert found(until=today, since="2000-01-01") == [3, second, first]
    assert found(search="ACC2") == found(search="1.2.3.2") == found(search="acc2") == [second]
    assert found(search="%") == found(search="_") == found(search="' OR 1=1 --") == found(search=ODD) == []
    assert found(before=str(second)) == [first]
    assert f"/radiographs/{first}" in browser.get("/worklist?search=ACC2").text, "addresses are no place for a search"
    for wrong in ({"since": "yesterday"}, {"standing": "x"}, {"before": "x"}, {"before": "-1"}, {"before": "9" * 30}):
        answer = browser.post("/worklist", data=form | wrong)
        assert answer.status_code == 400
        assert "The filter cannot be read" in answer.text


def test_names_with_quotes_and_markup_are_text_everywhere(tmp_path: Path) -> None:
    with pages(tmp_path, destinations=(f"A'B\"C<i>@{'h'}:104",)) as shown:
        number = add(shown, 1, sender="CR'\"<b>", reason=ODD, detail=ODD, evidence=ODD, flags=[ODD])
        with Session(shown.engine) as session, session.begin():
            session.execute(sa.update(ReturnRow).values(destination="Ü'\"<u>@h:1", reason=ODD))
            session.execute(sa.update(Study).values(patient_id=ODD, accession_number=ODD))
        browser = shown.user("ada", Role.ADMIN)
        for path in ("/", "/worklist", f"/radiographs/{number}", "/peers"):
            text = browser.get(path).text
            assert "<script>alert" not in text
            assert "<b>CR" not in text
            assert "'\"<" not in text
        (link,) = re.findall(r'href="/worklist\?sender=([^"]+)"', browser.get("/peers").text)
        assert f"/radiographs/{number}" in browser.get(f"/worklist?sender={link}").text


def test_a_peer_that_is_away_is_told_and_only_who_is_configured_is_called(shown: Pages) -> None:
    viewer, operator = shown.user("vera", Role.VIEWER), shown.user("ada", Role.OPERATOR)
    assert viewer.post("/peers/echo", data={"csrf": csrf_of(viewer), "peer": DESTINATION}).status_code == 403
    form = {"csrf": csrf_of(operator)}
    assert "does not answer" in operator.post("/peers/echo", data=form | {"peer": DESTINATION}).text
    for other in ("PACS@10.0.0.1:104", "", ODD, "PACS"):
        assert operator.post("/peers/echo", data=form | {"peer": other}).status_code == 404


def test_the_models_are_shown_with_their_cards(shown: Pages) -> None:
    browser = shown.user("ada", Role.VIEWER)
    assert "not commissioned" in browser.get("/models").text
    for name in ("covid_xnet", "lung_unet", "rib_suppression"):
        assert f"/models/{name}" in browser.get("/models").text
        assert "<table>" in browser.get(f"/models/{name}").text
    assert browser.get("/models/nothing").status_code == 404


def test_the_viewer_of_the_pacs_is_linked_by_the_setting(tmp_path: Path) -> None:
    address = "https://pacs.example/v?study={study}&acc={accession}"
    with pages(tmp_path, destinations=(DESTINATION,), web_viewer_url=address) as shown:
        number = add(shown, 1)
        link = "https://pacs.example/v?study=1.2.3.1.9&amp;acc="
        assert f'href="{link}ACC1"' in shown.user("ada", Role.ADMIN).get(f"/radiographs/{number}").text
        assert f'href="{link}"' in shown.user("vera", Role.VIEWER).get(f"/radiographs/{number}").text


def test_the_pages_of_a_radiograph_hold_nothing_that_the_policy_forbids(shown: Pages) -> None:
    number = add(shown, 1, state=ReturnState.SET_ASIDE)
    browser = shown.user("ada", Role.ADMIN)
    for path in ("/", "/worklist", "/peers", "/models", "/models/covid_xnet", "/health", f"/radiographs/{number}"):
        text = browser.get(path).text
        assert " style=" not in text
        assert not re.search(r"\son[a-z]+=", text)
        assert "<script>" not in text
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', text)


def test_a_dataset_without_a_report_or_with_a_strange_one_is_shown_all_the_same(shown: Pages) -> None:
    number = add(shown, 1)
    folder = ResultShelf(shown.settings.results_dir).folder(f"{1:032x}")
    browser = shown.user("ada", Role.ADMIN)
    (report,) = folder.glob("report-*.dcm")
    strange = Dataset()
    strange.file_meta = make_cr().file_meta
    strange.ContentSequence = [Dataset()]
    strange.ContentSequence[0].ValueType = "IMAGE"
    strange.save_as(report, enforce_file_format=True)
    assert browser.get(f"/radiographs/{number}").status_code == 200
    for file in folder.iterdir():
        file.unlink()
    assert browser.get(f"/radiographs/{number}").status_code == 200
    assert browser.get(f"/radiographs/{number}/overlay.png").status_code == 404
