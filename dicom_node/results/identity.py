"""Unique identifiers of results: derived, so that a step that runs twice makes the same object and not a second one."""

import uuid
from typing import Final

from pydicom.uid import UID

_NAMESPACE: Final = uuid.UUID("5d0f7bbd-6c53-4f0c-9d6e-3f0b7f1f2a61")


def _from_name(*parts: str) -> UID:
    # The separator cannot occur in a part, so that no two lists of parts give one name.
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, chr(0).join(parts)).int}")


IMPLEMENTATION_CLASS_UID: Final = _from_name("implementation class")
"""Names this software in file meta information and associations. PS3.7 D.3.3.2."""


def derive_uid(journey: str, model_digest: str, kind: str) -> UID:
    """Name one thing that a reading brings forth.

    journey: id of the radiograph's journey. model_digest: `ModelIdentity.digest`.
    kind: what is named, such as "overlay" or "overlay series".
    Returns a UID under 2.25, at most 44 characters, always the same for the same arguments.
    Source: PS3.5 B.2 (UID from a UUID); RFC 9562, section 5.5 (UUID version 5).
    """
    return _from_name("result", journey, model_digest, kind)


def derive_device_uid(node_version: str, model_digest: str) -> UID:
    """Name the device that reads: this version of the node with these networks. PS3.3 C.7.5.1, DeviceUID."""
    return _from_name("device", node_version, model_digest)
