"""`covid-xnet evaluate`: what a recipe is worth, by the protocols of the handbook. Needs the extra `train`."""

from pathlib import Path
from typing import Annotated

import typer

from dicom_node.cli.train import CacheOption, EpochsOption, ManifestOption, teaching, training
from dicom_node.errors import NodeError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    manifest: ManifestOption,
    weights: Annotated[Path, typer.Option("--weights", help="Folder with the lung and rib networks.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run; one that was interrupted goes on.")],
    recipe: Annotated[str, typer.Option("--recipe", help='"default" or "paper".')] = "default",
    cache: CacheOption = Path("cache"),
    epochs: EpochsOption = 10,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Of the cross-validation.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Of folds, weights and augmentation.")] = 0,
    sensitivity: Annotated[
        float, typer.Option("--sensitivity", min=0.5, max=1, help="That thresholds have at home.")
    ] = 0.9,
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
        from pipeline.training.run import BadRun, Run, config_of

        if recipe not in RECIPES:
            raise typer.BadParameter(f"{recipe!r} is none of {', '.join(RECIPES)}.", param_hint="--recipe")
        samples = read_corpus(manifest)
        require_both_classes(samples)
        corpus = load_corpus(samples, RECIPES[recipe], weights, cache, begin)
        tick = begin(trainings(corpus, folds, seed) * epochs)
        asked = {"command": "evaluate", "recipe": RECIPES[recipe].digest(), "epochs": epochs}
        asked |= {"folds": folds, "seed": seed, "sensitivity": sensitivity}
        try:
            report = judge(
                corpus,
                Run.open(out, config_of(corpus.samples, **asked)),
                RECIPES[recipe],
                weights,
                teaching=teaching(recipe, epochs, tick),
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
