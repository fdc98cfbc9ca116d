"""HTML pages that need nothing beside them."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

_STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b }
table { border-collapse: collapse; margin: .7rem 0 }
th, td { border-bottom: 1px solid #ccc; padding: .25rem .6rem; text-align: left; font-variant-numeric: tabular-nums }
.failed { color: #b00020; font-weight: 600 } .met { color: #1b6e2d }
.notice { border: 2px solid #b00020; padding: .6rem 1rem } figure { display: inline-block; margin: .4rem }
figcaption { font-size: 13px } pre { font-size: 12px; overflow: auto }
"""


def page(title: str, sections: Iterable[str]) -> str:
    """A page; sections are HTML, with plots and pictures inside them."""
    body = "\n".join(sections)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are HTML."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


def plot(svg: str, caption: str) -> str:
    """A figure; svg: as `figures` draws it."""
    data = base64.b64encode(svg.encode()).decode()
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def number(value: float | None) -> str:
    """Three decimals; a dash for what was not measured."""
    return "-" if value is None else f"{value:.3f}"
