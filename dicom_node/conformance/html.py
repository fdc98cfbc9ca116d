"""A document as one HTML page that needs nothing else."""

import html
import re
from collections.abc import Iterator

from dicom_node.conformance.document import Document, Section, Table

_STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: 0.5em 0 1.5em; }
caption { text-align: left; font-style: italic; padding-bottom: 0.3em; }
th, td { border: 1px solid #bbb; padding: 0.2em 0.6em; text-align: left; vertical-align: top; }
th { background: #eee; }
code { font-size: 90%; background: #f4f4f4; }
""".strip()


def to_html(document: Document) -> str:
    """Write the document; the same document always gives the same page."""
    title = html.escape(document.title)
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        f'<head><meta charset="utf-8"><title>{title}</title>',
        f"<style>\n{_STYLE}\n</style></head>",
        f"<body>\n<h1>{title}</h1>",
        *(f"<p>{_inline(text)}</p>" for text in document.preface),
        "<nav><ul>",
        *(
            f'<li><a href="#s{number}">{number} {html.escape(section.title)}</a></li>'
            for number, section in document.numbered()
        ),
        "</ul></nav>",
    ]
    for number, section in document.numbered():
        lines += _section(number, section, 2)
    return "\n".join([*lines, "</body>\n</html>"]) + "\n"


def _section(number: str, section: Section, level: int) -> Iterator[str]:
    yield f'<h{level} id="s{number}">{number} {html.escape(section.title)}</h{level}>'
    inner = 0
    for part in section.content:
        if isinstance(part, Section):
            inner += 1
            yield from _section(f"{number}.{inner}", part, level + 1)
        elif isinstance(part, Table):
            yield from _table(part)
        else:
            yield f"<p>{_inline(part)}</p>"


def _table(table: Table) -> Iterator[str]:
    yield f"<table>\n<caption>{_inline(table.caption)}</caption>"
    yield f"<tr>{''.join(f'<th>{_inline(cell)}</th>' for cell in table.head)}</tr>"
    for row in table.rows:
        yield f"<tr>{''.join(f'<td>{_inline(cell)}</td>' for cell in row)}</tr>"
    yield "</table>"


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
