"""How settings are read from a TOML file or a variable, where a plain type is not enough."""

import json
import re
import string
from ipaddress import ip_network
from typing import Annotated, Final

from pydantic import BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from dicom_node.access import Role
from dicom_node.destination import Destination
from dicom_node.peers import Caller, parse_ae_title

VIEWER_FIELDS: Final = ("study", "object", "accession")


def _as_list(value: object) -> object:
    """Environment variables hold lists as JSON or with commas between."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith(("[", "{")):
        try:
            return json.loads(value if value.lstrip().startswith("[") else f"[{value}]")
        except ValueError as e:
            raise ValueError(f"is not a JSON list: {e}") from None
    return [part.strip() for part in value.split(",") if part.strip()]


STAT_ATTRIBUTES: Final = ("RequestedProcedurePriority", "StudyPriorityID")
"""Where modalities say that something is urgent."""


def _keyword(value: object) -> str:
    if value in STAT_ATTRIBUTES:
        return str(value)
    from pydicom.datadict import tag_for_keyword  # what is large is imported when it is needed

    if not isinstance(value, str) or tag_for_keyword(value) is None:
        raise ValueError(f"{value!r} is not the keyword of a DICOM attribute, such as RequestedProcedurePriority")
    return value


def _word(value: object) -> str:
    if not isinstance(value, str) or not value.isalpha():
        raise ValueError(f"{value!r} is not one word of letters, such as STAT")
    return value


def _network(value: object) -> str:
    try:
        return str(ip_network(str(value)))
    except ValueError:
        raise ValueError(f"{value!r} is not an address or a network, such as 10.1.2.3 or 10.1.2.0/24") from None


def _web_path(value: object) -> object:
    if isinstance(value, str) and value and (not value.startswith("/") or value.endswith("/") or "//" in value):
        raise ValueError(f"{value!r} is not a path that begins with / and ends without one, such as /covid-xnet")
    return value


def _viewer_url(value: object) -> object:
    if not isinstance(value, str) or not value:
        return value
    if not value.startswith(("https://", "http://")):
        raise ValueError(f"{value!r} does not begin with https:// or http://")
    try:
        named = {name for _, name, _, _ in string.Formatter().parse(value) if name is not None}
    except ValueError as e:
        raise ValueError(f"{value!r} has braces that do not match: {e}") from None
    if not named <= set(VIEWER_FIELDS):
        raise ValueError(f"{value!r} may name {{study}}, {{object}} and {{accession}} in braces, nothing else")
    return value


def _alert_url(value: object) -> object:
    # It is a secret: the message does not quote it.
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or not re.match(r"[a-z0-9]+://\S+$", text, re.IGNORECASE):
        raise ValueError("an address is written as apprise does, such as json://host/path or mailto://user:pass@host")
    return value


def _as_table(value: object) -> object:
    return value if isinstance(value, dict | Destination) else {"peer": value}


DestinationList = Annotated[
    tuple[Annotated[Destination, BeforeValidator(_as_table)], ...], NoDecode, BeforeValidator(_as_list)
]
KeywordList = Annotated[tuple[Annotated[str, BeforeValidator(_keyword)], ...], NoDecode, BeforeValidator(_as_list)]
CallerList = Annotated[
    tuple[Annotated[str, BeforeValidator(lambda text: str(Caller.parse(text)))], ...],
    NoDecode,
    BeforeValidator(_as_list),
]
WordList = Annotated[tuple[Annotated[str, BeforeValidator(_word)], ...], NoDecode, BeforeValidator(_as_list)]
TitleList = Annotated[tuple[Annotated[str, BeforeValidator(parse_ae_title)], ...], NoDecode, BeforeValidator(_as_list)]
NetworkList = Annotated[tuple[Annotated[str, BeforeValidator(_network)], ...], NoDecode, BeforeValidator(_as_list)]
SecretUrlList = Annotated[
    tuple[Annotated[SecretStr, BeforeValidator(_alert_url)], ...], NoDecode, BeforeValidator(_as_list)
]
RoleList = Annotated[tuple[Role, ...], NoDecode, BeforeValidator(_as_list)]
WebPath = Annotated[str, BeforeValidator(_web_path)]
ViewerUrl = Annotated[str, BeforeValidator(_viewer_url)]
