"""Pictures of the dashboard for the handbook: `python -m tests.screenshots deploy/handbook`."""

import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from dicom_node.demo.orthanc import running_orthanc
from dicom_node.demo.radiographs import real_radiographs
from tests.browser import SHOWN, Hospital, chromium, hospital, sign_in, until
from tests.listening import wait_until

COLOURS = 96
"""Of a picture: enough for a page, and a fifth of the size."""


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch, hospital(Path(scratch)) as here, chromium() as browser:
        archive = running_orthanc(Path(scratch) / "archive", ae_title="ARCHIVE", port=here.archive.port)
        with archive:
            here.node.command("send", str(here.node.peer), *map(str, real_radiographs()))
            wait_until(lambda: here.node.status()["counts"]["returned"] == 8, seconds=120)
        take(browser, here, folder)


def take(browser: Browser, here: Hospital, folder: Path) -> None:
    page = browser.new_page(viewport={"width": 1320, "height": 820}, color_scheme="dark")
    sign_in(page, here)
    page.get_by_text("answers C-ECHO").wait_for()
    shoot(page, folder / "dashboard-overview.png")
    page.goto(f"{here.address}/worklist")
    shoot(page, folder / "dashboard-worklist.png")
    page.goto(f"{here.address}/radiographs/1")
    until(page, SHOWN)
    shoot(page, folder / "dashboard-radiograph.png")
    page.set_viewport_size({"width": 390, "height": 844})
    shoot(page, folder / "dashboard-phone.png")
    page.set_viewport_size({"width": 1320, "height": 820})
    page.emulate_media(color_scheme="light")
    page.goto(f"{here.address}/")
    page.get_by_text("answers C-ECHO").wait_for()
    shoot(page, folder / "dashboard-light.png")


def shoot(page: Page, file: Path) -> None:
    """Take a picture, and make it small."""
    page.screenshot(path=file)
    with Image.open(file) as picture:
        few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(file, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
