"""Where the network looks, with the code that serves: Figure 4 of the paper, and how much of it lies in the lungs."""

import base64
import tempfile
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.covid_xnet import with_activation_map
from models.registry import ModelIdentity, Registry
from models.serving import Network
from pipeline.classify import classify
from pipeline.evaluation.study import Corpus, Judged
from pipeline.flow import Networks, prepare, read, view_judge_of
from pipeline.localise import heatmap
from pipeline.preprocess import Recipe, working_frame
from pipeline.radiograph import Gray, Radiograph, from_image
from pipeline.training.corpus import MAXIMUM_PIXELS, Sample
from pipeline.training.export import publish
from pipeline.training.folds import networks_of
from pipeline.training.operating import operating_point
from pipeline.training.run import Run

_SHOWN: Final = 4
"""Radiographs of each kind in the gallery."""
_MEASURED: Final = 60
"""Radiographs on which energy and speed are measured."""
_SIDE: Final = 220


def look(corpus: Corpus, crossed: Judged, run: Run, recipe: Recipe, weights: Path, seed: int) -> dict[str, Any]:
    """Protocols 7 and 8 with the network of the first fold, on radiographs of patients that it did not see.

    weights: folder with the lung and rib networks. Returns `gallery`: kind -> pictures as PNG in Base64;
    `energy_in_lungs`: share of the class activation map inside the lungs before it is masked; `pointing_game`: how
    often its hottest point lies in lungs that were drawn by hand; `speed` and size.
    """
    fold = crossed.folds[0]
    judge = fold.judge[corpus.decided[fold.judge]]
    random = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        networks, size = _serving(corpus, crossed, run, recipe, weights, Path(folder))
        threshold = networks.operating_point.threshold
        called, ill = crossed.scores[judge] >= threshold, corpus.targets[judge] == 1
        kinds = {
            "true positive": judge[called & ill],
            "false positive": judge[called & ~ill],
            "true negative": judge[~called & ~ill],
            "false negative": judge[~called & ill],
        }
        gallery = {
            kind: [_picture(corpus.samples[i], networks) for i in random.permutation(group)[:_SHOWN]]
            for kind, group in kinds.items()
        }
        measured = [corpus.samples[i] for i in random.permutation(judge[ill])[:_MEASURED]]
        shares = [share for sample in measured if (share := _energy_in_lungs(sample, networks)) is not None]
        drawn = [i for i in random.permutation(judge[ill]) if _has_mask(corpus.samples[i])]
        pointed = [hit for i in drawn[:_MEASURED] if (hit := _points_at_lungs(corpus.samples[i], networks)) is not None]
        stages = [dict(read(_radiograph(sample), networks).stages) for sample in measured]
    return {
        "gallery": {
            "threshold": threshold,
            "pictures": gallery,
            "counts": {kind: len(group) for kind, group in kinds.items()},
        },
        "energy_in_lungs": {
            "mean": float(np.mean(shares)) if shares else None,
            "tenth_percentile": float(np.percentile(shares, 10)) if shares else None,
            "radiographs": len(shares),
        },
        "pointing_game": {
            "hits": float(np.mean([hit for hit, _ in pointed])) if pointed else None,
            "by_chance": float(np.mean([area for _, area in pointed])) if pointed else None,
            "radiographs": len(pointed),
        },
        "speed": {
            **size,
            "milliseconds": {name: float(np.median([each[name] for each in stages])) for name in stages[0]},
            "radiographs": len(stages),
        },
    }


def _serving(
    corpus: Corpus, crossed: Judged, run: Run, recipe: Recipe, weights: Path, folder: Path
) -> tuple[Networks, dict[str, int]]:
    """The network of the first fold as the node would serve it, and its size."""
    fold = crossed.folds[0]
    serving = with_activation_map(*networks_of(run, fold))
    point, _ = operating_point(
        serving, recipe, corpus.images[fold.judge], corpus.targets[fold.judge], crossed.scores[fold.judge]
    )
    publish(
        serving,
        folder,
        name="covid_xnet",
        title="COVID-XNet",
        version=fold.name,
        data="",
        metrics={},
        example=corpus.images[fold.judge[0]].astype(np.float32) / 255,
        operating_point=point,
    )
    registry = Registry.load(weights)
    networks = Networks(
        lungs=Network(registry.file("lung_unet", ".xml")),
        ribs=Network(registry.file("rib_suppression", ".xml")) if recipe.ribs else None,
        classifier=Network(folder / "covid_xnet.xml"),
        view=view_judge_of(registry),
        operating_point=point,
        recipe=recipe,
        model=ModelIdentity(name="COVID-XNet", version=fold.name, digest="", trained=""),
    )
    size = {"parameters": int(serving.count_params()), "bytes": (folder / "covid_xnet.bin").stat().st_size}
    return networks, size


def _radiograph(sample: Sample) -> Radiograph:
    return from_image(sample.file, maximum_pixels=MAXIMUM_PIXELS)


def _picture(sample: Sample, networks: Networks) -> dict[str, Any]:
    """Radiograph and heat map side by side, as PNG in Base64, with the score and the archive."""
    radiograph = _radiograph(sample)
    reading, frame = read(radiograph, networks), working_frame(radiograph.pixels)
    grey = cv2.cvtColor(np.rint(frame * 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    hot = cv2.applyColorMap(np.rint(reading.heatmap * 255).astype(np.uint8), cv2.COLORMAP_JET)
    share = (0.5 * reading.heatmap)[..., None]
    blended = (grey * (1 - share) + hot * share).astype(np.uint8)
    contours, _ = cv2.findContours(reading.lungs.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(blended, contours, -1, (255, 255, 255), 1)
    pair: NDArray[np.uint8] = np.concatenate([grey, blended], axis=1)
    scale = _SIDE / pair.shape[0]
    small = cv2.resize(pair, (round(pair.shape[1] * scale), _SIDE), interpolation=cv2.INTER_AREA)
    png: NDArray[np.uint8] = cv2.imencode(".png", small)[1]
    return {"png": base64.b64encode(png.tobytes()).decode(), "score": reading.score, "archive": sample.archive}


def _has_mask(sample: Sample) -> bool:
    return sample.lung_mask is not None or sample.lung_mask_with_heart is not None


def _points_at_lungs(sample: Sample, networks: Networks) -> tuple[bool, float] | None:
    """Whether the hottest point lies in the lungs that somebody drew, and the share of the frame that these cover.

    None where nothing is hot. Source: Zhang et al., "Top-down neural attention by excitation backprop", 2016.
    """
    hot, _ = _unmasked(sample, networks)
    drawn = sample.mask(hot.shape, with_heart=sample.lung_mask is None) > 0.5
    return (bool(drawn.flat[int(hot.argmax())]), float(drawn.mean())) if hot.max() > 0 else None


def _energy_in_lungs(sample: Sample, networks: Networks) -> float | None:
    """Share of the class activation map inside the lungs; None without lungs, or where nothing is hot."""
    hot, lungs = _unmasked(sample, networks)
    total = float(hot.sum())
    return float(hot[lungs].sum()) / total if total > 0 and lungs.any() else None


def _unmasked(sample: Sample, networks: Networks) -> tuple[Gray, NDArray[np.bool_]]:
    """The class activation map before it is masked, and the lungs that the node found."""
    prepared = prepare(_radiograph(sample), lungs=networks.lungs, ribs=networks.ribs, recipe=networks.recipe, stages={})
    _, activation = classify(prepared.image, networks.classifier)
    everywhere = np.ones_like(prepared.lungs)
    scale = networks.operating_point.activation_scale
    return heatmap(activation, prepared.box, everywhere, scale, unrolling=prepared.unrolling), prepared.lungs
