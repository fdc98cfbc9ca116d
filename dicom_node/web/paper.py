"""What pages are written on: the templates, and how times, numbers and names look in them."""

import hashlib
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dicom_node import __version__
from dicom_node.journey.ledger import utc
from dicom_node.settings import Settings

STATIC: Final = Path(__file__).with_name("static")
_TEMPLATES: Final = Path(__file__).with_name("templates")


class Paper:
    """Writes templates. Whatever peers and people wrote is escaped."""

    def __init__(self, settings: Settings) -> None:
        self._title = settings.ae_title

    def write(self, template: str, **values: Any) -> str:
        """The text of a template."""
        return _environment().get_template(template).render(title=self._title, **values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals |= {"version": __version__, "file": static_address, "user": None}
    environment.filters |= {"when": when, "clock": clock, "size": size, "span": span, "quoted": quoted}
    return environment


@cache
def static_address(name: str) -> str:
    """Path of a static file, with a mark of its content, so that browsers may keep it."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?{digest}"


def local(moment: datetime) -> datetime:
    """A moment of the ledger on the clock of the node."""
    return utc(moment).astimezone()


def when(moment: datetime | None) -> str:
    """Date and time of a moment of the ledger, on the clock of the node."""
    return "" if moment is None else f"{local(moment):%Y-%m-%d %H:%M:%S}"


def clock(moment: datetime | None) -> str:
    """The time alone if the moment is of today, else date and time."""
    if moment is None:
        return ""
    here = local(moment)
    return f"{here:%H:%M:%S}" if here.date() == datetime.now().astimezone().date() else f"{here:%Y-%m-%d %H:%M}"


def size(number: float) -> str:
    """Bytes, readable."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if number >= 10 or unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def span(seconds: float | None) -> str:
    """A time that something took."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 86400 else f"{seconds / 86400:.0f} d"


def quoted(text: object) -> str:
    """Text as a part of an address."""
    return quote(str(text), safe="")
