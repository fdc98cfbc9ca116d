"""What is wrong with a setting, in one line that names it and says what would be right."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Final

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from dicom_node.destination import Destination
from dicom_node.errors import ConfigurationError

SECRET: Final = frozenset({"alert_urls"})
"""Settings whose values no message quotes."""


def wrong_value(
    where: str, name: str, key: str, error: ErrorDetails, fields: Mapping[str, FieldInfo]
) -> ConfigurationError:
    """Say of a setting, or of a key in one of its tables, what is wrong and what would be right."""
    field = fields.get(key)
    inner = [str(part) for part in error["loc"][2:3]]
    if inner and (inner != ["peer"] or error["type"] == "missing"):
        name = f"{name}[{error['loc'][1]}].{inner[0]}"
        field = Destination.model_fields.get(inner[0])
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(inner[0] if inner else key, Destination.model_fields, n=1)
        return ConfigurationError(
            f"{where}: {name} is not a setting.",
            hint=f"Did you mean {near[0]}?" if near else f"A destination has {', '.join(Destination.model_fields)}.",
        )
    message = error["msg"].removeprefix("Value error, ")
    expected = field.description if field else ""
    shown = "" if error["type"] == "missing" or key in SECRET else f" = {error['input']!r}"
    return ConfigurationError(f"{where}: {name}{shown}: {message}.", hint=f"Expected: {expected}")


def known(keys: Iterable[str], where: str, prefix: str, fields: Mapping[str, FieldInfo]) -> None:
    """Raise ConfigurationError, with the nearest name, if a key is that of no setting."""
    for key in keys:
        name = key.upper().removeprefix(prefix).lower() if prefix else key
        if name not in fields:
            near = difflib.get_close_matches(name.lower(), fields, n=1)
            shown = (prefix + near[0].upper() if prefix else near[0]) if near else ""
            raise ConfigurationError(
                f"{where}: {key} is not a setting.",
                hint=f"Did you mean {shown}?" if near else "`covid-xnet config example` lists all settings.",
            )
