"""The paper's exhaustive search: how many convolutions, and how large their kernels.

The engine is Optuna: its grid and its trials are rows of a database, so that a search that was killed goes on, and the
same command on several machines with one database shares the work. It prunes by successive halving.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

import keras
import numpy as np
import optuna
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from models.covid_xnet import FILTERS, covid_xnet
from pipeline.evaluation.figures import pareto
from pipeline.evaluation.page import number, page, plot, table
from pipeline.training.augment import Vary
from pipeline.training.classifier import BATCH, Images, Targets, class_weights, scores
from pipeline.training.run import Run

KERNELS: Final = (3, 5, 7, 9, 11)
TABLE: Final = "search.json"
PAGE: Final = "search.html"
_REDUCTION: Final = 3
"""Successive halving lets about one in so many go on."""
_FIRST_RUNG: Final = 3
"""Epochs after which it asks first: what one epoch leaves on archives that were not learned from is noise."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lessons:
    """What each network of the search learns from, and what it is scored on: archives that it did not see."""

    images: Images
    targets: Targets
    judged: Images
    truth: Targets
    vary: Vary


def depths(side: int) -> list[int]:
    """Numbers of convolutions, from one to the most that leave more than one pixel to average."""
    return [depth for depth in range(1, side.bit_length() + 1) if side >> (depth - 1) > 1]


def architecture(depth: int, kernel: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Kernels and filters of a network of the grid; filters as the shipped network has them, the last repeated."""
    return (kernel,) * depth, tuple(FILTERS[min(i, len(FILTERS) - 1)] for i in range(depth))


def cost(side: int, depth: int, kernel: int) -> int:
    """Multiplications and additions of the convolutions for one image, counted as one."""
    _, filters = architecture(depth, kernel)
    ins = (1, *filters[:-1])
    return sum((side >> i) ** 2 * kernel**2 * a * b for i, (a, b) in enumerate(zip(ins, filters, strict=True)))


def search(
    lessons: Lessons, run: Run, *, storage: str, name: str, epochs: int, seed: int, tick: Callable[[], None]
) -> list[dict[str, Any]]:
    """Train every network of the grid that nobody has finished, and write `search.json` and `search.html`.

    storage: URL of the database. name: of the study in it. tick: called after each network. Returns the table, the best
    first.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    grid = {"depth": depths(lessons.images.shape[1]), "kernel": list(KERNELS)}
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        direction="maximize",
        sampler=optuna.samplers.GridSampler(grid, seed=seed),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=_FIRST_RUNG, reduction_factor=_REDUCTION),
        load_if_exists=True,
    )
    done = {(row["depth"], row["kernel"]) for row in table_of(study, lessons)}
    for _ in done:
        tick()
    if len(done) < len(grid["depth"]) * len(grid["kernel"]):
        study.optimize(lambda trial: _score(trial, lessons, epochs, seed), callbacks=[lambda study, trial: tick()])
    rows = table_of(study, lessons)
    (run.folder / TABLE).write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n", "utf-8")
    (run.folder / PAGE).write_text(_html(rows, run), "utf-8")
    return rows


def table_of(study: optuna.Study, lessons: Lessons) -> list[dict[str, Any]]:
    """A row for each network of the grid that was finished or pruned, the best first."""
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    for trial in study.get_trials(deepcopy=False, states=states):
        depth, kernel = trial.params["depth"], trial.params["kernel"]
        # Two machines may have tried the same: the first counts.
        rows.setdefault(
            (depth, kernel),
            {
                "name": f"{depth} of {kernel}x{kernel}",
                "depth": depth,
                "kernel": kernel,
                "auc": trial.intermediate_values[max(trial.intermediate_values)],
                "epochs": max(trial.intermediate_values),
                "pruned": trial.state is optuna.trial.TrialState.PRUNED,
                "flops": cost(lessons.images.shape[1], depth, kernel),
                "parameters": trial.user_attrs["parameters"],
                "seconds": trial.user_attrs["seconds"],
            },
        )
    return sorted(rows.values(), key=lambda row: (row["pruned"], -row["auc"]))


def front(rows: Sequence[dict[str, Any]]) -> list[int]:
    """Indices of the rows that no other row beats in AUC at the same cost or less, the cheapest first."""
    best, found = -1.0, []
    for i in sorted(range(len(rows)), key=lambda i: (rows[i]["flops"], -rows[i]["auc"])):
        if not rows[i]["pruned"] and rows[i]["auc"] > best:
            best = rows[i]["auc"]
            found.append(i)
    return found


def _score(trial: optuna.Trial, lessons: Lessons, epochs: int, seed: int) -> float:
    side = lessons.images.shape[1]
    depth = trial.suggest_categorical("depth", depths(side))
    kernel = trial.suggest_categorical("kernel", KERNELS)
    begin = time.monotonic()
    keras.utils.set_random_seed(seed)
    random = np.random.default_rng(seed)
    network = covid_xnet(side, *architecture(depth, kernel))
    network.compile(keras.optimizers.Adadelta(learning_rate=1.0), "sparse_categorical_crossentropy")
    weights = class_weights(lessons.targets)[lessons.targets]
    trial.set_user_attr("parameters", int(network.count_params()))
    found = 0.0
    for epoch in range(1, epochs + 1):
        varied: NDArray[np.float32] = np.stack([lessons.vary(image, random) for image in lessons.images])[..., None]
        network.fit(varied, lessons.targets, sample_weight=weights, batch_size=BATCH, verbose=0)
        found = float(roc_auc_score(lessons.truth, scores([network], lessons.judged)))
        trial.report(found, epoch)
        trial.set_user_attr("seconds", round(time.monotonic() - begin, 1))
        if trial.should_prune():
            raise optuna.TrialPruned
    return found


def _html(rows: Sequence[dict[str, Any]], run: Run) -> str:
    asked = run.config()
    best = front(rows)
    cells = [
        (
            row["name"], number(row["auc"]), f"{row['epochs']}{', pruned' if row['pruned'] else ''}",
            f"{row['flops'] / 1e6:.1f}", str(row["parameters"]), f"{row['seconds']:.0f}", "yes" if i in best else "",
        )
        for i, row in enumerate(rows)
    ]  # fmt: skip
    header = ("convolutions", "AUC", "epochs", "million operations", "parameters", "seconds", "on the front")
    learn, judge = ", ".join(asked["learn"]), ", ".join(asked["judge"])
    words = (
        f"<p>Learned from {escape(learn)}; AUC on {escape(judge)}, which no network saw. At most {asked['epochs']} "
        "epochs, with successive halving: a pruned network has fewer, and its AUC is the last. One kernel size in all "
        "layers. Learned from labels, as the paper has it. Investigational.</p>"
    )
    return page("COVID-XNet, grid search", [words, plot(pareto(rows, best), "AUC and cost"), table(header, cells)])
