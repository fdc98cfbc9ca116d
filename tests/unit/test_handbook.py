"""The handbook as a site: every link leads somewhere, every page is in the contents, and no page asks another host."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# What a browser would fetch from elsewhere by itself; links to click are fine.
LOADED = re.compile(r"""<(?:script|img|iframe|source|link)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//""")
CANONICAL = re.compile(r'<link rel="(?:canonical|prev|next)"[^>]*>')


def test_the_handbook_is_built_without_a_warning_and_its_pages_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pages = {str(page.relative_to(tmp_path)): page.read_text("utf-8") for page in tmp_path.rglob("*.html")}
    assert {"index.html", "handbook/start.html", "handbook/conformance.html", "orthanc/index.html"} <= set(pages)
    assert [name for name, text in pages.items() if LOADED.search(CANONICAL.sub("", text))] == []
