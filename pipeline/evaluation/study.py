"""The networks of an evaluation: who is trained on what, and what each says of every radiograph."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.calibrate import Scores, Targets, threshold_for
from pipeline.evaluation.probes import (
    border_only,
    halves_exchanged,
    lungs_blanked,
    simple_features,
    simple_scores,
)
from pipeline.preprocess import Recipe
from pipeline.training.classifier import Images, choose, learners, targets_of
from pipeline.training.corpus import Label, Sample, labelled_of
from pipeline.training.folds import Split, Teaching, archive_split, fitted, learning_folds, probed_scores, unseen_splits
from pipeline.training.prepare import prepared
from pipeline.training.run import Run

SAME_SOURCE_PATIENTS: Final = 5
"""Patients of either class that an archive needs to be a control of its own."""

PROBES: Final = ("lungs_blanked", "border_only", "halves_exchanged")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Corpus:
    """The labelled radiographs of a manifest as the classifier sees them.

    images: uint8 (N, side, side). probed: indices of the samples that the probes are made for. probes: name -> uint8
    (P, side, side). features: of the logistic regression, for `probed`; float64 (P, F). learners: bool (N,).
    """

    samples: Sequence[Sample]
    images: Images
    probed: NDArray[np.intp]
    probes: Mapping[str, Images]
    features: NDArray[np.float64]
    learners: NDArray[np.bool_]
    targets: Targets = field(init=False)
    patients: NDArray[np.str_] = field(init=False)
    archives: NDArray[np.str_] = field(init=False)
    labels: NDArray[np.str_] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", targets_of(self.samples))
        object.__setattr__(self, "patients", np.array([sample.patient for sample in self.samples]))
        object.__setattr__(self, "archives", np.array([sample.archive for sample in self.samples]))
        object.__setattr__(self, "labels", np.array([str(sample.label) for sample in self.samples]))

    @property
    def decided(self) -> NDArray[np.bool_]:
        """COVID-19 or normal: what a protocol judges; bool (N,)."""
        return np.isin(self.labels, (Label.COVID, Label.NORMAL))


def load_corpus(
    samples: Sequence[Sample], recipe: Recipe, weights: Path, cache: Path, begin: Callable[[int], Callable[..., None]]
) -> Corpus:
    """Prepare the labelled samples, once as they are served and once for each probe."""
    labelled = labelled_of(samples)
    rows = {id(sample): i for i, sample in enumerate(labelled)}
    probed = np.array(sorted(rows[id(sample)] for sample in choose(labelled)), np.intp)
    chosen = [labelled[i] for i in probed]
    images = prepared(labelled, recipe, weights, cache, begin(len(labelled)))
    return Corpus(
        samples=labelled,
        images=images,
        probed=probed,
        probes={
            "lungs_blanked": prepared(chosen, recipe, weights, cache, begin(len(chosen)), lungs_blanked),
            "border_only": prepared(chosen, recipe, weights, cache, begin(len(chosen)), border_only),
            "halves_exchanged": halves_exchanged(images[probed]),
        },
        features=simple_features(chosen),
        learners=learners(labelled, recipe),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """What a network, or the networks of the folds together, say of radiographs that they were not trained on.

    scores: float64 (N,), NaN where the radiograph or its patient was learned from. probes: name -> float64 (N,), NaN
    also where there is no probe; with `simple`, the logistic regression. judge: what it is judged on, home: where its
    threshold is set; indices. folds: the parts of a cross-validation.
    """

    name: str
    scores: Scores
    probes: Mapping[str, Scores]
    judge: NDArray[np.intp]
    home: NDArray[np.intp]
    seconds: float
    curves: Mapping[str, Mapping[str, Sequence[float]]]
    folds: Sequence[Split] = ()

    def threshold(self, corpus: Corpus, sensitivity: float) -> float:
        """The threshold with `sensitivity` at home."""
        return threshold_for(corpus.targets[self.home], self.scores[self.home], sensitivity)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Study:
    """A corpus, how networks are trained on it, and where what is finished is kept."""

    corpus: Corpus
    run: Run
    teaching: Teaching
    folds: int
    seed: int

    def cross_validation(self) -> Judged:
        """Folds by patient, over all that may be learned from."""
        corpus = self.corpus
        everyone = np.flatnonzero(corpus.learners)
        folds = learning_folds(corpus.samples, corpus.learners, folds=self.folds, seed=self.seed)
        parts = [self._judged(fold, self.seed + number) for number, fold in enumerate(folds)]

        def together(each: Sequence[Scores]) -> Scores:
            # What nobody learns from is judged by all folds that do not know its patient.
            known = np.sum([~np.isnan(values) for values in each], axis=0)
            found = np.where(known > 0, np.nansum(each, axis=0) / np.maximum(known, 1), np.nan)
            for fold, values in zip(folds, each, strict=True):
                found[fold.judge] = values[fold.judge]
            return found

        return Judged(
            name="cross-validation",
            scores=together([part.scores for part in parts]),
            probes={name: together([part.probes[name] for part in parts]) for name in parts[0].probes},
            judge=everyone[corpus.decided[everyone]],
            home=everyone,
            seconds=sum(part.seconds for part in parts),
            curves={name: curve for part in parts for name, curve in part.curves.items()},
            folds=folds,
        )

    def unseen_archives(self) -> list[Judged]:
        """The splits by archive that the corpus allows."""
        splits = unseen_splits(self.corpus.samples, self.corpus.learners, self.seed)
        return [self._judged(split, self.seed) for split in splits]

    def same_source(self) -> list[Judged]:
        """For each archive that has both classes, a network that learns from all others."""
        found = []
        for archive in two_class_archives(self.corpus):
            own = self.corpus.archives == archive
            split = archive_split(
                f"without-{archive}",
                self.corpus.samples,
                self.corpus.learners & ~own,
                self.corpus.decided & own,
                self.seed,
            )
            if split is not None:
                found.append(self._judged(split, self.seed))
        return found

    def _judged(self, split: Split, seed: int) -> Judged:
        corpus = self.corpus
        part = fitted(self.run, split, corpus.samples, corpus.images, teaching=self.teaching, seed=seed)
        probed = probed_scores(self.run, split, corpus.probes)
        unknown = ~np.isin(corpus.patients, corpus.patients[split.learn])
        probes = {name: self._spread(values, unknown) for name, values in probed.items()}
        learned = np.isin(corpus.probed, split.learn)
        simple = simple_scores(corpus.features[learned], corpus.targets[corpus.probed[learned]], corpus.features)
        return Judged(
            name=split.name,
            scores=np.where(unknown, np.array(part["scores"]), np.nan),
            probes={**probes, "simple": self._spread(simple, unknown)},
            judge=split.judge,
            home=split.home,
            seconds=part["seconds"],
            curves={split.name: part["curve"]},
        )

    def _spread(self, values: Any, unknown: NDArray[np.bool_]) -> Scores:
        """Values of what was probed, over all samples."""
        spread = np.full(len(self.corpus.samples), np.nan)
        spread[self.corpus.probed] = values
        return np.where(unknown, spread, np.nan)


def two_class_archives(corpus: Corpus) -> list[str]:
    """Archives with enough patients with COVID-19 and normal ones."""
    return [
        str(archive)
        for archive in np.unique(corpus.archives)
        if all(
            len(set(corpus.patients[(corpus.archives == archive) & (corpus.labels == label)])) >= SAME_SOURCE_PATIENTS
            for label in (Label.COVID, Label.NORMAL)
        )
    ]


def trainings(corpus: Corpus, folds: int, seed: int) -> int:
    """How many networks an evaluation trains, at most."""
    return folds + len(unseen_splits(corpus.samples, corpus.learners, seed)) + len(two_class_archives(corpus))
