"""The conformance statement: what it is made from, and that the committed one is not older than the code."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
from pydicom.sr.coding import Code
from typer.testing import CliRunner

from dicom_node import concepts
from dicom_node.cli import app
from dicom_node.conformance.document import Document, Section, Table
from dicom_node.conformance.html import to_html
from dicom_node.conformance.markdown import to_markdown
from dicom_node.conformance.objects import objects
from dicom_node.conformance.samples import Samples, make_samples
from dicom_node.conformance.statement import statement
from dicom_node.reception.intake import Reason
from dicom_node.settings import Settings
from dicom_node.wire import ACCEPTED, TRANSFER_SYNTAXES, StoreStatus

COMMITTED = Path(__file__).parents[2] / "deploy" / "handbook" / "conformance.md"

TINY = Document(
    title="Title <1>",
    preface=("A `code` & more.",),
    sections=(
        Section(
            title="One",
            content=(
                "Text.",
                Section(title="Inner", content=(Table(caption="T", head=("a", "b"), rows=(("1", "x|y"),)),)),
            ),
        ),
    ),
    annexes=(Section(title="Last", content=()),),
)


@pytest.fixture(scope="module")
def written() -> Document:
    return statement()


@pytest.fixture(scope="module")
def samples() -> Samples:
    return make_samples()


def cells(document: Document) -> set[str]:
    """Every cell of every table, without marks of code."""

    def walk(section: Section) -> set[str]:
        found: set[str] = set()
        for part in section.content:
            if isinstance(part, Section):
                found |= walk(part)
            elif isinstance(part, Table):
                found |= {cell.strip("`") for row in part.rows for cell in row}
        return found

    return {cell for _, section in document.numbered() for cell in walk(section)}


def test_the_committed_statement_is_what_the_command_writes_now(written: Document) -> None:
    assert COMMITTED.read_text("utf-8") == to_markdown(written), "run `covid-xnet conformance --out` on it"


def test_the_statement_tells_of_everything_in_the_tables_of_the_code(written: Document) -> None:
    found = cells(written)
    assert set(map(str, (*ACCEPTED, *TRANSFER_SYNTAXES))) <= found
    assert {f"0x{status:04X}" for status in StoreStatus} <= found
    assert {str(reason) for reason in Reason} <= found
    assert set(Settings.model_fields) <= found
    assert {code.value for code in vars(concepts).values() if isinstance(code, Code)} <= found


def rows_of(samples: Samples, kind: str) -> dict[str, tuple[str, ...]]:
    """Attribute name -> its row, for one kind of object."""
    sections = [part for part in objects(samples).content if isinstance(part, Section)]
    (section,) = (part for part in sections if part.title.endswith(f"({kind})"))
    tables = [part for part in section.content if isinstance(part, Table)]
    return {row[0]: row for table in tables for row in table.rows}


def test_the_annex_of_objects_lists_each_attribute_of_each_object_once(samples: Samples) -> None:
    for kind in samples.kinds:
        names = [e.name for s in samples.all if kind in s.results for e in s.results[kind]]
        assert set(rows_of(samples, kind)) == set(names)


@pytest.mark.parametrize(
    ("attribute", "presence", "source", "value"),
    [
        ("Patient's Name", "VNAP", "COPY", ""),
        ("Issuer of Patient ID", "ANAP", "COPY", ""),
        ("Study Instance UID", "ALWAYS", "COPY", ""),
        ("Conversion Type", "ALWAYS", "FIXED", "`WSD`"),
        ("Burned In Annotation", "ALWAYS", "FIXED", "`YES`"),
        ("SOP Instance UID", "ALWAYS", "AUTO", ""),
        ("Software Versions", "ALWAYS", "AUTO", ""),
        ("Pixel Data", "ALWAYS", "AUTO", ""),
        ("Rows", "ALWAYS", "AUTO", ""),
    ],
)
def test_presence_and_source_of_an_attribute_are_told_by_the_samples(
    samples: Samples, attribute: str, presence: str, source: str, value: str
) -> None:
    assert rows_of(samples, "overlay")[attribute][4:] == (presence, source, value)


def test_markdown_numbers_sections_and_escapes_bars() -> None:
    assert to_markdown(TINY).splitlines() == [
        "# Title <1>", "", "A `code` & more.", "", "## 1 One", "", "Text.", "", "### 1.1 Inner", "", "*T*", "",
        "| a | b |", "| --- | --- |", "| 1 | x\\|y |", "", "## A Last",
    ]  # fmt: skip


class _Balance(HTMLParser):
    """Notes what is open, and counts tables and rows."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_holds_the_same_tables_and_leaves_no_element_open(written: Document) -> None:
    parser = _Balance()
    parser.feed(to_html(written))
    markdown = to_markdown(written).splitlines()
    assert parser.open == []
    assert parser.seen.count("table") == sum(line.startswith("| ---") for line in markdown)
    assert parser.seen.count("tr") == sum(line.startswith("| ") for line in markdown) - parser.seen.count("table")


def test_html_escapes_what_is_no_markup() -> None:
    page = to_html(TINY)
    assert "<h1>Title &lt;1&gt;</h1>" in page
    assert "<p>A <code>code</code> &amp; more.</p>" in page


def test_a_table_with_a_row_of_another_width_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="another width"):
        Table(caption="T", head=("a",), rows=(("1", "2"),))


def test_the_command_writes_markdown_or_html_to_the_terminal_or_a_file(written: Document, tmp_path: Path) -> None:
    runner, page = CliRunner(), tmp_path / "statement.html"
    printed = runner.invoke(app, ["conformance"])
    assert (printed.exit_code, printed.stdout) == (0, to_markdown(written))
    assert runner.invoke(app, ["conformance", "--html", "--out", str(page)]).exit_code == 0
    assert page.read_text("utf-8") == to_html(written)


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["conformance", "--out", str(tmp_path / "missing" / "statement.md")])
    assert done.exit_code != 0
    assert "cannot be written" in str(done.exception)
