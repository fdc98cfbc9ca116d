"""`covid-xnet train`: train the networks on a corpus of one's own. Needs the extra `train`."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_node.errors import NodeError
from dicom_node.roles import ONE_THREAD

if TYPE_CHECKING:  # commands import what is large when they run: --help answers at once
    from pipeline.training.classifier import Course
    from pipeline.training.folds import Teaching

ManifestOption = Annotated[
    Path,
    typer.Option(
        "--manifest",
        exists=True,
        dir_okay=False,
        help="CSV with the columns file, label, patient_id, source_key and lung_mask; paths relative to it.",
    ),
]
OutOption = Annotated[Path, typer.Option("--out", help="Folder that gets weights and manifest.json.")]
CacheOption = Annotated[Path, typer.Option("--cache", help="Folder for what is computed once.")]
VersionOption = Annotated[str, typer.Option("--version", help="Version that the weights will carry.")]
DataOption = Annotated[str, typer.Option("--data", help="What they are trained on, in words, for the manifest.")]
StartOption = Annotated[
    Path | None,
    typer.Option(
        "--start",
        exists=True,
        file_okay=False,
        help="Folder of weights to begin with, instead of random ones.",
        show_default=False,
    ),
]
EpochsOption = Annotated[int, typer.Option("--epochs", min=1, help="Passes over the training set.")]
PassesOption = Annotated[
    int | None,
    typer.Option(
        "--epochs", min=1, help="Passes over the training set; those of the recipe if not given.", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Train the networks on a corpus of your own (extra `train`).")
    group.command("reference")(reference)
    group.command("ribs")(ribs)
    group.command("lungs")(lungs)
    group.command("view")(view)
    group.command("classifier")(classifier)
    app.add_typer(group, name="train")


@contextmanager
def training(description: str) -> Iterator[Callable[[int], Callable[..., None]]]:
    """Set TensorFlow up, show progress, and turn errors of the corpus into errors of the node."""
    # By the environment: TensorFlow's own function raises if something has used it before in this process.
    threads = {**ONE_THREAD, "TF_NUM_INTRAOP_THREADS": str(len(os.sched_getaffinity(0)))}
    os.environ.update({**threads, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""})
    try:
        with _silence():
            import tensorflow as tf
    except ModuleNotFoundError:
        raise NodeError(
            "TensorFlow is not installed.", hint="Install the extra: pip install 'covid-xnet[train]'."
        ) from None
    from rich.console import Console
    from rich.progress import Progress

    from models.registry import WeightsMismatch
    from pipeline.training.corpus import BadCorpus

    # It warns of graphs that are traced again: each network has its own, and is trained once.
    tf.get_logger().setLevel("ERROR")
    # A network that was stored knows its one input by name, and remarks upon an image without it.
    warnings.filterwarnings("ignore", message="The structure of `inputs`")
    console = Console(stderr=True)
    try:
        with Progress(console=console, disable=not console.is_terminal) as progress:

            def begin(total: int) -> Callable[..., None]:
                task = progress.add_task(description, total=total)
                return lambda count=1: progress.advance(task, count)

            yield begin
    except (BadCorpus, WeightsMismatch) as e:
        raise NodeError(f"{e}.") from e


@contextmanager
def _silence() -> Iterator[None]:
    """Keep from the terminal what TensorFlow's native code writes there before it reads TF_CPP_MIN_LOG_LEVEL."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _report(name: str, metrics: dict[str, float]) -> None:
    typer.echo(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in metrics.items()))


def reference(manifest: ManifestOption, out: Annotated[Path, typer.Option("--out", help="The .npy file.")]) -> None:
    """Average the histograms of normal radiographs into the reference of histogram matching.

    Example: covid-xnet train reference --manifest corpus/manifest.csv --out pipeline/reference.npy
    """
    with training("Averaging"):
        import numpy as np

        from pipeline.training.corpus import read_corpus
        from pipeline.training.reference import average_histogram

        np.save(out, average_histogram(read_corpus(manifest)))


def lungs(
    manifest: ManifestOption,
    out: OutOption,
    version: VersionOption,
    data: DataOption,
    epochs: EpochsOption = 30,
    start: StartOption = None,
) -> None:
    """Train the lung U-Net on the radiographs that have a mask.

    Example: covid-xnet train lungs --manifest corpus/manifest.csv --out weights --version 1.0.0 --data "Our masks"
    """
    with training("Lung U-Net") as begin:
        from pipeline.training.corpus import read_corpus
        from pipeline.training.export import publish
        from pipeline.training.lungs import fit, lessons, measure, measure_with_heart

        corpus = read_corpus(manifest)
        samples = [sample for sample in corpus if sample.lung_mask]
        if not samples:
            raise NodeError(f"{manifest} names no lung masks.", hint="Fill the column lung_mask.")
        pairs = lessons(samples)
        network = fit(samples, pairs, epochs=epochs, start=start, callbacks=[_ticking(begin(epochs))])
        metrics = measure(network, samples, pairs)
        if with_heart := [sample for sample in corpus if sample.lung_mask_with_heart]:
            metrics |= measure_with_heart(network, lessons(with_heart, with_heart=True))
        publish(
            network,
            out,
            name="lung_unet",
            title="Lung U-Net",
            version=version,
            data=data,
            metrics=metrics,
            example=pairs[0][0],
        )
        _report("lung_unet", metrics)


def ribs(
    manifest: ManifestOption,
    out: OutOption,
    version: VersionOption,
    data: DataOption,
    teacher: Annotated[
        Path, typer.Option("--teacher", help="Checkpoint of the published autoencoder: its folder or prefix.")
    ],
    cache: CacheOption = Path("cache"),
    epochs: EpochsOption = 20,
    start: StartOption = None,
) -> None:
    """Teach our rib suppression what the published autoencoder does.

    Example: covid-xnet train ribs --manifest corpus/manifest.csv --teacher checkpoint --out weights --version 1.0.0 \
--data "Ours"
    """
    with training("Rib suppression") as begin:
        from pipeline.training.corpus import read_corpus
        from pipeline.training.export import publish
        from pipeline.training.ribs import choose, fit, lessons
        from pipeline.training.teacher import BadCheckpoint, import_checkpoint

        samples = choose(read_corpus(manifest))
        try:
            network = import_checkpoint(teacher)
        except BadCheckpoint as e:
            raise NodeError(f"{e}.") from e
        pairs = lessons(samples, network, cache / "ribs", begin(len(samples)))
        student, metrics = fit(samples, pairs, epochs=epochs, start=start, callbacks=[_ticking(begin(epochs))])
        publish(
            student,
            out,
            name="rib_suppression",
            title="Rib suppression",
            version=version,
            data=data,
            metrics=metrics,
            example=pairs[0][0],
        )
        _report("rib_suppression", metrics)


def view(
    manifest: ManifestOption,
    out: OutOption,
    version: VersionOption,
    data: DataOption,
    epochs: EpochsOption = 16,
    folds: Annotated[int, typer.Option("--folds", min=2, help="By patient; the networks of all of them vote.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Of weights and augmentation.")] = 0,
) -> None:
    """Train the view judge on frontals, laterals (column view: L) and made images that are no chest.

    Example: covid-xnet train view --manifest corpus/manifest.csv --out weights --version 1.0.0 --data "Ours"
    """
    with training("View judge") as begin:
        from pipeline.training.corpus import read_corpus
        from pipeline.training.export import publish
        from pipeline.training.view import cross_validate, images_of

        frontals, laterals = read_corpus(manifest), read_corpus(manifest, laterals=True)
        images = images_of([*frontals, *laterals], begin(len(frontals) + len(laterals)))
        network, metrics = cross_validate(
            frontals, laterals, images, folds=folds, epochs=epochs, seed=seed, tick=begin(folds * epochs)
        )
        publish(
            network,
            out,
            name="view_judge",
            title="View judge",
            version=version,
            data=data,
            metrics=metrics,
            example=images[0],
        )
        _report("view_judge", metrics)


def classifier(
    manifest: ManifestOption,
    out: OutOption,
    version: VersionOption,
    data: DataOption,
    recipe: Annotated[str, typer.Option("--recipe", help='"default" or "paper".')] = "default",
    cache: CacheOption = Path("cache"),
    epochs: PassesOption = None,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Of the cross-validation.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Of folds, weights and augmentation.")] = 0,
    sensitivity: Annotated[
        float, typer.Option("--sensitivity", min=0.5, max=0.99, help="Of the threshold, on patients held out.")
    ] = 0.85,
    run_folder: Annotated[
        Path | None,
        typer.Option(
            "--run",
            help="Folder of the run, which goes on if it was interrupted; by default one in --cache for each "
            "configuration.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train COVID-XNet: cross-validate by patient, and judge on unseen archives.

    What is published is the vote of the networks of all folds.
    The lung and rib networks must be in the --out folder already.

    Example: covid-xnet train classifier --manifest corpus/manifest.csv --out weights --version 1.0.0 --data "Ours"
    """
    with training("COVID-XNet") as begin:
        from dataclasses import replace

        import numpy as np

        from models.covid_xnet import with_activation_map
        from pipeline.flow import RECIPES
        from pipeline.training import classifier as science
        from pipeline.training import folds as parts
        from pipeline.training.corpus import labelled_of, read_corpus
        from pipeline.training.export import publish
        from pipeline.training.operating import TELLS_APART, auc_against_pneumonia, operating_point
        from pipeline.training.prepare import prepared
        from pipeline.training.run import BadRun, Run, classifier_config, digest_of

        if recipe not in RECIPES:
            raise typer.BadParameter(f"{recipe!r} is none of {', '.join(RECIPES)}.", param_hint="--recipe")
        samples = labelled_of(read_corpus(manifest))
        parts.require_both_classes(samples)
        learners = science.learners(samples, RECIPES[recipe])
        images = prepared(samples, RECIPES[recipe], out, cache, begin(len(samples)))
        course = course_of(recipe, epochs)
        teach = teaching(course, begin, folds + len(science.UNSEEN))
        config = classifier_config(samples, RECIPES[recipe], out, epochs=course.epochs, folds=folds, seed=seed)
        try:
            run = Run.open(run_folder or cache / "runs" / digest_of(config), config)
            out_of_fold, metrics = parts.cross_validate(
                run, samples, images, learners, teaching=teach, folds=folds, seed=seed
            )
            metrics |= parts.judge_unseen_archives(run, samples, images, learners, teaching=teach, seed=seed)
        except BadRun as e:
            raise NodeError(f"{e}.", hint="Give another --run.") from e
        voters = parts.learning_folds(samples, learners, folds=folds, seed=seed)
        network = with_activation_map(*(network for split in voters for network in parts.networks_of(run, split)))
        point, more = operating_point(
            network,
            RECIPES[recipe],
            images[learners],
            science.targets_of(samples)[learners],
            out_of_fold[learners],
            sensitivity=sensitivity,
        )
        if (against := auc_against_pneumonia(run, samples, learners, seed)) is not None:
            point = replace(point, tells_apart=against >= TELLS_APART)
            more["worst_auc_against_pneumonia"] = against
        publish(
            network,
            out,
            name="covid_xnet",
            title="COVID-XNet",
            version=version,
            data=data,
            metrics=metrics | more,
            example=images[0].astype(np.float32) / 255,
            operating_point=point,
        )
        _report("covid_xnet", metrics | more)


def course_of(recipe: str, epochs: int | None) -> "Course":
    """How the classifier is trained for a recipe; raises NodeError if it is not the one that was chosen."""
    from dataclasses import replace

    from pipeline.training.choice import NotLocked, require_locked
    from pipeline.training.classifier import COURSES

    try:
        require_locked(recipe)
    except NotLocked as e:
        raise NodeError(f"{e}.", hint="Run covid-xnet choose-recipe, and put its choice.json there.") from e
    course = COURSES[recipe]
    return course if epochs is None else replace(course, epochs=epochs)


def teaching(course: "Course", begin: Callable[[int], Callable[..., None]], classifiers: int) -> "Teaching":
    """Train as `course` has it, and show the progress of so many classifiers."""
    from pipeline.training.classifier import fit
    from pipeline.training.folds import Teaching

    each = course.epochs * course.votes
    tick = begin(classifiers * each)
    return Teaching(
        fit=lambda images, targets, seed: fit(images, targets, course=course, seed=seed, tick=tick),
        skip=lambda: tick(each),
    )


def _ticking(tick: Callable[[], None]) -> Any:
    import keras

    return keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: tick())
