"""Which recipe ships: chosen on archives within those that each split learns from, and locked.

No split of `UNSEEN` is asked for the archives that it judges on, so that those say what the choice is worth.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from sklearn.metrics import roc_auc_score

from pipeline.preprocess import DEFAULT, Recipe
from pipeline.training.augment import gently_and_in_tone
from pipeline.training.classifier import COURSES, UNSEEN, Course, Images, fit, scores, targets_of
from pipeline.training.corpus import Sample
from pipeline.training.folds import Split, inner_splits
from pipeline.training.run import Run
from pipeline.training.tutor import Features, Tutor, features_of

LOCK: Final = Path(__file__).with_name("choice.json")
"""What was chosen, with the table that it was chosen from."""

_FREEDOMS: Final = (1e-5, 1e-4, 1e-3)

CRITERION: Final = (
    "Mean over the splits of the mean AUC of their inner splits: of the archives that the split learns from, each one "
    "of COVID-19 is held out with each one of normal radiographs; the only archive of its kind, by patients."
)


class NotLocked(Exception):
    """The code has another recipe than the one that was chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A way from a radiograph to a score.

    alone: the tutor itself is asked, without a network. That takes a second, and tells which tutor to take.
    """

    recipe: Recipe
    course: Course
    alone: bool = False

    def digest(self) -> str:
        """Sha256 (hex) of all that it consists of, but the code."""
        course = {**asdict(self.course), "vary": self.course.vary.__name__}
        text = json.dumps([self.recipe.digest(), course, self.alone], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


DEFAULT_CANDIDATE: Final = Candidate(recipe=DEFAULT, course=COURSES["default"])
"""What the recipe `default` is in this code."""


def _candidates() -> Iterator[tuple[str, Candidate]]:
    course = Course(vary=gently_and_in_tone, epochs=10, averaged=True, poolings=3)
    for ribs in (True, False):
        recipe = Recipe(name=DEFAULT.name, lung_box=True, ribs=ribs, unroll=True, detail=64, side=64)
        words = "suppressed" if ribs else "left"
        for freedom in _FREEDOMS:
            taught = replace(course, tutor=freedom)
            yield f"tutor alone, ribs {words}, freedom {freedom:g}", Candidate(recipe=recipe, course=taught, alone=True)
    for freedom in _FREEDOMS:
        taught = replace(course, tutor=freedom)
        yield f"network, tutor with freedom {freedom:g}, ribs left", Candidate(recipe=recipe, course=taught)


CANDIDATES: Final[Mapping[str, Candidate]] = dict(_candidates())
"""What is compared: tutors on either kind of image, and networks on the kind on which the tutors did better."""


def require_locked(recipe: str, lock: Path = LOCK) -> None:
    """Raise NotLocked if `recipe` is the default one, and not the one that was chosen."""
    if recipe != DEFAULT.name:
        return
    try:
        chosen = json.loads(lock.read_text("utf-8"))["chosen"]
        name, digest = str(chosen["name"]), str(chosen["digest"])
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise NotLocked(f"{lock} cannot be read: {e}") from e
    if digest != DEFAULT_CANDIDATE.digest():
        raise NotLocked(f"the recipe {recipe!r} of this code is not {name!r}, which {lock} has locked")


def splits_of(samples: Sequence[Sample]) -> dict[str, list[Split]]:
    """The inner splits of each split of `UNSEEN`, by its name; those whose archives are missing are left out."""
    archives = np.array([sample.archive for sample in samples])
    found = {}
    for name, (learning, _) in UNSEEN.items():
        side = np.isin(archives, list(learning))
        if learning <= set(archives.tolist()):
            found[name] = inner_splits(name, samples, side)
    return found


def compare(
    samples: Sequence[Sample],
    run: Run,
    images_of: Callable[[Recipe], Images],
    *,
    candidates: Mapping[str, Candidate] = CANDIDATES,
    seed: int,
    tick: Callable[[], None],
) -> dict[str, Any]:
    """Judge every candidate on every inner split, unless the run has it, and write `choice.json` into its folder.

    images_of: what a recipe makes of the samples. tick: called after each judgement. Returns what is written: `table`,
    the best first, and `chosen`, the best that is a network.
    """
    targets, splits = targets_of(samples), splits_of(samples)

    @cache
    def features(recipe: Recipe) -> Features:
        return features_of(images_of(recipe))

    def judge(candidate: Candidate, split: Split) -> float:
        course, learned = candidate.course, targets[split.learn]
        if candidate.alone:
            assert course.tutor is not None
            seen = features(candidate.recipe)
            said = Tutor.fit(seen[split.learn], learned, course.tutor).decide(seen[split.judge])
        else:
            images = images_of(candidate.recipe)
            networks = fit(images[split.learn], learned, course=course, seed=seed, tick=lambda: None)
            said = scores(networks, images[split.judge])
        return float(roc_auc_score(targets[split.judge], said))

    rows: list[dict[str, Any]] = []
    for name, candidate in candidates.items():
        found: dict[str, dict[str, float]] = {}
        for of, inner in splits.items():
            for split in inner:
                part = run.once(
                    f"{split.name}-{candidate.digest()[:16]}",
                    lambda candidate=candidate, split=split: {"auc": judge(candidate, split)},  # type: ignore[misc]
                )
                found.setdefault(of, {})[split.name] = part["auc"]
                tick()
        by_split = {of: float(np.mean(list(each.values()))) for of, each in found.items()}
        rows.append(
            {
                "name": name,
                "mean": float(np.mean(list(by_split.values()))),
                "splits": by_split,
                "inner": {key: auc for each in found.values() for key, auc in each.items()},
                "alone": candidate.alone,
                "digest": candidate.digest(),
            }
        )
    rows.sort(key=lambda row: -row["mean"])
    best = next(row for row in rows if not row["alone"])
    for row in rows:
        apart = [row["inner"][key] - best["inner"][key] for key in row["inner"]]
        row["against_chosen"] = {"mean": float(np.mean(apart)), "standard_deviation": float(np.std(apart))}
    table = {
        "criterion": CRITERION,
        "chosen": {"name": best["name"], "digest": best["digest"]},
        "seed": seed,
        "corpus": run.config()["corpus"],
        "table": rows,
    }
    (run.folder / LOCK.name).write_text(json.dumps(table, indent=1, allow_nan=False) + "\n", "utf-8")
    return table
