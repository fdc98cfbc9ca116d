"""Which networks the node has: the manifest beside the weights."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Names one classifier and everything that its score depends on.

    name: such as "COVID-XNet".
    version: of the weights, such as "1.0.0".
    digest: sha256 (hex) over the digests of all networks and the recipe that take part in a reading.
    trained: date of training, ISO 8601.
    """

    name: str
    version: str
    digest: str
    trained: str
