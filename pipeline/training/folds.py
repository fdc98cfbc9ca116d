"""Who learns and who is judged: never the same patient, never the same archive where archives are held out."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from models.covid_xnet import CLASSES
from pipeline.training.classifier import UNSEEN, Images, Targets, scores, targets_of
from pipeline.training.corpus import BadCorpus, Label, Sample, held_out
from pipeline.training.run import Run

_HOME_FOLDS: Final = 5
"""One in so many patients of the archives that a network learns from is kept to set its threshold."""
_INNER_PATIENTS: Final = 3
"""One in so many patients of the only archive of its kind is held out in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Teaching:
    """How networks are trained. fit: on images and targets, with a seed. skip: called where it was done before."""

    fit: Callable[[Images, Targets, int], Sequence[keras.Model]]
    skip: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Indices of the samples that a network learns from and is judged on.

    home: samples of the archives that it learns from, but of patients that it does not see: where its threshold is set.
    """

    name: str
    learn: NDArray[np.intp]
    judge: NDArray[np.intp]
    home: NDArray[np.intp]


def require_both_classes(samples: Sequence[Sample]) -> None:
    """Raise BadCorpus, with the first row of them, if all samples are COVID-19 or none is."""
    targets = targets_of(samples)
    if len(set(targets.tolist())) < len(CLASSES):
        found = sorted({str(sample.label) for sample in samples})
        first = min(samples, key=lambda sample: sample.row).place if samples else "the first row"
        raise BadCorpus(
            f"one class only: from {first} on, all are {', '.join(found)}; "
            "radiographs with label covid and others are needed"
        )


def require_apart(samples: Sequence[Sample], learn: NDArray[np.intp], judge: NDArray[np.intp]) -> None:
    """Raise BadCorpus, with both rows, if a patient is learned from and judged on."""
    learned = {samples[i].patient: samples[i] for i in learn}
    for i in judge:
        if (same := learned.get(samples[i].patient)) is not None:
            raise BadCorpus(
                f"patient {samples[i].patient!r} is learned from ({same.place}) and judged on ({samples[i].place})"
            )


def patient_folds(samples: Sequence[Sample], *, folds: int, seed: int) -> list[Split]:
    """Folds by patient with equal shares of the classes; those of the manifest, if it has a column `fold`.

    Raises BadCorpus if a class has fewer patients than there are folds. Source: COVID-XNet, section 2.4.
    """
    require_both_classes(samples)
    targets, patients = targets_of(samples), [sample.patient for sample in samples]
    everyone, nobody = np.arange(len(samples)), np.arange(0)
    if any(sample.fold for sample in samples):
        judged = [
            np.array([i for i in range(len(samples)) if samples[i].fold == fold])
            for fold in sorted({s.fold for s in samples})
        ]
    else:
        fewest = min(len({p for p, t in zip(patients, targets, strict=True) if t == c}) for c in range(len(CLASSES)))
        if fewest < folds:
            raise BadCorpus(f"{fewest} patients of one class are too few for {folds} folds")
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        judged = [judge for _, judge in splitter.split(everyone, targets, patients)]
    found = []
    for number, judge in enumerate(judged):
        learn = np.setdiff1d(everyone, judge)
        require_apart(samples, learn, judge)
        for part in (learn, judge):
            require_both_classes([samples[i] for i in part])
        found.append(Split(name=f"fold-{number}", learn=learn, judge=judge, home=nobody))
    return found


def archive_split(
    name: str, samples: Sequence[Sample], learning: NDArray[np.bool_], judging: NDArray[np.bool_], seed: int
) -> Split | None:
    """A split by archive; None if either side lacks a class.

    learning, judging: which samples either side may have, bool (N,). Patients of both are only judged on: archives may
    share them.
    """
    targets, patients = targets_of(samples), np.array([sample.patient for sample in samples])
    judge = np.flatnonzero(judging)
    learn = np.flatnonzero(learning & ~np.isin(patients, patients[judge]))
    if any(len(set(targets[part].tolist())) < len(CLASSES) for part in (learn, judge)):
        return None
    fewest = min(len(set(patients[learn][targets[learn] == c])) for c in range(len(CLASSES)))
    if fewest < 2:
        return None
    splitter = StratifiedGroupKFold(min(_HOME_FOLDS, fewest), shuffle=True, random_state=seed)
    stay, home = next(splitter.split(learn, targets[learn], patients[learn]))
    require_apart(samples, learn[stay], np.concatenate([learn[home], judge]))
    return Split(name=name, learn=learn[stay], judge=judge, home=learn[home])


def unseen_splits(samples: Sequence[Sample], learners: NDArray[np.bool_], seed: int) -> list[Split]:
    """The splits of `UNSEEN` that the corpus allows; judged on COVID-19 against normal.

    learners: which samples may be learned from, bool (N,).
    """
    decided = np.array([sample.label in (Label.COVID, Label.NORMAL) for sample in samples])
    archives = np.array([sample.archive for sample in samples])
    splits = [
        archive_split(
            f"unseen-{name}",
            samples,
            learners & np.isin(archives, list(learning)),
            decided & np.isin(archives, list(testing)),
            seed,
        )
        for name, (learning, testing) in UNSEEN.items()
    ]
    return [split for split in splits if split is not None]


def inner_splits(name: str, samples: Sequence[Sample], side: NDArray[np.bool_]) -> list[Split]:
    """Splits by archive within `side`, bool (N,): those that a network of split `name` may learn from.

    Each archive of COVID-19 is held out together with each one of normal radiographs, and judged against it. The only
    archive of its kind cannot be spared: of it, one patient in three is held out. Nothing of what is held out, archive
    or patient, is learned from. There is no home.
    """
    targets, archives = targets_of(samples), np.array([sample.archive for sample in samples])
    normal = np.array([sample.label is Label.NORMAL for sample in samples])
    patients = np.array([sample.patient for sample in samples])

    def kind(ill: bool) -> list[str]:
        found = []
        for archive in sorted(set(archives[side].tolist())):
            own = side & (archives == archive)
            if (targets[own].sum() > normal[own].sum()) == ill and (targets[own] | normal[own]).any():
                found.append(archive)
        return found

    def out(archive: str, others: int) -> NDArray[np.bool_]:
        own: NDArray[np.bool_] = side & (archives == archive)
        if others == 1:
            own[own] = held_out([samples[int(i)] for i in np.flatnonzero(own)], _INNER_PATIENTS)
        return own

    positive, negative = kind(True), kind(False)
    found = []
    for ill in positive:
        for well in negative:
            of_ill, of_well = out(ill, len(positive)), out(well, len(negative))
            judge = np.flatnonzero((of_ill & (targets == 1)) | (of_well & normal))
            held = np.isin(patients, patients[judge]) | of_ill | of_well
            learn = np.flatnonzero(side & ~held)
            for part in (learn, judge):
                require_both_classes([samples[int(i)] for i in part])
            require_apart(samples, learn, judge)
            found.append(Split(name=f"{name}-{ill}-{well}", learn=learn, judge=judge, home=np.arange(0)))
    return found


def fitted(
    run: Run,
    split: Split,
    samples: Sequence[Sample],
    images: Images,
    *,
    teaching: Teaching,
    seed: int,
) -> dict[str, Any]:
    """Train the networks of a split, unless the run has them: `scores` of all images, `curve` of the first, `seconds`.

    The run keeps the networks.
    """

    def compute() -> dict[str, Any]:
        begin = time.monotonic()
        networks = teaching.fit(images[split.learn], targets_of(samples)[split.learn], seed)
        seconds = time.monotonic() - begin
        for vote, network in enumerate(networks):
            # The same layers without the optimizer, whose state is twice as large.
            keras.Model(network.inputs, network.outputs, name=network.name).save(run.network(split.name, vote))
        found = scores(networks, images).tolist()
        return {"scores": found, "curve": curve_of(networks[0]), "votes": len(networks), "seconds": seconds}

    if run.has(split.name):
        teaching.skip()
    return run.once(split.name, compute)


def probed_scores(run: Run, split: Split, probes: Mapping[str, Images]) -> dict[str, list[float]]:
    """What the networks of a split that the run has finished say of other images: name -> scores."""

    def compute() -> dict[str, Any]:
        networks = networks_of(run, split)
        return {name: scores(networks, images).tolist() for name, images in probes.items()}

    return run.once(f"{split.name}-probes", compute)


def networks_of(run: Run, split: Split) -> list[keras.Model]:
    """The trained networks, which vote, of a split that the run has finished."""
    stored = [keras.saving.load_model(run.network(split.name, v)) for v in range(run.part(split.name)["votes"])]
    # Keras stores inputs and outputs as lists of one, which the builders of networks do not expect.
    return [keras.Model(network.inputs[0], network.outputs[0], name=network.name) for network in stored]


def curve_of(network: keras.Model) -> dict[str, list[float]]:
    """What Keras measured after each epoch, if the network was trained in this process."""
    history = getattr(network, "history", None)
    return {} if history is None else {name: [float(v) for v in values] for name, values in history.history.items()}


def learning_folds(samples: Sequence[Sample], learners: NDArray[np.bool_], *, folds: int, seed: int) -> list[Split]:
    """`patient_folds` of those that may be learned from, bool (N,)."""
    everyone = np.flatnonzero(learners)
    return [
        Split(name=part.name, learn=everyone[part.learn], judge=everyone[part.judge], home=part.home)
        for part in patient_folds([samples[int(i)] for i in everyone], folds=folds, seed=seed)
    ]


def cross_validate(
    run: Run,
    samples: Sequence[Sample],
    images: Images,
    learners: NDArray[np.bool_],
    *,
    teaching: Teaching,
    folds: int,
    seed: int,
) -> tuple[NDArray[np.float64], dict[str, float]]:
    """Score each learner by networks that saw none of its patient; returns all scores and the AUC over the folds.

    Raises BadCorpus if a class has fewer patients than there are folds. Source: COVID-XNet, section 2.4.
    """
    targets, out_of_fold, areas = targets_of(samples), np.zeros(len(samples)), []
    for number, split in enumerate(learning_folds(samples, learners, folds=folds, seed=seed)):
        part = fitted(run, split, samples, images, teaching=teaching, seed=seed + number)
        out_of_fold[split.judge] = np.array(part["scores"])[split.judge]
        areas.append(roc_auc_score(targets[split.judge], out_of_fold[split.judge]))
    return out_of_fold, {"cv_auc_mean": float(np.mean(areas)), "cv_auc_sd": float(np.std(areas))}


def judge_unseen_archives(
    run: Run, samples: Sequence[Sample], images: Images, learners: NDArray[np.bool_], *, teaching: Teaching, seed: int
) -> dict[str, float]:
    """Train on some archives, test on COVID-19 against normal of others: what a new hospital would see."""
    targets, found = targets_of(samples), {}
    for split in unseen_splits(samples, learners, seed):
        part = fitted(run, split, samples, images, teaching=teaching, seed=seed)
        judged = np.array(part["scores"])[split.judge]
        found[f"{split.name.replace('-', '_archives_')}_auc"] = float(roc_auc_score(targets[split.judge], judged))
    if found:
        found["unseen_archives_auc_mean"] = float(np.mean(list(found.values())))
    return found
