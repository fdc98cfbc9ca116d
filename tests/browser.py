"""A node beside Orthanc, and somebody in front of it with Debian's Chromium."""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from dicom_node.demo.node import RunningNode, running_node
from dicom_node.demo.orthanc import Orthanc, free_port, running_orthanc
from dicom_node.peers import Peer
from tests.listening import wait_until
from tests.pages import PASSWORD

PATIENCE = 60_000.0
"""Milliseconds that a page may take on a crowded machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hospital:
    """A node that returns to a PACS and to an archive, which nobody has switched on yet."""

    node: RunningNode
    pacs: Orthanc
    archive: Peer
    address: str

    def one_time_password(self) -> str:
        """As it was printed at the first start."""
        found = re.search(r"one-time password ([0-9a-f-]{24})", self.node.log.read_text())
        assert found is not None
        return found[1]


@contextmanager
def hospital(folder: Path) -> Iterator[Hospital]:
    """Run the node and its PACS until the end of the block."""
    port, archive = free_port(), Peer("ARCHIVE", "127.0.0.1", free_port())
    with running_orthanc(folder / "pacs", ae_title="PACS") as pacs:
        settings = {
            "ae_title": "COVIDXNET", "port": free_port(), "workers": 1, "minimum_free_megabytes": 1, "web_port": port,
            "destinations": [str(pacs.peer), str(archive)], "network_timeout": 5.0, "retry_seconds": 0.5,
            "web_viewer_url": f"http://127.0.0.1:{pacs.http_port}/app/explorer.html#study?uid={{study}}",
        }  # fmt: skip
        with running_node(folder / "node", settings) as node:
            wait_until(lambda: "one-time password" in node.log.read_text(), seconds=60)
            yield Hospital(node=node, pacs=pacs, archive=archive, address=f"http://127.0.0.1:{port}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium without a window."""
    program = shutil.which("chromium")
    assert program is not None, "chromium is missing: apt-get install chromium"
    with sync_playwright() as playwright:
        # A container's root has no sandbox of its own to offer.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


def sign_in(page: Page, hospital: Hospital) -> None:
    """Sign in for the first time, and choose a password."""
    page.set_default_timeout(PATIENCE)
    page.goto(hospital.address)
    first = hospital.one_time_password()
    for password in (first, PASSWORD):
        page.get_by_label("Name").fill("admin")
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        if password == first:
            page.get_by_label("Old password").fill(first)
            page.get_by_label("New password", exact=True).fill(PASSWORD)
            page.get_by_label("New password again").fill(PASSWORD)
            page.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="Today").wait_for()


def until(page: Page, expression: str) -> None:
    """Wait until a JavaScript expression is true; Playwright's own way is what the pages' policy forbids."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(100)


SHOWN = "[...document.images].every((image) => image.complete && image.naturalWidth > 0)"
"""Whether all pictures of a page are there."""
