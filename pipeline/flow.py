"""The walk of a radiograph through the networks, on one screen."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.registry import SHIPPED, ModelIdentity, OperatingPoint, Registry, WeightsMismatch
from models.serving import Network
from pipeline.calibrate import calibrated
from pipeline.classify import classify, verdict_of
from pipeline.commissioning import Commissioning
from pipeline.input_statistics import input_statistics
from pipeline.localise import find_lungs, heatmap
from pipeline.preprocess import (
    DEFAULT,
    PAPER,
    Box,
    Recipe,
    box_of,
    coarsen,
    cut,
    enhance_contrast,
    lay_out,
    match_histogram,
    working_frame,
)
from pipeline.radiograph import Gray, Radiograph
from pipeline.reading import Reading
from pipeline.recalibrate import on_curve
from pipeline.ribs import suppress_ribs
from pipeline.unroll import Unrolling

RECIPES: Final = {recipe.name: recipe for recipe in (PAPER, DEFAULT)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """What a reading needs, verified and loaded. Not for use by several threads at once.

    ribs: None if the recipe leaves the ribs as they are.
    commissioning: of this site, whose threshold and band then stand in the operating point.
    """

    lungs: Network
    ribs: Network | None
    classifier: Network
    view: Network
    operating_point: OperatingPoint
    recipe: Recipe
    model: ModelIdentity
    commissioning: Commissioning | None = None

    def commissioned(self, commissioning: Commissioning) -> "Networks":
        """The same networks at the operating point of a site.

        Raises WeightsMismatch if the site commissioned other networks, or another recipe.
        """
        if (commissioning.model_digest, commissioning.recipe_digest) != (self.model.digest, self.recipe.digest()):
            raise WeightsMismatch(f"{commissioning.model} was commissioned, and not the networks of {self.model}")
        point = replace(self.operating_point, threshold=commissioning.threshold, band=commissioning.band)
        return replace(self, operating_point=point, commissioning=commissioning)

    def probability(self, score: float) -> float | None:
        """What calibration makes of a score, [0, 1]: at this site if it was commissioned, else at home."""
        scores = np.array([score])
        if self.commissioning is not None:
            return float(on_curve(scores, self.commissioning.curve)[0])
        if self.operating_point.temperature is not None:
            return float(calibrated(scores, 1 / self.operating_point.temperature)[0])
        return None


def before_the_classifier(recipe: Recipe) -> tuple[str, ...]:
    """Names of the networks that prepare what the classifier sees."""
    return ("lung_unet", "rib_suppression") if recipe.ribs else ("lung_unet",)


def load_networks(folder: Path | None = None) -> Networks:
    """Load the networks of `folder`, by default the shipped ones.

    The view judge has no part in a score, nor in the digest of what made it. Raises WeightsMismatch if a file is not
    the one of its manifest, or if the classifier was trained with another recipe than this code has.
    """
    registry = Registry.load(folder or SHIPPED)
    files = {name: registry.file(name, ".xml") for name in ("lung_unet", "rib_suppression", "covid_xnet")}
    entry = registry.entries["covid_xnet"]
    point = entry.operating_point
    if point is None:
        raise WeightsMismatch("covid_xnet has no operating point in its manifest")
    recipe = RECIPES.get(point.recipe)
    if recipe is None or recipe.digest() != point.recipe_digest:
        raise WeightsMismatch(f"covid_xnet {entry.version} was trained with another recipe {point.recipe!r}")
    used = (*before_the_classifier(recipe), "covid_xnet")
    parts = [*(digest for name in used for digest in registry.entries[name].files.values()), point.recipe_digest]
    return Networks(
        lungs=Network(files["lung_unet"]),
        ribs=Network(files["rib_suppression"]) if recipe.ribs else None,
        classifier=Network(files["covid_xnet"]),
        view=view_judge_of(registry),
        operating_point=point,
        recipe=recipe,
        model=ModelIdentity(
            name=entry.title,
            version=entry.version,
            digest=hashlib.sha256("".join(sorted(parts)).encode()).hexdigest(),
            trained=entry.trained,
        ),
    )


def view_judge_of(registry: Registry) -> Network:
    """The view judge of a folder, or the shipped one: few have laterals to train their own."""
    own = registry if "view_judge" in registry.entries else Registry.load(SHIPPED)
    return Network(own.file("view_judge", ".xml"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """What the classifier gets: float32 (side, side), [0, 1]; where it comes from; and the lungs, bool (h, w)."""

    image: Gray
    box: Box
    unrolling: Unrolling | None
    lungs: NDArray[np.bool_]


def prepare(
    radiograph: Radiograph, *, lungs: Network, ribs: Network | None, recipe: Recipe, stages: dict[str, float]
) -> Prepared:
    """Everything before the classifier, in training and in serving.

    ribs: needed by a recipe that suppresses them.
    Adds the milliseconds of each step to `stages`. Raises BlankRadiograph if all pixels have one grey level.
    Source: COVID-XNet, section 2.2.
    """
    with _timed("resize", stages):
        frame = working_frame(radiograph.pixels)
    with _timed("lungs", stages):
        found = find_lungs(frame, lungs)
    with _timed("histogram", stages):
        matched = match_histogram(frame)
    if recipe.ribs:
        if ribs is None:
            raise ValueError("A recipe that suppresses ribs needs their network.")
        with _timed("ribs", stages):
            matched = suppress_ribs(matched, ribs)
    with _timed("contrast", stages):
        box = box_of(found, recipe)
        if recipe.unroll:
            square, unrolling = lay_out(matched, found, box)
        else:
            square, unrolling = cut(enhance_contrast(matched, recipe), box), None
        image = coarsen(square, recipe)
    return Prepared(image=image, box=box, unrolling=unrolling, lungs=found)


def read(radiograph: Radiograph, networks: Networks) -> Reading:
    """Read one radiograph. Raises BlankRadiograph if all its pixels have one grey level.

    Source: COVID-XNet, sections 2.2 and 2.3.
    """
    stages: dict[str, float] = {}
    point = networks.operating_point
    prepared = prepare(radiograph, lungs=networks.lungs, ribs=networks.ribs, recipe=networks.recipe, stages=stages)
    with _timed("classify", stages):
        score, activation = classify(prepared.image, networks.classifier)
    with _timed("heatmap", stages):
        hot = heatmap(activation, prepared.box, prepared.lungs, point.activation_scale, unrolling=prepared.unrolling)
    return Reading(
        score=score,
        verdict=verdict_of(score, point.band),
        threshold=point.threshold,
        band=point.band,
        heatmap=hot,
        lungs=prepared.lungs,
        model=networks.model,
        stages=stages,
        probability=networks.probability(score),
        commissioning=networks.commissioning,
        tells_apart=point.tells_apart,
        statistics=input_statistics(prepared.image, prepared.lungs, radiograph.pixels.shape),
    )


@contextmanager
def _timed(stage: str, stages: dict[str, float]) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    stages[stage] = (time.perf_counter() - begin) * 1000
