"""`covid-xnet choose-recipe | evaluate | grid-search`: what a recipe or an architecture is worth.

Needs the extra `train`.
"""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer

from dicom_node.cli.train import CacheOption, EpochsOption, ManifestOption, PassesOption, course_of, teaching, training
from dicom_node.errors import NodeError

WeightsOption = Annotated[Path, typer.Option("--weights", help="Folder with the lung and rib networks.")]
RunOption = Annotated[Path, typer.Option("--out", help="Folder of the run; one that was interrupted goes on.")]
RecipeOption = Annotated[str, typer.Option("--recipe", help='"default" or "paper".')]
SeedOption = Annotated[int, typer.Option("--seed", help="Of folds, weights and augmentation.")]

LEARN: Final = ("cohen", "covid-cxnet", "shenzhen")
JUDGE: Final = ("hannover", "montgomery")
"""Archives of a search: all of the side of split a that is learned from, so that its other side stays unseen."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("choose-recipe")(choose_recipe)
    app.command("evaluate")(evaluate)
    app.command("grid-search")(grid_search)


def choose_recipe(
    manifest: ManifestOption,
    weights: WeightsOption,
    out: RunOption,
    cache: CacheOption = Path("cache"),
    seed: SeedOption = 0,
) -> None:
    """Compare candidates for the recipe on archives that are held out, and write choice.json.

    Only among the archives that each split of the evaluation learns from: those that it judges on are not asked.

    Example: covid-xnet choose-recipe --manifest corpus/manifest.csv --weights weights --out runs/choice
    """
    with training("Choosing") as begin:
        from functools import cache as once

        from pipeline.preprocess import Recipe
        from pipeline.training.choice import CANDIDATES, LOCK, compare, splits_of
        from pipeline.training.classifier import Images, choose
        from pipeline.training.corpus import read_corpus
        from pipeline.training.prepare import prepared
        from pipeline.training.run import BadRun, Run, config_of

        samples = choose(read_corpus(manifest))
        splits = splits_of(samples)
        if not splits:
            raise NodeError("No split has all archives that it learns from.", hint="They are named in science.md.")

        @once
        def images_of(recipe: Recipe) -> Images:
            return prepared(samples, recipe, weights, cache, begin(len(samples)))

        tick = begin(len(CANDIDATES) * sum(len(inner) for inner in splits.values()))
        try:
            run = Run.open(out, config_of(samples, command="choose-recipe", seed=seed))
        except BadRun as e:
            raise NodeError(f"{e}.", hint="Give another --out.") from e
        found = compare(samples, run, images_of, seed=seed, tick=tick)
    for row in found["table"]:
        each = ", ".join(f"{name} {auc:.3f}" for name, auc in row["splits"].items())
        typer.echo(f"{row['name']}: {row['mean']:.4f} ({each})")
    typer.echo(f"Chosen: {found['chosen']['name']}. Written to {out / LOCK.name}.")


def evaluate(
    manifest: ManifestOption,
    weights: WeightsOption,
    out: RunOption,
    recipe: RecipeOption = "default",
    cache: CacheOption = Path("cache"),
    epochs: PassesOption = None,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Of the cross-validation.")] = 5,
    seed: SeedOption = 0,
    sensitivity: Annotated[
        float, typer.Option("--sensitivity", min=0.5, max=1, help="That thresholds have at home.")
    ] = 0.85,
    ribs: Annotated[
        bool | None,
        typer.Option("--ribs/--no-ribs", help="Whether ribs are suppressed; as the recipe has it if not given."),
    ] = None,
) -> None:
    """Judge a recipe: train by patient and by archive, probe for shortcuts, and write report.html and report.json.

    Example: covid-xnet evaluate --manifest corpus/manifest.csv --weights weights --out runs/default
    """
    with training("Evaluating") as begin:
        from pipeline.evaluation.evaluate import PAGE
        from pipeline.evaluation.evaluate import evaluate as judge
        from pipeline.evaluation.study import load_corpus, trainings
        from pipeline.flow import RECIPES
        from pipeline.training.corpus import read_corpus
        from pipeline.training.folds import require_both_classes
        from pipeline.training.run import BadRun, Run, classifier_config

        _require_recipe(recipe, RECIPES)
        judged = RECIPES[recipe] if ribs is None else replace(RECIPES[recipe], ribs=ribs)
        samples = read_corpus(manifest)
        require_both_classes(samples)
        corpus = load_corpus(samples, judged, weights, cache, begin)
        course = course_of(recipe, epochs)
        asked = {"epochs": course.epochs, "folds": folds, "seed": seed}
        try:
            report = judge(
                corpus,
                Run.open(out, classifier_config(corpus.samples, judged, weights, **asked)),
                judged,
                weights,
                teaching=teaching(course, begin, trainings(corpus, folds, seed)),
                folds=folds,
                seed=seed,
                sensitivity=sensitivity,
            )
        except BadRun as e:
            raise NodeError(f"{e}.", hint="Give another --out.") from e
    for target in report["targets"]:
        found = "-" if target["found"] is None else f"{target['found']:.3f}"
        met = {True: "met", False: "missed", None: "not measured"}[target["met"]]
        typer.echo(f"{target['name']}: {found} (aim {target['wanted']}): {met}")
    typer.echo(f"Written to {out / PAGE}.")


def grid_search(
    manifest: ManifestOption,
    weights: WeightsOption,
    out: RunOption,
    recipe: RecipeOption = "default",
    cache: CacheOption = Path("cache"),
    epochs: EpochsOption = 9,
    learn: Annotated[
        list[str] | None,
        typer.Option(help="Archive to learn from, once for each; cohen, covid-cxnet and shenzhen if none is given."),
    ] = None,
    judge: Annotated[
        list[str] | None,
        typer.Option(help="Archive to score on, once for each; hannover and montgomery if none is given."),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="Database that machines share, as SQLAlchemy URL; by default a file in --out."),
    ] = None,
    seed: SeedOption = 0,
) -> None:
    """Try every number of convolutions with every kernel size, and write search.html and search.json.

    Scored on archives that no network saw. The same command on several machines, with one --storage, shares the work.

    Example: covid-xnet grid-search --manifest corpus/manifest.csv --weights weights --out runs/search
    """
    with training("Searching") as begin:
        from pipeline.evaluation.search import KERNELS, PAGE, Lessons, depths, search
        from pipeline.flow import RECIPES
        from pipeline.training.classifier import COURSES, choose, targets_of
        from pipeline.training.corpus import Label, read_corpus
        from pipeline.training.folds import require_both_classes
        from pipeline.training.prepare import prepared
        from pipeline.training.run import BadRun, Run, config_of, digest_of

        _require_recipe(recipe, RECIPES)
        home, away = sorted(learn or LEARN), sorted(judge or JUDGE)
        if both := set(home) & set(away):
            raise typer.BadParameter(f"{', '.join(sorted(both))} cannot be learned from as well.", param_hint="--judge")
        samples = choose([s for s in read_corpus(manifest) if s.archive in {*home, *away}], seed)
        judged_patients = {s.patient for s in samples if s.archive in away}
        learned = [i for i, s in enumerate(samples) if s.archive in home and s.patient not in judged_patients]
        judged = [i for i, s in enumerate(samples) if s.archive in away and s.label in (Label.COVID, Label.NORMAL)]
        for part in (learned, judged):
            require_both_classes([samples[i] for i in part])
        asked = {"command": "grid-search", "recipe": RECIPES[recipe].digest(), "learn": home, "judge": away}
        config = config_of(samples, **asked, epochs=epochs, seed=seed)
        images, targets = prepared(samples, RECIPES[recipe], weights, cache, begin(len(samples))), targets_of(samples)
        try:
            run = Run.open(out, config)
        except BadRun as e:
            raise NodeError(f"{e}.", hint="Give another --out.") from e
        lessons = Lessons(
            images=images[learned],
            targets=targets[learned],
            judged=images[judged],
            truth=targets[judged],
            vary=COURSES[recipe].vary,
        )
        rows = search(
            lessons,
            run,
            storage=storage or f"sqlite:///{(out / 'search.db').resolve()}",
            name=digest_of(config),
            epochs=epochs,
            seed=seed,
            tick=begin(len(depths(images.shape[1])) * len(KERNELS)),
        )
    for row in rows[:5]:
        typer.echo(f"{row['name']}: AUC {row['auc']:.3f}, {row['flops'] / 1e6:.1f} million operations")
    typer.echo(f"Written to {out / PAGE}.")


def _require_recipe(recipe: str, known: Collection[str]) -> None:
    if recipe not in known:
        raise typer.BadParameter(f"{recipe!r} is none of {', '.join(known)}.", param_hint="--recipe")
