"""`covid-xnet models`: which networks the node has, and whether they are the ones of the manifest."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_node.errors import NodeError

if TYPE_CHECKING:  # commands import what is large when they run: --help answers at once
    from models.registry import Registry

FolderOption = Annotated[
    Path | None,
    typer.Option("--folder", help="Weights and manifest.json; by default the shipped ones.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Show and check the networks.")
    group.command("list")(list_models)
    group.command("show")(show)
    group.command("card")(card)
    group.command("keep-report")(keep_report)
    group.command("verify")(verify)
    group.command("export")(export)
    group.command("import-rib-suppression")(import_rib_suppression)
    app.add_typer(group, name="models")


def list_models(folder: FolderOption = None, as_json: JsonOption = False) -> None:
    """List the networks.

    Example: covid-xnet models list
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from models.registry import SHIPPED, Registry, WeightsMismatch

    try:
        registry = Registry.load(folder or SHIPPED)
    except WeightsMismatch as e:
        raise NodeError(f"{e}.") from e
    if as_json:
        typer.echo(json.dumps([asdict(entry) for entry in registry.entries.values()], indent=2))
        return
    table = Table("network", "version", "trained", "input", "measured on held-out patients", box=box.SIMPLE_HEAD)
    for entry in registry.entries.values():
        metrics = "\n".join(f"{name} {value:.4g}" for name, value in entry.metrics.items())
        table.add_row(
            f"{entry.title} ({entry.name})", entry.version, entry.trained, f"{entry.side} x {entry.side}", metrics
        )
    Console().print(table)


def show(name: Annotated[str, typer.Argument(metavar="NAME")], folder: FolderOption = None) -> None:
    """Show all that the manifest says of one network, as JSON.

    Example: covid-xnet models show covid_xnet
    """
    from models.registry import SHIPPED, Registry, WeightsMismatch

    try:
        registry = Registry.load(folder or SHIPPED)
    except WeightsMismatch as e:
        raise NodeError(f"{e}.") from e
    if name not in registry.entries:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(registry.entries)}.", param_hint="NAME")
    typer.echo(json.dumps(asdict(registry.entries[name]), indent=2))


def card(
    name: Annotated[str, typer.Argument(metavar="[NAME]")] = "covid_xnet",
    folder: FolderOption = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            exists=True,
            dir_okay=False,
            help="The report.json of `covid-xnet evaluate`; by default the one that is kept beside the weights.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print the model card of a network, as Markdown.

    Example: covid-xnet models card > card.md
    """
    from models.registry import SHIPPED, Registry, WeightsMismatch

    try:
        registry = Registry.load(folder or SHIPPED)
        if name not in registry.entries:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(registry.entries)}.", param_hint="NAME")
        kept = registry.evaluation() if registry.entries[name].operating_point else None
    except WeightsMismatch as e:
        raise NodeError(f"{e}.") from e
    typer.echo(_card(registry, name, _report(report) if report else kept, str(report or "The report")), nl=False)


def keep_report(
    report: Annotated[
        Path, typer.Argument(metavar="REPORT", exists=True, dir_okay=False, help="Of `covid-xnet evaluate`.")
    ],
    folder: Annotated[Path, typer.Option("--folder", help="Weights and manifest.json.", show_default=False)],
) -> None:
    """Keep a report beside the weights that it judges, without its pictures, so that their card shows it.

    Example: covid-xnet models keep-report runs/default/report.json --folder weights
    """
    from models.registry import EVALUATION, Registry, WeightsMismatch
    from pipeline.evaluation.card import without_pictures

    try:
        registry = Registry.load(folder)
    except WeightsMismatch as e:
        raise NodeError(f"{e}.") from e
    judged = [name for name, entry in registry.entries.items() if entry.operating_point]
    if not judged:
        raise NodeError(f"{folder} has no classifier.", hint="Give the folder of the weights that the report judges.")
    found = _report(report)
    _card(registry, judged[0], found, str(report))
    text = json.dumps(without_pictures(found), indent=1, allow_nan=False)
    (folder / EVALUATION).write_text(text + "\n", "utf-8")
    typer.echo(f"Kept as {folder / EVALUATION}.")


def _report(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except ValueError as e:
        raise NodeError(f"{file} is no report of this version.", hint="Evaluate again.") from e
    return found


def _card(registry: "Registry", name: str, report: Mapping[str, Any] | None, origin: str) -> str:
    from pipeline.evaluation.card import OtherRecipe
    from pipeline.evaluation.card import card as written

    try:
        return written(registry, name, report)
    except OtherRecipe as e:
        raise NodeError(f"{origin}: {e}.") from e
    except (KeyError, TypeError) as e:
        raise NodeError(f"{origin} is no report of this version.", hint="Evaluate again.") from e


def verify(
    folder: FolderOption = None,
    with_keras: Annotated[
        bool, typer.Option("--parity", help="Also compute with Keras what OpenVINO computes (extra `train`).")
    ] = False,
) -> None:
    """Recompute the digest of every file of weights, and check that the classifier fits the recipe of this version.

    Example: covid-xnet models verify
    """
    from models.registry import SHIPPED, Registry, WeightsMismatch
    from pipeline.flow import load_networks

    try:
        registry = Registry.load(folder or SHIPPED)
        for name in registry.entries:
            registry.verify(name)
        networks = load_networks(folder)
    except WeightsMismatch as e:
        raise NodeError(f"{e}.", hint="Install the weights again.") from e
    files = sum(len(entry.files) for entry in registry.entries.values())
    typer.echo(f"{files} files are those of the manifest; {networks.model} fits recipe {networks.recipe.name!r}.")
    if with_keras:
        _compare(registry)


def _compare(registry: "Registry") -> None:
    """Compare each network that has its Keras file with what is served; NodeError if one differs."""
    from dicom_node.cli.train import training

    with training("Comparing"):
        import keras
        import numpy as np

        from pipeline.training.export import PARITY, parity

        # Grey levels of no radiograph in particular, but of all sizes of detail.
        random = np.random.default_rng(0)
        for name, entry in registry.entries.items():
            network = keras.saving.load_model(registry.file(name, ".keras"), compile=False)
            image = random.random((entry.side, entry.side), dtype=np.float32)
            smooth = np.cumsum(np.cumsum(image - image.mean(), axis=0), axis=1)
            images = (image, ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32))
            difference = max(parity(network, registry.file(name, ".xml"), each) for each in images)
            if difference > PARITY:
                raise NodeError(
                    f"{name}: OpenVINO differs from Keras by {difference:.1e}.", hint="Install the weights again."
                )
            typer.echo(f"{name}: OpenVINO differs from Keras by {difference:.1e}, at most {PARITY:.0e} is allowed.")


def export(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="Folder that gets it; new or empty.")],
    form: Annotated[
        str, typer.Option("--form", help="saved-model (TensorFlow), litert (TensorFlow Lite) or openvino.")
    ] = "saved-model",
    folder: FolderOption = None,
) -> None:
    """Export a network for other software, with its manifest and card, compared with Keras (needs the extra `train`).

    Example: covid-xnet models export covid_xnet --form litert --out covid-xnet-litert
    """
    from dicom_node.cli.train import training

    with training("Exporting"):
        import numpy as np

        from models.registry import SHIPPED, Registry
        from pipeline.evaluation.card import card as written
        from pipeline.training.export import ParityBroken
        from pipeline.training.hand_out import Form, NotEmpty, hand_out

        registry = Registry.load(folder or SHIPPED)
        if name not in registry.entries:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(registry.entries)}.", param_hint="NAME")
        if form not in set(Form):
            raise typer.BadParameter(f"{form!r} is none of {', '.join(Form)}.", param_hint="--form")
        side = registry.entries[name].side
        example = np.random.default_rng(0).random((side, side), dtype=np.float32)
        try:
            difference = hand_out(registry, name, Form(form), out, example)
        except NotEmpty as e:
            raise NodeError(f"{e}.", hint="Give another --out.") from e
        except ParityBroken as e:
            raise NodeError(f"{e}.", hint="Do not use what lies in --out.") from e
        (out / "card.md").write_text(written(Registry.load(out), name), "utf-8")
    typer.echo(f"{name} differs from Keras by {difference:.1e}. Written to {out}.")


def import_rib_suppression(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="Folder or prefix of the TensorFlow 1 checkpoint.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder that gets the network and its manifest.")] = Path(
        "published-rib-suppression"
    ),
) -> None:
    """Import the published rib-suppression autoencoder, the teacher of ours (needs the extra `train`).

    If its example (test.png, output.png) lies beside it, it must be reproduced but for rounding.

    Example: covid-xnet models import-rib-suppression ML-BoneSuppression/model
    """
    from dicom_node.cli.train import training

    with training("Importing"):
        import numpy as np

        from models.rib_suppression import PUBLISHED_SIDE
        from pipeline.training.export import publish
        from pipeline.training.teacher import BadCheckpoint, import_checkpoint, reproduce

        try:
            network = import_checkpoint(checkpoint)
        except BadCheckpoint as e:
            raise NodeError(f"{e}.") from e
        found = reproduce(network, checkpoint if checkpoint.is_dir() else checkpoint.parent)
        if found is not None and not found.holds:
            raise NodeError(f"{found}.", hint="This is not the published checkpoint, or its example was changed.")
        publish(
            network,
            out,
            name="published_rib_suppression",
            title="Published rib suppression (Huynh)",
            version="1",
            data="As published at github.com/hmchuong/ML-BoneSuppression (MIT licence)",
            example=np.tile(np.linspace(0, 1, PUBLISHED_SIDE, dtype=np.float32), (PUBLISHED_SIDE, 1)),
            metrics={} if found is None else {"example_differing_pixels": float(found.differing)},
        )
    typer.echo(f"{found}." if found else "No example (test.png, output.png) lies beside it.")
    typer.echo(f"Written to {out}.")
