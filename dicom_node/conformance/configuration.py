"""The sections on what can be configured, on character sets and on security."""

from pathlib import Path
from typing import Any

from pydicom.charset import python_encoding

from dicom_node.conformance.document import Section, Table
from dicom_node.destination import Destination, TextEncoding
from dicom_node.results.origin import CHARACTER_SET
from dicom_node.settings import PREFIX, Settings


def configuration() -> Section:
    """Every setting, from the table that the node reads them with."""
    rows = tuple(
        (f"`{name}`", _default(name, field.get_default(call_default_factory=True)), field.description or "")
        for name, field in Settings.model_fields.items()
    )
    return Section(
        title="Configuration",
        content=(
            "AE titles are mapped to addresses by the node's configuration file: its own by `ae_title`, `host` and "
            "`port`, those of its destinations by `destinations`. Each parameter is also an environment variable, in "
            f"upper case with the prefix `{PREFIX}`.",
            Table(caption="Configuration parameters", head=("Parameter", "Default", "Meaning"), rows=rows),
            "A destination is a peer, or a table with these keys:",
            Table(caption="Keys of a destination", head=("Key", "Default", "Meaning"), rows=_of_destination()),
        ),
    )


def _of_destination() -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            f"`{name}`",
            "none" if field.is_required() else _default(name, field.get_default(call_default_factory=True)),
            field.description or "",
        )
        for name, field in Destination.model_fields.items()
    )


def _default(name: str, value: Any) -> str:
    if name == "workers":  # depends on the machine
        return "the number of cores"
    if value in ("", (), None) or isinstance(value, Path):
        return f"`{value}`" if isinstance(value, Path) else "empty"
    if isinstance(value, tuple):
        return ", ".join(f"`{part}`" for part in value)
    return "yes" if value is True else "no" if value is False else f"`{value}`"


def character_sets() -> Section:
    """What is understood, and what is written."""
    understood = tuple((f"`{term}`",) for term in sorted(python_encoding) if term.startswith(("ISO", "GB")))
    return Section(
        title="Character sets",
        content=(
            f"Results are written in `{CHARACTER_SET}` (UTF-8), whatever the radiograph was in, or, if a destination "
            f"has `character_set` `{TextEncoding.SOURCE}`, in that of the radiograph where it holds every text of the "
            "result; names and other texts stay what they are to the reader. Bytes that are not in the character set "
            "that the radiograph declares are read as ISO 8859-1, which loses none of them.",
            Table(
                caption="Values of Specific Character Set (0008,0005) that are understood",
                head=("Defined term",),
                rows=understood,
            ),
        ),
    )


def security() -> Section:
    """What protects associations, and what does not."""
    content: list[str | Table | Section] = []
    secure = [name for name in Settings.model_fields if name.startswith("tls")]
    if secure:
        content.append(f"Associations can be secured with TLS; see the settings {', '.join(f'`{n}`' for n in secure)}.")
    else:
        content.append("No secure transport connection profile of PS3.15 is supported: associations are not encrypted.")
    content.append(
        "Called AE titles are checked always, calling AE titles if `calling_aes` is set. The listener binds the "
        "loopback address unless `host` says otherwise. Log and ledger views name no patient. No digital signatures, "
        "no de-identification, no user identity negotiation."
    )
    return Section(title="Security", content=tuple(content))
