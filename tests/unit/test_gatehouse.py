"""Who is let into the pages, and what every answer carries."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from dicom_node.access import Role
from dicom_node.web.gatehouse import COOKIE, LARGEST_FORM, next_page
from tests.pages import PASSWORD, Pages, csrf_of, pages

OPEN = {"/health/live", "/health/ready", "/metrics", "/sign-in", "/static/{name}"}


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Pages]:
    with pages(tmp_path) as shown:
        yield shown


def sign_in(browser: TestClient, name: str, password: str, **more: str) -> int:
    return browser.post("/sign-in", data={"name": name, "password": password, **more}).status_code


def test_nothing_but_health_and_sign_in_is_shown_to_strangers(shown: Pages) -> None:
    stranger = shown.browser()
    guarded = [route for route in shown.app.routes if isinstance(route, Route) and route.path not in OPEN]
    assert len(guarded) >= 3
    for route in guarded:
        path = (
            route.path.replace("{id:int}", "1")
            .replace("{name}", "x")
            .replace("{picture}", "x")
            .replace("{action}", "x")
        )
        for method in (route.methods or set()) - {"HEAD"}:
            answer = stranger.request(method, path)
            if path == "/live":
                assert (answer.status_code, answer.content) == (204, b"")  # tells EventSource not to come again
                continue
            assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/sign-in"), path
            assert "set-cookie" not in answer.headers


def test_an_invented_cookie_opens_nothing(shown: Pages) -> None:
    for value in ("x", "../../etc", "' OR 1=1 --", "x" * 5000):
        stranger = shown.browser()
        stranger.cookies.set(COOKIE, value)
        assert stranger.get("/").status_code == 303


def test_signing_in_gives_a_cookie_that_scripts_and_other_sites_cannot_use(shown: Pages) -> None:
    browser = shown.browser(base_url="https://node.example")
    assert sign_in(browser, "ada", shown.accounts.add("ada", Role.ADMIN), next="/peers") == 303
    answer = browser.post("/sign-in", data={"name": "ada", "password": "wrong"})
    assert answer.status_code == 401
    cookie = shown.browser(base_url="http://node.example").post(
        "/sign-in", data={"name": "ada", "password": shown.accounts.reset("ada")}
    ).headers["set-cookie"]  # fmt: skip
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    again = shown.browser(base_url="https://node.example")
    answer = again.post("/sign-in", data={"name": "ada", "password": shown.accounts.reset("ada")})
    assert "Secure" in answer.headers["set-cookie"]


def test_a_one_time_password_opens_nothing_but_the_choice_of_another(shown: Pages) -> None:
    browser = shown.browser()
    first = shown.accounts.add("ada", Role.ADMIN)
    assert sign_in(browser, "ada", first) == 303
    assert browser.get("/").headers["location"] == "/password"
    form = {"csrf": csrf_of(browser), "old": first, "new": PASSWORD, "again": PASSWORD}
    assert browser.post("/password", data=form | {"again": "other"}).status_code == 422
    assert browser.post("/password", data=form | {"new": "x", "again": "x"}).status_code == 422
    answer = browser.post("/password", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert browser.get("/").status_code == 303, "all sessions have ended"
    assert sign_in(browser, "ada", PASSWORD) == 303
    assert browser.get("/").status_code == 200


def test_a_removed_user_is_out_at_once_and_another_role_holds_at_once(shown: Pages) -> None:
    shown.accounts.add("root", Role.ADMIN)
    browser = shown.user("ada", Role.VIEWER)
    assert browser.get("/").status_code == 200
    shown.accounts.set_role("ada", Role.OPERATOR)
    assert "operator" in browser.get("/").text
    shown.accounts.remove("ada")
    assert browser.get("/").headers["location"] == "/sign-in"
    shown.accounts.add("ada", Role.ADMIN)
    assert browser.get("/").status_code == 303, "not even if the name comes back"


@pytest.mark.parametrize("token", [None, "", "x", "é"])
def test_a_form_without_its_token_changes_nothing(shown: Pages, token: str | None) -> None:
    browser = shown.user("ada", Role.ADMIN)
    answer = browser.post("/sign-out", data={} if token is None else {"csrf": token})
    assert answer.status_code == 403
    assert browser.get("/").status_code == 200
    assert shown.audited()[-1]["alert"] == "form not from our page"


def test_a_form_from_another_site_is_refused_even_with_its_token(shown: Pages) -> None:
    browser = shown.user("ada", Role.ADMIN)
    form = {"csrf": csrf_of(browser)}
    for site in ("cross-site", "same-site"):
        assert browser.post("/sign-out", data=form, headers={"sec-fetch-site": site}).status_code == 403
        assert browser.post("/sign-in", data={}, headers={"sec-fetch-site": site}).status_code == 403
    assert browser.post("/sign-out", data=form).status_code == 303
    assert browser.get("/").status_code == 303


def test_the_token_of_another_session_is_none(shown: Pages) -> None:
    ada, eve = shown.user("ada", Role.ADMIN), shown.user("eve", Role.VIEWER)
    assert eve.post("/sign-out", data={"csrf": csrf_of(ada)}).status_code == 403


def test_who_guesses_is_stopped_also_with_the_right_password(shown: Pages) -> None:
    shown.user("ada", Role.ADMIN)
    browser = shown.browser()
    assert [sign_in(browser, "ada", "wrong") for _ in range(6)] == [401, 401, 401, 401, 401, 429]
    answer = browser.post("/sign-in", data={"name": "ada", "password": PASSWORD})
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 300
    said = [(e["what"], e["outcome"], e["user"]) for e in shown.audited() if e["event"] == "User Authentication"]
    assert ("sign-in", 4, "ada") in said
    assert ("too many tries", 8, "ada") in said


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"\xff\xfe=\xff", 400), (b"a=1&" * 60, 400), (b"x=" + b"y" * LARGEST_FORM, 413), (b"=&&;==%%%", 401)],
)
def test_a_form_that_is_none_is_refused_with_one_sentence(shown: Pages, body: bytes, code: int) -> None:
    answer = shown.browser().post("/sign-in", content=body)
    assert answer.status_code == code
    assert "Traceback" not in answer.text


def test_every_answer_forbids_foreign_content_frames_and_caches(shown: Pages) -> None:
    browser = shown.user("ada", Role.ADMIN)
    for path in ("/", "/sign-in", "/nothing-here", "/health/live"):
        headers = browser.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
    assert "immutable" in browser.get("/static/style.css").headers["cache-control"]
    for path in ("/static/../accounts.py", "/static/%2e%2e/accounts.py", "/static/nothing"):
        assert browser.get(path).status_code == 404


def test_no_page_holds_script_or_style_that_the_policy_forbids(shown: Pages) -> None:
    browser = shown.user("ada", Role.ADMIN)
    for path in ("/", "/sign-in", "/password", "/nothing-here"):
        text = browser.get(path).text
        assert " style=" not in text
        assert " onclick=" not in text
        assert "<script>" not in text
        assert "http://" not in text
        assert "https://" not in text


def test_a_name_that_is_markup_is_shown_as_text(shown: Pages) -> None:
    browser = shown.user("<img src=x>'\"", Role.ADMIN)
    assert "<img src=x>" not in browser.get("/").text
    assert "&lt;img src=x&gt;" in browser.get("/").text
    assert "<b>" not in shown.browser().post("/sign-in", data={"name": "<b>", "password": "x"}).text


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("/worklist", "/worklist"), ("/radiographs/1", "/radiographs/1"), ("//evil.example", "/"), ("", "/"),
        ("https://evil.example", "/"), ("/\\evil.example", "/"), ("javascript:alert(1)", "/"), ("/a\r\nb", "/"),
        ("worklist", "/"),
    ],
)  # fmt: skip
def test_after_signing_in_nobody_is_sent_elsewhere(text: str, page: str) -> None:
    assert next_page(text) == page


def test_htmx_is_sent_to_the_sign_in_page_instead_of_showing_it_inside_another(shown: Pages) -> None:
    answer = shown.browser().get("/", headers={"hx-request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (204, "/sign-in")


def test_behind_a_proxy_every_address_has_its_path(tmp_path: Path) -> None:
    with pages(tmp_path, web_root_path="/covid-xnet") as shown:
        # As uvicorn hands it on: the path with the root path before it.
        browser = shown.browser(root_path="/covid-xnet", base_url="https://node.example/covid-xnet")
        assert browser.get("/").headers["location"] == "/covid-xnet/sign-in"
        text = browser.get("/sign-in").text
        assert 'action="/covid-xnet/sign-in"' in text
        assert 'href="/covid-xnet/static/style.css' in text
        answer = browser.post("/sign-in", data={"name": "ada", "password": shown.accounts.add("ada", Role.ADMIN)})
        assert answer.headers["location"] == "/covid-xnet/"
        assert "Path=/covid-xnet" in answer.headers["set-cookie"]


def test_a_ledger_that_cannot_be_read_is_told_in_one_sentence(shown: Pages) -> None:
    browser = shown.user("ada", Role.ADMIN)
    with shown.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE web_sessions RENAME TO away")
    answer = browser.get("/")
    assert answer.status_code == 503
    assert "The ledger cannot be read now" in answer.text
