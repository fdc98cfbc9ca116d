"""Somebody works with the dashboard, in a real browser, on a node that runs beside Orthanc."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from dicom_node.demo.orthanc import running_orthanc
from tests.browser import PATIENCE, SHOWN, chromium, hospital, sign_in, until
from tests.listening import wait_until
from tests.peers.modality import Modality
from tests.phantom import make_cr

pytestmark = pytest.mark.slow

HEAVIEST_PAGE = 200_000
"""Bytes of a page with its files, without the pictures of a radiograph."""


def serious(page: Page) -> list[str]:
    """What axe finds that keeps people out."""
    found = Axe().run(page).response["violations"]
    return [
        f"{v['id']}: {n['html'][:200]} {n['failureSummary']}"
        for v in found
        if v["impact"] in ("serious", "critical")
        for n in v["nodes"]
    ]


def test_an_operator_sees_a_study_arrive_looks_at_it_and_brings_its_results_home(tmp_path: Path) -> None:
    with hospital(tmp_path) as here, chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        problems: list[str] = []
        foreign: list[str] = []
        page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: problems.append(str(e)))
        page.on("request", lambda r: None if r.url.startswith(here.address) else foreign.append(r.url))
        sign_in(page, here)
        expect(page.locator("#live")).to_have_text("live", timeout=PATIENCE)
        expect(page.get_by_text("Nothing was received yet")).to_be_visible()
        axe = {"empty overview": serious(page)}

        # A study arrives while somebody looks on.
        Modality(here.node.peer).send([make_cr()])
        expect(page.locator(".walk li").nth(0)).to_contain_text("1 received", timeout=PATIENCE)
        expect(page.locator(".walk li").nth(1)).to_contain_text("1 read", timeout=PATIENCE)
        wait_until(lambda: len(here.pacs.instances()) == 2, seconds=60)
        expect(page.get_by_text("away")).to_be_visible(timeout=PATIENCE)
        axe["overview"] = serious(page)

        page.get_by_role("link", name="Worklist").click()
        page.locator("a.row").click()
        slider = page.get_by_label("Overlay")
        expect(slider).to_be_visible()
        overlay = page.locator("#overlay")
        until(page, SHOWN)
        assert overlay.evaluate("image => getComputedStyle(image).opacity") == "0.7"
        slider.focus()
        page.keyboard.press("Home")
        assert overlay.evaluate("image => image.style.opacity") == "0"
        page.keyboard.press("End")
        assert overlay.evaluate("image => image.style.opacity") == "1"
        page.get_by_label("Window").fill("40")
        until(page, "document.getElementById('original').src.includes('width=0.4')")
        page.get_by_role("button", name="Reset").click()
        until(page, "document.getElementById('original').src.includes('width=1')")
        axe["radiograph"] = serious(page)

        # The archive is away: set its results aside, switch it on, call it, and send them again.
        radiograph = page.url
        page.get_by_role("button", name="Set aside").click()
        expect(page.get_by_text("2 results are set aside.")).to_be_visible()
        with running_orthanc(tmp_path / "archive", ae_title="ARCHIVE", port=here.archive.port) as archive:
            page.get_by_role("link", name="Peers").click()
            page.get_by_role("button", name=f"Echo {here.archive}").click()
            expect(page.locator("#answer")).to_contain_text("answers C-ECHO", timeout=PATIENCE)
            axe["peers"] = serious(page)
            page.goto(radiograph)
            page.get_by_role("button", name="Return again").click()
            expect(page.get_by_text("2 results will be returned again.")).to_be_visible()
            wait_until(lambda: len(archive.instances()) == 2, seconds=120)
            wait_until(lambda: here.node.status()["counts"]["returned"] == 4, seconds=120)
            page.reload()
            expect(page.locator(".journey .state.good")).to_have_count(4)

        for path in ("/worklist", "/models", "/models/covid_xnet", "/health", "/password", "/nothing"):
            page.goto(here.address + path)
            axe[path] = serious(page)
        assert not any("Refused" in problem or "Content Security" in problem for problem in problems), problems
        assert [p for p in problems if "404" not in p] == []
        assert foreign == []

        # In the dark, and on a telephone.
        page.get_by_role("button", name="Dark or light").click()
        assert page.locator("html").get_attribute("data-theme") == "dark"
        page.set_viewport_size({"width": 360, "height": 740})
        for path in ("/", "/worklist", "/peers", radiograph.removeprefix(here.address)):
            page.goto(here.address + path)
            until(page, SHOWN)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path} is too wide"
            axe[f"dark {path}"] = serious(page)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        axe["sign-in"] = serious(page)
        assert {where: found for where, found in axe.items() if found} == {}


def test_a_page_weighs_little_and_who_is_removed_sees_no_more(tmp_path: Path) -> None:
    with hospital(tmp_path) as here, chromium() as browser:
        context = browser.new_context()
        sign_in(context.new_page(), here)
        here.node.command("users", "add", "root", "--role", "admin")
        weights: list[int] = []
        page = context.new_page()
        page.on("requestfinished", lambda r: weights.append(r.sizes()["responseBodySize"]))
        page.goto(here.address)
        page.get_by_role("rowheader", name="database").wait_for(timeout=PATIENCE)
        assert 0 < sum(weights) < HEAVIEST_PAGE
        here.node.command("users", "remove", "admin")
        page.get_by_role("link", name="Worklist").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
