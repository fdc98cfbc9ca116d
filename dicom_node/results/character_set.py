"""Which character set a result is written in, where a destination wants that of the source. PS3.3 C.12.1.1.2."""

import warnings
from io import BytesIO
from typing import Final

from pydicom import Dataset, dcmread, dcmwrite
from pydicom.charset import python_encoding
from pydicom.multival import MultiValue

from dicom_node.results.origin import CHARACTER_SET

_TEXTS: Final = ("PN", "LO", "SH", "ST", "LT")
"""Value representations that SpecificCharacterSet governs. PS3.5 6.1.2.3."""

_ASCII: Final = ("", "ISO_IR 6", "ISO 2022 IR 6")


def character_set_of(source: Dataset, header: Dataset, words: str = "") -> list[str]:
    """Values of SpecificCharacterSet for results of `source`, whose texts are those of `header`; [] is plain ASCII.

    words: of ours that the results hold, too, such as a name.

    Those of the source if it names them correctly and they hold every text unchanged; else `CHARACTER_SET`, which
    holds all: a name that a reader cannot read is worse than a set that was not asked for.
    """
    named = source.get("SpecificCharacterSet")
    values = [str(part).strip() for part in named] if isinstance(named, MultiValue | list) else [str(named or "")]
    values = [] if values == [""] else values
    if any(part not in python_encoding or (part == "" and place > 0) for place, part in enumerate(values)):
        return [CHARACTER_SET]
    return values if _holds(values, header, words) else [CHARACTER_SET]


def put(result: Dataset, values: list[str]) -> None:
    """Let `result` be written in the character set that `values` name."""
    if values:
        result.SpecificCharacterSet = values if len(values) > 1 else values[0]
    elif "SpecificCharacterSet" in result:
        del result.SpecificCharacterSet


def _holds(values: list[str], header: Dataset, words: str) -> bool:
    texts = Dataset()
    nested = (inner for element in header if element.VR == "SQ" for item in element.value for inner in item.iterall())
    texts.TextComments = "\n".join((words, *(str(e.value) for e in nested if e.VR in (*_TEXTS, "UC", "UT"))))
    texts.update({element.tag: element for element in header if element.VR in _TEXTS})
    told = {element.keyword: str(element.value) for element in texts}
    if not values:
        return all(text.isascii() for text in told.values())
    if values[0] in _ASCII and any("\x80" <= letter <= "\xff" for text in told.values() for letter in text):
        return False  # pydicom would write these as Latin-1, which is not named
    put(texts, values)
    written = BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            dcmwrite(written, texts, implicit_vr=False, little_endian=True)
            written.seek(0)
            again = dcmread(written, force=True)
            return all(str(again[keyword].value) == text for keyword, text in told.items())
    except (UserWarning, ValueError, LookupError):
        return False
