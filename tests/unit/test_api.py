"""What the API tells of a ledger, to which token, and what orders it takes."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from dicom_node.access import Role
from dicom_node.journey.ledger import CircuitRow, CircuitState, ReadingRow, ReturnRow, ReturnState, now
from dicom_node.web.api.guard import Guard
from dicom_node.web.gatehouse import LARGEST_FORM
from tests.pages import Pages, pages
from tests.phantom import PATIENT_ID
from tests.unit.test_pages import DESTINATION, ODD, add, states

ROLES = {
    ("GET", "/overview"): Role.VIEWER,
    ("GET", "/health"): Role.VIEWER,
    ("GET", "/radiographs"): Role.VIEWER,
    ("POST", "/radiographs/search"): Role.VIEWER,
    ("GET", "/radiographs/{number}"): Role.VIEWER,
    ("POST", "/radiographs/{number}/{order}"): Role.OPERATOR,
    ("GET", "/peers"): Role.VIEWER,
    ("POST", "/peers/echo"): Role.OPERATOR,
    ("GET", "/models"): Role.VIEWER,
    ("GET", "/models/{name}"): Role.VIEWER,
}
BODIES = {"/radiographs/search": {}, "/peers/echo": {"peer": DESTINATION}}


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Pages]:
    with pages(tmp_path, destinations=(DESTINATION,)) as shown:
        yield shown


def guard_of(shown: Pages) -> Guard:
    guard = shown.app.state.api.state.guard
    assert isinstance(guard, Guard)
    return guard


def program(shown: Pages, role: Role, name: str = "ris") -> TestClient:
    """A program with a new token of this name."""
    secret = guard_of(shown).tokens.add(name, role, days=1)
    return shown.browser(headers={"authorization": f"Bearer {secret}"}, base_url="http://node.example/api")


def test_every_endpoint_asks_for_a_token_of_its_role(shown: Pages) -> None:
    number = add(shown, 1)
    stranger = shown.browser(base_url="http://node.example/api")
    described = stranger.get("/openapi.json").json()
    assert {(method.upper(), path) for path, methods in described["paths"].items() for method in methods} == set(ROLES)
    programs = {role: program(shown, role, role) for role in Role}
    for (method, path), needed in ROLES.items():
        asked = path.format(number=number, order="retry", name="covid_xnet")
        body = BODIES.get(path)
        answer = stranger.request(method, asked, json=body)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
        for role, caller in programs.items():
            code = caller.request(method, asked, json=body).status_code
            assert code == (200 if role.may(needed) else 403), (path, role)
        said = described["paths"][path][method.lower()]
        assert said.get("x-role", "viewer") == needed
        assert said["security"] == [{"token": []}]


def test_the_cookie_of_a_browser_opens_nothing_here_and_a_token_no_page(shown: Pages) -> None:
    assert shown.user("ada", Role.ADMIN).get("/api/overview").status_code == 401
    secret = guard_of(shown).tokens.add("ris", Role.ADMIN, days=1)
    answer = shown.browser(headers={"authorization": f"Bearer {secret}"}).get("/worklist")
    assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/sign-in")


def test_a_removed_token_is_out_at_once(shown: Pages) -> None:
    caller = program(shown, Role.VIEWER, ODD)
    assert caller.get("/overview").status_code == 200
    guard_of(shown).tokens.remove(ODD)
    answer = caller.get("/overview")
    assert answer.status_code == 401
    assert "covid-xnet tokens" in answer.json()["remedy"]


def test_wrong_tokens_are_answered_429_after_a_while_and_right_ones_never(shown: Pages) -> None:
    caller, stranger = program(shown, Role.VIEWER), shown.browser()
    wrong = {"authorization": "Bearer cxn_wrong"}
    codes = [stranger.get("/api/overview", headers=wrong).status_code for _ in range(6)]
    assert codes == [401] * 5 + [429]
    others = [stranger.get("/api/overview", headers={"authorization": f"Bearer {n}"}).status_code for n in range(40)]
    assert others[:25] == [401] * 25
    assert others[25:] == [429] * 15
    answer = stranger.get("/api/overview", headers=wrong)
    assert 0 < int(answer.headers["retry-after"]) <= 300
    assert caller.get("/overview").status_code == 200
    said = {(entry["what"], entry["outcome"]) for entry in shown.audited() if entry["event"] == "User Authentication"}
    assert said == {("token", 4), ("too many tokens", 8)}


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "cxn_x", "Bearer é", "Bearer " + "x" * 9000])
def test_a_header_that_is_no_token_opens_nothing(shown: Pages, header: str) -> None:
    answer = shown.browser().get("/api/overview", headers=[(b"authorization", header.encode("latin-1"))])
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


def test_the_overview_counts_and_names_what_waits_and_who_is_away(shown: Pages) -> None:
    add(shown, 1)
    add(shown, 2, state=ReturnState.SET_ASIDE)
    with Session(shown.engine) as session, session.begin():
        session.add(CircuitRow(destination=DESTINATION, state=CircuitState.OPEN, since=now(), last_error="away"))
    said = program(shown, Role.VIEWER).get("/overview").json()
    assert (said["counts"]["received"], said["counts"]["set aside"], said["today"]["read"]) == (2, 2, 2)
    assert said["ages"] == {"reading": 0.0, "return": 0.0}
    assert 0 < said["disk"]["free"] <= said["disk"]["total"]
    (destination,) = said["destinations"]
    assert (destination["name"], destination["circuit"], destination["last_error"]) == (DESTINATION, "open", "away")


def test_the_health_names_the_remedy_of_what_is_not_well(shown: Pages) -> None:
    answer = program(shown, Role.VIEWER).get("/health")
    said = answer.json()
    assert (answer.status_code, said["well"], said["ready"]) == (200, False, False)
    checks = {check["name"]: check for check in said["checks"]}
    assert checks["database"]["well"]
    assert not checks["workers"]["well"]
    assert checks["listener"]["remedy"]


def test_the_worklist_filters_and_pages(shown: Pages) -> None:
    numbers = [add(shown, n, sender="CR1" if n % 2 else "CR2") for n in range(1, 4)]
    caller = program(shown, Role.VIEWER)

    def listed(query: str) -> list[int]:
        return [item["received"]["id"] for item in caller.get(f"/radiographs?{query}").json()["radiographs"]]

    assert listed("") == numbers[::-1]
    assert listed("sender=CR2") == [numbers[1]]
    assert listed("standing=positive&before=" + str(numbers[2])) == numbers[1::-1]
    assert listed("standing=waiting") == []
    assert listed("since=0001-01-01&until=9999-12-31") == numbers[::-1]
    assert listed(f"since={(now() + timedelta(days=2)).date()}") == []
    with Session(shown.engine) as session, session.begin():
        row = session.scalars(sa.select(ReadingRow)).first()
        assert row is not None
        row.verdict = "negative"
    assert len(listed("standing=positive")) == 2


def test_who_a_patient_is_stands_only_where_the_role_may_know(shown: Pages) -> None:
    number = add(shown, 1)
    operator, viewer = program(shown, Role.OPERATOR, "ris"), program(shown, Role.VIEWER, "monitor")
    told = operator.get(f"/radiographs/{number}").json()["patient"]
    assert (told["PatientID"], told["AccessionNumber"]) == (PATIENT_ID, "SYNACC1")
    assert told["PatientName"]
    assert operator.get("/radiographs").json()["radiographs"][0]["patient"]["PatientID"] == PATIENT_ID
    assert len(operator.post("/radiographs/search", json={"search": PATIENT_ID}).json()["radiographs"]) == 1
    for text in (viewer.get(f"/radiographs/{number}").text, viewer.get("/radiographs").text):
        assert '"patient":null' in text
        assert PATIENT_ID not in text
        assert told["PatientName"] not in text
    assert viewer.post("/radiographs/search", json={"search": PATIENT_ID}).json()["radiographs"] == []
    assert len(viewer.post("/radiographs/search", json={"search": "1.2.3.1"}).json()["radiographs"]) == 1


def test_one_journey_is_told_with_everything_and_audited_with_the_name_of_the_token(shown: Pages) -> None:
    number = add(shown, 1)
    said = program(shown, Role.VIEWER, ODD).get(f"/radiographs/{number}").json()
    assert (said["standing"], said["received"]["evidence"]) == ("positive", "ViewPosition=PA")
    reading = said["reading"]
    assert (reading["verdict"], reading["score"], reading["threshold"]) == ("positive", 0.731, 0.5)
    assert reading["stages"] == {"decode": 4.0, "classify": 3.0}
    for result in said["returns"]:
        assert (result["destination"], result["state"], result["status"]) == (DESTINATION, "delivered", 0xA700)
        assert result["proof"] == ""
    assert {result["kind"] for result in said["returns"]} == {"overlay", "report"}
    assert said["received"]["received_at"].endswith("Z")
    (entry,) = [entry for entry in shown.audited() if entry["event"] == "DICOM Instances Accessed"]
    assert (entry["token"], entry["what"], entry["object"]) == (ODD, "api", "1.2.3.1")


def test_an_operator_retries_and_sets_aside_and_who_comes_second_changes_nothing(shown: Pages) -> None:
    number = add(shown, 1, state=ReturnState.SET_ASIDE)
    caller = program(shown, Role.OPERATOR)
    assert caller.post(f"/radiographs/{number}/retry").json() == {"order": "retry", "number": 2}
    assert states(shown) == {ReturnState.WAITING}
    assert caller.post(f"/radiographs/{number}/retry").json()["number"] == 0
    assert caller.post(f"/radiographs/{number}/set-aside").json()["number"] == 2
    assert states(shown) == {ReturnState.SET_ASIDE}
    assert caller.post(f"/radiographs/{number}/read-again").json()["number"] == 0
    assert caller.post(f"/radiographs/{number + 1}/retry").status_code == 404
    whats = [entry["what"] for entry in shown.audited() if entry["event"] == "DICOM Instances Accessed"]
    assert whats == ["retry: 2", "retry: 0", "set-aside: 2", "read-again: 0"]


def test_an_echo_goes_only_to_a_configured_destination(shown: Pages) -> None:
    caller = program(shown, Role.OPERATOR)
    said = caller.post("/peers/echo", json={"peer": DESTINATION}).json()
    assert (said["peer"], said["well"]) == (DESTINATION, False)
    assert "does not answer" in said["answer"]
    for peer in ("PACS@127.0.0.1:22", ODD, ""):
        assert caller.post("/peers/echo", json={"peer": peer}).status_code == 404
    assert caller.get("/peers").json()["destinations"][0]["configured"]


def test_the_networks_are_told_with_card_and_evaluation(shown: Pages) -> None:
    caller = program(shown, Role.VIEWER)
    said = caller.get("/models").json()
    assert "covid_xnet" in {model["name"] for model in said["models"]}
    assert said["commissioning"] is None
    card = caller.get("/models/covid_xnet").json()
    assert "Not for diagnosis" in card["card"]
    assert card["evaluation"]["recipe"]["digest"] == card["model"]["operating_point"]["recipe_digest"]
    assert caller.get("/models/nothing").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/radiographs?before=x", None, 422), ("GET", "/radiographs?before=99999999999999999999", None, 422),
        ("GET", "/radiographs?befor=1", None, 422), ("GET", "/radiographs?sender=%00", None, 422),
        ("GET", "/radiographs?since=2026-02-30", None, 422), ("GET", "/radiographs?until=0.0", None, 422),
        ("POST", "/radiographs/search", b'{"since": 0}', 422), ("GET", "/radiographs/0", None, 422),
        ("GET", "/radiographs/99999999999999999999", None, 422), ("POST", "/radiographs/1/burn", None, 422),
        ("POST", "/radiographs/search", b'{"search": "\\ud800"}', 422), ("POST", "/radiographs/search", b"{", 422),
        ("POST", "/radiographs/search", b'{"\\ud800": 1}', 422), ("POST", "/radiographs/search", b'{"\xff": 1}', 400),
        ("POST", "/peers/echo", b"[" * 5000, 400), ("POST", "/peers/echo", b" " * (LARGEST_FORM + 1), 413),
        ("GET", "/nothing", None, 404), ("GET", "/models/a%0Ab", None, 404), ("DELETE", "/overview", None, 405),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_answered_with_a_problem_that_names_a_remedy(
    shown: Pages, method: str, path: str, body: bytes | None, code: int
) -> None:
    answer = program(shown, Role.ADMIN).request(
        method, path, content=body, headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.headers["content-type"]) == (code, "application/problem+json")
    said = answer.json()
    assert said["status"] == code
    assert said["detail"]
    assert said["remedy"]
    assert "Traceback" not in answer.text


def test_a_ledger_that_cannot_be_read_is_told_as_a_problem(shown: Pages) -> None:
    caller = program(shown, Role.VIEWER)
    with shown.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE received RENAME TO away")
    answer = caller.get("/overview")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert "covid-xnet health" in answer.json()["remedy"]


def test_the_page_that_describes_it_names_every_endpoint_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    with pages(tmp_path, web_root_path="/covid-xnet") as shown:
        browser = shown.browser(root_path="/covid-xnet", base_url="https://node.example/covid-xnet")
        text = browser.get("/api/").text
        for method, path in ROLES:
            assert f"{method} /api{path}<" in text
        assert 'href="/covid-xnet/static/style.css' in text
        assert 'href="/covid-xnet/api/openapi.json"' in text
        assert "http://" not in text
        assert "https://" not in text
        assert " style=" not in text
        assert json.loads(browser.get("/api/openapi.json").text)["servers"] == [{"url": "/covid-xnet/api"}]


def test_a_name_of_a_patient_or_a_peer_that_is_odd_is_told_as_it_is(shown: Pages) -> None:
    number = add(shown, 1, calling_ae="<b>'\"&")
    with Session(shown.engine) as session, session.begin():
        session.execute(sa.update(ReturnRow).values(reason=ODD))
    said = program(shown, Role.VIEWER).get(f"/radiographs/{number}").json()
    assert said["received"]["calling_ae"] == "<b>'\"&"
    assert {result["reason"] for result in said["returns"]} == {ODD}
