"""Values of a header that nobody vouches for: what cannot be converted counts as absent."""

import struct
from typing import Final

from pydicom import DataElement, Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

CONVERSION_ERRORS: Final = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    LookupError,
    OSError,
    RuntimeError,
    struct.error,
    TypeError,
    ValueError,
)
"""What pydicom raises when it converts an element whose bytes do not fit its VR."""


def texts(header: Dataset, keyword: str) -> tuple[str, ...]:
    """The values of an attribute as text without surrounding blanks; empty ones stay, to keep their place."""
    value = _value(header, keyword)
    if value is None or isinstance(value, Sequence | bytes):
        return ()
    try:
        return tuple(
            str(part).strip(" \0") for part in (value if isinstance(value, MultiValue | list | tuple) else [value])
        )
    except CONVERSION_ERRORS:
        return ()


def text(header: Dataset, keyword: str) -> str:
    """The first value of an attribute as text, or "" if it has none."""
    return next(iter(texts(header, keyword)), "")


def number(header: Dataset, keyword: str) -> int | None:
    """The first value of an attribute as a whole number, or None if it has none."""
    try:
        return int(text(header, keyword))
    except ValueError:
        return None


def items(header: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """The items of a sequence; none if it is absent or no sequence."""
    value = _value(header, keyword)
    return tuple(value) if isinstance(value, Sequence) else ()


def _value(header: Dataset, keyword: str) -> object:
    try:
        element: DataElement = header[keyword]
    except CONVERSION_ERRORS:
        return None
    value: object = element.value
    return value
