"""Prepare a corpus for the classifier once per recipe and networks, on all cores."""

import hashlib
import inspect
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.registry import Registry
from models.serving import Network
from pipeline.errors import UnreadableRadiograph
from pipeline.flow import before_the_classifier, prepare
from pipeline.preprocess import Recipe
from pipeline.radiograph import Radiograph, from_image
from pipeline.training.corpus import MAXIMUM_PIXELS, BadCorpus, Sample

_CHUNK = 64

Probe = Callable[[Radiograph, Network], tuple[Radiograph, Network]]
"""Changes a radiograph before it is prepared. Gets the lung network, and returns the one to go on with."""


def prepared(
    samples: Sequence[Sample],
    recipe: Recipe,
    weights: Path,
    cache: Path,
    tick: Callable[[int], None],
    probe: Probe | None = None,
) -> NDArray[np.uint8]:
    """What the classifier sees of each sample: uint8 (N, side, side), 0 to 255 for [0, 1].

    weights: folder with the lung and rib networks. cache: folder that keeps the result, by the digest of all that it
    depends on. `tick` gets the number of samples that were done. probe: a function of a module, known by its name and
    its code. Raises BadCorpus and WeightsMismatch.
    """
    registry = Registry.load(weights)
    names = before_the_classifier(recipe)
    networks = [str(registry.file(name, ".xml")) for name in names]
    digests = [d for name in names for d in registry.entries[name].files.values()]
    contents = [sample.digest() for sample in samples]
    changed = [] if probe is None else [probe.__name__, inspect.getsource(inspect.getmodule(probe) or probe)]
    key = hashlib.sha256("\n".join([recipe.digest(), *digests, *contents, *changed]).encode()).hexdigest()[:16]
    file = cache / f"{'-'.join([recipe.name, *changed[:1]])}-{key}.npy"
    if file.exists():
        tick(len(samples))
        return np.asarray(np.load(file))
    cache.mkdir(parents=True, exist_ok=True)
    chunks = [samples[i : i + _CHUNK] for i in range(0, len(samples), _CHUNK)]
    images = []
    # OpenVINO and TensorFlow do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), context, _load, (networks, recipe, probe)) as pool:
        for part in pool.map(_prepare, chunks):
            images.append(part)
            tick(len(part))
    array = np.concatenate(images)
    temporary = file.with_suffix(".part.npy")
    np.save(temporary, array)
    temporary.rename(file)
    return array


_worker: tuple[Network, Network | None, Recipe, Probe | None] | None = None
"""The networks of a worker process, loaded once when it starts."""


def _load(networks: Sequence[str], recipe: Recipe, probe: Probe | None) -> None:
    global _worker
    lungs, *ribs = [Network(Path(file)) for file in networks]
    _worker = lungs, ribs[0] if ribs else None, recipe, probe


def _prepare(samples: Sequence[Sample]) -> NDArray[np.uint8]:
    assert _worker is not None
    find, ribs, recipe, probe = _worker
    images = []
    for sample in samples:
        try:
            radiograph: Radiograph = from_image(sample.file, maximum_pixels=MAXIMUM_PIXELS)
            radiograph, lungs = probe(radiograph, find) if probe else (radiograph, find)
            image = prepare(radiograph, lungs=lungs, ribs=ribs, recipe=recipe, stages={}).image
        except UnreadableRadiograph as e:
            raise BadCorpus(f"{sample.place}: {e}") from e
        images.append(np.rint(image * 255).astype(np.uint8))
    return np.stack(images)
