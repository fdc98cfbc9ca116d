"""Annex: the attributes of the objects that the node makes, by module, as its samples show them."""

from collections.abc import Iterator
from typing import Final

# The tables of PS3.3 that highdicom builds its objects from: no public function of it hands them out.
from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map, get_sop_class_iod_map
from pydicom import DataElement, Dataset

from dicom_node.conformance.document import Section, Table
from dicom_node.conformance.samples import Samples

HEAD: Final = ("Attribute", "Tag", "VR", "Type", "Presence of value", "Source", "Value")

_LONGEST_VALUE: Final = 60
_USAGE: Final = {"M": "mandatory", "C": "conditional", "U": "user option"}
_CODES: Final = (
    "Presence of value. ALWAYS: with a value. VNAP: the value is not always present, the attribute is. ANAP: the "
    "attribute is not always present. EMPTY: always without a value. Source. FIXED: the value shown. COPY: that of the "
    "radiograph, in the character set of the result. AUTO: the node makes it. Type is that of PS3.3."
)


def objects(samples: Samples) -> Section:
    """Tell of each kind of object which attributes it has."""
    return Section(title="Created objects", content=(_CODES, *(_of_kind(samples, kind) for kind in samples.kinds)))


def private_attributes(samples: Samples) -> tuple[str, ...]:
    """The private attributes in the objects, as (gggg,eeee)."""
    every = (element for sample in samples.all for result in sample.results.values() for element in result.iterall())
    return tuple(sorted({str(element.tag) for element in every if element.tag.is_private}))


def _of_kind(samples: Samples, kind: str) -> Section:
    sop_class = samples.full.results[kind].SOPClassUID
    iod = get_sop_class_iod_map()[str(sop_class)]
    attributes = get_module_attribute_map()
    left = {element.keyword for result in samples.of(kind) for element in result}
    tables: list[str | Table | Section] = [f"SOP class UID `{sop_class}`."]
    for module in get_iod_module_map()[iod]:
        top = {a["keyword"]: str(a["type"]) for a in attributes[module["key"]] if not a["path"]}
        rows = tuple(_rows(samples, kind, {keyword: top[keyword] for keyword in top if keyword in left}))
        left -= top.keys()
        if rows:
            usage = _USAGE[module["usage"]]
            name = module["key"].replace("-", " ").title()
            tables.append(Table(caption=f"Module {name} ({module['ie']}, {usage})", head=HEAD, rows=rows))
    if left:
        rows = tuple(_rows(samples, kind, dict.fromkeys(sorted(left), "-")))
        tables.append(Table(caption="Standard attributes beyond the modules of the IOD", head=HEAD, rows=rows))
    return Section(title=f"{sop_class.name} ({kind})", content=tuple(tables))


def _rows(samples: Samples, kind: str, types: dict[str, str]) -> Iterator[tuple[str, ...]]:
    elements = {e.keyword: e for result in reversed(samples.of(kind)) for e in result}
    for keyword in sorted(types, key=lambda k: elements[k].tag):
        element = elements[keyword]
        source, value = _source(samples, kind, keyword)
        yield (
            element.name, f"`{element.tag}`", str(element.VR), types[keyword],
            _presence(samples, kind, keyword), source, value,
        )  # fmt: skip


def _presence(samples: Samples, kind: str, keyword: str) -> str:
    found = [result.get(keyword) for result in samples.of(kind)]
    if not all(keyword in result for result in samples.of(kind)):
        return "ANAP"
    filled = [value is not None and value != "" and value != [] for value in found]
    if keyword == "PixelData" or all(filled):
        return "ALWAYS"
    return "VNAP" if any(filled) else "EMPTY"


def _source(samples: Samples, kind: str, keyword: str) -> tuple[str, str]:
    if _presence(samples, kind, keyword) == "EMPTY":
        return "FIXED", ""
    first, second = samples.full, samples.other
    made = _text(first.results[kind], keyword), _text(second.results[kind], keyword)
    if any(made) and made == (_text(first.source, keyword), _text(second.source, keyword)):
        return "COPY", ""
    if len({_text(result, keyword) for result in samples.of(kind)}) == 1:
        return ("FIXED", f"`{made[0]}`") if 0 < len(made[0]) <= _LONGEST_VALUE else ("FIXED", "")
    return "AUTO", ""


def _text(dataset: Dataset, keyword: str) -> str:
    if keyword not in dataset:
        return ""
    element: DataElement = dataset[keyword]
    if element.VR == "SQ":
        return str([str(item) for item in element.value])
    if element.VM > 1:
        return "\\".join(str(value) for value in element.value)
    return "" if element.value is None else str(element.value)
