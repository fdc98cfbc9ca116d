"""What a statement is made of: sections with paragraphs and tables, in no particular markup."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with a caption. Cells are plain text; what stands between backticks is code."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        """Every row has a cell for each column; raises ValueError."""
        if any(len(row) != len(self.head) for row in self.rows):
            raise ValueError(f"The table {self.caption!r} has rows of another width than its head.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and what stands below it: paragraphs (text), tables and sections."""

    title: str
    content: tuple["str | Table | Section", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A title, introductory paragraphs, numbered sections, and annexes with letters."""

    title: str
    preface: tuple[str, ...]
    sections: tuple[Section, ...]
    annexes: tuple[Section, ...]

    def numbered(self) -> tuple[tuple[str, Section], ...]:
        """Sections with 1, 2, ..., annexes with A, B, ..."""
        numbers = [str(i) for i in range(1, len(self.sections) + 1)]
        letters = [chr(ord("A") + i) for i in range(len(self.annexes))]
        return tuple(zip(numbers + letters, self.sections + self.annexes, strict=True))
