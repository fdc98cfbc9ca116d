"""Annexes: templates of the structured reports, and coded concepts."""

from collections.abc import Iterable, Iterator
from typing import Final

from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_node import concepts
from dicom_node.conformance.document import Section, Table
from dicom_node.conformance.samples import Samples

_ROW_HEAD: Final = ("Level", "Relationship", "Value type", "Concept name", "Value", "Template")


def templates(samples: Samples) -> Section:
    """The content trees of the reports, items of one kind in one row."""
    reports = [kind for kind in samples.kinds if "ContentSequence" in samples.full.results[kind]]
    return Section(
        title="Structured report templates",
        content=(
            "Items of one concept stand in one row; values that differ between readings follow each other.",
            *(
                Table(
                    caption=f"Content tree of {samples.full.results[kind].SOPClassUID.name} ({kind})",
                    head=_ROW_HEAD,
                    rows=tuple(_tree(list(samples.of(kind)), 1)),
                )
                for kind in reports
            ),
        ),
    )


def coded(samples: Samples) -> Section:
    """Every coded concept that the node reads or writes."""
    own = {(c.value, c.scheme_designator): c for c in vars(concepts).values() if isinstance(c, Code)}
    found = {
        (str(item.CodeValue), str(item.CodingSchemeDesignator)): str(item.CodeMeaning)
        for sample in samples.all
        for result in sample.results.values()
        for item in _items(result)
        if "CodeValue" in item
    }
    meanings = {key: code.meaning for key, code in own.items()} | found
    rows = tuple(
        (f"`{value}`", scheme, meanings[value, scheme], "yes" if (value, scheme) in found else "no")
        for value, scheme in sorted(meanings, key=lambda key: (key[1], key[0]))
    )
    return Section(
        title="Coded concepts",
        content=(
            Table(caption="Codes", head=("Code value", "Scheme", "Code meaning", "In results"), rows=rows),
            "A code that is in no results is read from radiographs, such as a projection. No private coding scheme is "
            "used.",
        ),
    )


def _items(dataset: Dataset) -> Iterator[Dataset]:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield item
                yield from _items(item)


def _tree(nodes: list[Dataset], level: int) -> Iterator[tuple[str, ...]]:
    first = nodes[0]
    yield (
        str(level),
        str(first.get("RelationshipType", "")),
        str(first.ValueType),
        _concept(first),
        ", ".join(_distinct(_value(node) for node in nodes)),
        ", ".join(_distinct(_template(node) for node in nodes)),
    )
    kinds: dict[tuple[str, str, str], list[Dataset]] = {}
    for node in nodes:
        for child in node.get("ContentSequence", ()):
            key = str(child.get("RelationshipType", "")), str(child.ValueType), _concept(child)
            kinds.setdefault(key, []).append(child)
    for children in kinds.values():
        yield from _tree(children, level + 1)


def _distinct(values: Iterable[str]) -> list[str]:
    return [value for value in dict.fromkeys(values) if value]


def _code(item: Dataset) -> str:
    return f"({item.CodeValue}, {item.CodingSchemeDesignator}, {item.CodeMeaning})"


def _concept(node: Dataset) -> str:
    names = node.get("ConceptNameCodeSequence", ())
    return _code(names[0]) if names else ""


def _value(node: Dataset) -> str:
    if codes := node.get("ConceptCodeSequence"):
        return _code(codes[0])
    if measured := node.get("MeasuredValueSequence"):
        return f"unit {_code(measured[0].MeasurementUnitsCodeSequence[0])}"
    if references := node.get("ReferencedSOPSequence"):
        return str(references[0].ReferencedSOPClassUID.name)
    return str(node.get("GraphicType", ""))


def _template(node: Dataset) -> str:
    templates = node.get("ContentTemplateSequence", ())
    return f"TID {templates[0].TemplateIdentifier}" if templates else ""
