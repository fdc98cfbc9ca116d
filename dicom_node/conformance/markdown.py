"""A document as Markdown."""

import textwrap
from collections.abc import Iterator

from dicom_node.conformance.document import Document, Section, Table

_WIDTH = 120


def to_markdown(document: Document) -> str:
    """Write the document; the same document always gives the same text."""
    blocks = [f"# {document.title}", *map(_fill, document.preface)]
    for number, section in document.numbered():
        blocks += _section(number, section, 2)
    return "\n\n".join(blocks) + "\n"


def _section(number: str, section: Section, level: int) -> Iterator[str]:
    yield f"{'#' * level} {number} {section.title}"
    inner = 0
    for part in section.content:
        if isinstance(part, Section):
            inner += 1
            yield from _section(f"{number}.{inner}", part, level + 1)
        elif isinstance(part, Table):
            yield f"*{part.caption}*"
            yield _table(part)
        else:
            yield _fill(part)


def _fill(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _table(table: Table) -> str:
    rows = (table.head, ("---",) * len(table.head), *table.rows)
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
