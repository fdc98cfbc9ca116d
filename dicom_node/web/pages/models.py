"""Models: which networks read, and their cards."""

from functools import lru_cache

from markdown_it import MarkdownIt
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from dicom_node.web.cards import card_of, commissioning
from dicom_node.web.gatehouse import Gatehouse, Visit
from models.registry import SHIPPED, Registry, WeightsMismatch


def routes(gate: Gatehouse) -> list[Route]:
    """The pages of this file."""

    def registry() -> Registry:
        try:
            return Registry.load(gate.settings.effective_weights_dir or SHIPPED)
        except WeightsMismatch as e:
            raise HTTPException(503, f"The weights cannot be used: {e}.") from None

    def models(visit: Visit) -> Response:
        signed, trouble = commissioning(gate.settings)
        return gate.render(
            visit, "models.html", entries=list(registry().entries.values()), signed=signed, trouble=trouble
        )

    def card(visit: Visit) -> Response:
        known, name = registry(), visit.request.path_params["name"]
        if name not in known.entries:
            raise HTTPException(404)
        text, _ = card_of(known, name)
        return gate.render(visit, "card.html", name=known.entries[name].title, card=_html(text))

    return [Route("/models", gate.admit(models)), Route("/models/{name}", gate.admit(card))]


@lru_cache(maxsize=16)
def _html(markdown: str) -> Markup:
    """Markdown as HTML; markup inside it stays text."""
    return Markup(MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown))
