"""What is known of the networks that read here: their cards, and what the site signed."""

from collections.abc import Mapping
from typing import Any

from dicom_node.journey.site import commissioning_file
from dicom_node.settings import Settings
from models.registry import Registry
from pipeline.commissioning import BadCommissioning, Commissioning


def commissioning(settings: Settings) -> tuple[Commissioning | None, str]:
    """What this site signed; and why what is there cannot be used, or ""."""
    try:
        return Commissioning.load(commissioning_file(settings)), ""
    except FileNotFoundError:
        return None, ""
    except BadCommissioning as e:
        return None, str(e)


def card_of(registry: Registry, name: str) -> tuple[str, Mapping[str, Any] | None]:
    """The card of a network of the registry, as Markdown, and the evaluation that it tells of; None: it has none.

    Raises WeightsMismatch if the evaluation cannot be understood.
    """
    from pipeline.evaluation.card import OtherRecipe, card

    evaluation = registry.evaluation() if registry.entries[name].operating_point else None
    try:
        return card(registry, name, evaluation), evaluation
    except OtherRecipe:
        return card(registry, name), None
