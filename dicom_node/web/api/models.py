"""Which networks read, and their cards."""

from fastapi import APIRouter

from dicom_node.web.api.guard import Caller, Viewer
from dicom_node.web.api.problems import GuardedRoute, Refused
from dicom_node.web.api.shapes import ModelCard, Models
from dicom_node.web.cards import card_of, commissioning
from models.registry import SHIPPED, Registry, WeightsMismatch

router = APIRouter(route_class=GuardedRoute, tags=["models"])


@router.get("/models")
def models(caller: Viewer) -> Models:
    """The networks, and what this site signed."""
    signed, trouble = commissioning(caller.gate.settings)
    said = {"models": list(_registry(caller).entries.values()), "commissioning": signed, "trouble": trouble}
    return Models.model_validate(said, from_attributes=True)


@router.get("/models/{name}")
def card(caller: Viewer, name: str) -> ModelCard:
    """One network with its card, and what the evaluation of its recipe found."""
    registry = _registry(caller)
    if name not in registry.entries:
        raise Refused(404, "There is no such network.", remedy="/api/models lists them.")
    try:
        text, evaluation = card_of(registry, name)
    except WeightsMismatch as e:
        raise _unusable(e) from None
    said = {"model": registry.entries[name], "card": text, "evaluation": evaluation}
    return ModelCard.model_validate(said, from_attributes=True)


def _registry(caller: Caller) -> Registry:
    try:
        return Registry.load(caller.gate.settings.effective_weights_dir or SHIPPED)
    except WeightsMismatch as e:
        raise _unusable(e) from None


def _unusable(why: WeightsMismatch) -> Refused:
    remedy = "Check weights_dir; `covid-xnet check` says more."
    return Refused(503, f"The weights cannot be used: {why}.", remedy=remedy)
