"""`covid-xnet commission`: choose the operating point on radiographs of this site, and sign it."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dicom_node.cli.context import settings_of
from dicom_node.cli.senders import off, on, senders_of, signer_of, switch_senders, words_of
from dicom_node.errors import NodeError

if TYPE_CHECKING:  # commands import what is large when they run: --help answers at once
    from dicom_node.cli.cases import Case, Cases
    from dicom_node.settings import Settings
    from pipeline.commissioning import Commissioning
    from pipeline.flow import Networks

FEWEST_UNLABELLED: Final = 50
FEWEST_OF_A_CLASS: Final = 5
ADVISED: Final = "200 unlabelled radiographs, and 10 labelled with COVID-19 and 10 without"

_DATES: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(invoke_without_command=True, help=commission.__doc__)
    group.callback()(commission)
    group.command("show")(show)
    group.command("undo")(undo)
    group.command("on")(on)
    group.command("off")(off)
    app.add_typer(group, name="commission")


def commission(
    ctx: typer.Context,
    labels: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="CSV with sop_instance_uid or file, and label.", show_default=False
        ),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option(exists=True, help="Read this file or folder, instead of asking the ledger; may be repeated."),
    ] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="Lines of `covid-xnet read --json`, instead; may be repeated."),
    ] = None,
    calling_ae: Annotated[
        str | None, typer.Option("--calling-ae", help="Only what this sender sent.", show_default=False)
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=_DATES, help="Only what came from then on.", show_default=False)
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=_DATES, help="Only what came before.", show_default=False)
    ] = None,
    sensitivity: Annotated[float, typer.Option(min=0.5, max=0.99, help="That the threshold shall have.")] = 0.85,
    by: Annotated[
        str | None, typer.Option(help="Who signs it. Without it the command asks.", show_default=False)
    ] = None,
) -> None:
    """Commission the networks at this site: on radiographs of its own, a few of them labelled.

    Shows what was found, and asks for a name; only then results carry the site's threshold and probabilities.

    Examples: covid-xnet commission --labels labels.csv --by "Dr. Ada Example"
              covid-xnet commission --labels labels.csv --calling-ae PACS --since 2026-11-01
              covid-xnet commission --files radiographs/ --labels labels.csv
              covid-xnet commission show
              covid-xnet commission on CR2 --by "Dr. Ada Example"
              covid-xnet commission undo
    """
    if ctx.invoked_subcommand is not None:
        return
    from models.registry import WeightsMismatch
    from pipeline.flow import load_networks

    settings = settings_of(ctx)
    if (files or scores) and (calling_ae or since or until):
        raise typer.BadParameter(
            "The ledger alone knows senders and dates.", param_hint="--calling-ae, --since, --until"
        )
    signer = None if by is None else signer_of(by)
    try:
        networks = load_networks(settings.effective_weights_dir)
    except WeightsMismatch as e:
        raise NodeError(f"{e}.", hint="Set weights_dir, or install the node again.") from e
    cases, source = _gather(settings, networks, files, scores, calling_ae, since, until)
    found = _find(networks, cases, labels, sensitivity, source)
    to_switch_on = sorted({case.calling_ae for case in cases if case.calling_ae})
    typer.echo(
        f"To sign also switches on what comes from {', '.join(to_switch_on)}."
        if to_switch_on
        else "Files name no sender: `covid-xnet commission on` switches senders on."
    )
    if signer is None:
        signer = _ask()
    if signer is None:
        typer.echo("Nobody signed: nothing was changed. Add --by NAME.")
        return
    from dicom_node.journey.site import commissioning_file

    signed = replace(found, by=signer, at=datetime.now(UTC).isoformat(timespec="seconds"))
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        signed.save(commissioning_file(settings))
    except OSError as e:
        raise NodeError(f"{commissioning_file(settings)} cannot be written: {e.strerror}.") from e
    typer.echo(f"Signed by {signed.by}: {commissioning_file(settings)}.")
    if to_switch_on:
        switch_senders(settings, to_switch_on, on=True, by=signer)
    typer.echo("`covid-xnet read` uses it from now on, and the workers of a running node within seconds.")


def show(ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show whether, by whom and on what this site was commissioned, whether the networks are still the same, and which
    senders are switched on.

    Example: covid-xnet commission show
    """
    from dicom_node.journey.site import networks_here
    from models.registry import WeightsMismatch

    settings = settings_of(ctx)
    found = _signed(settings)
    known = senders_of(settings)
    if as_json:
        said = None if found is None else {**asdict(found), "senders": known}
        typer.echo(json.dumps(said, indent=2, ensure_ascii=False))
        return
    for sender in known:
        typer.echo(words_of(sender, shadow=settings.shadow_until_commissioned))
    if found is None:
        typer.echo("Not commissioned at this site.")
        return
    typer.echo(
        f"{found.model}, commissioned on {found.at} by {found.by}\n"
        f"on {found.unlabelled} unlabelled and {found.labelled} labelled radiographs, {found.positives} of them with "
        f"COVID-19 ({found.source})\n"
        f"threshold {found.threshold:.4f} for a sensitivity of {found.sensitivity:.0%}, indeterminate "
        f"{found.band[0]:.4f} to {found.band[1]:.4f}"
    )
    try:
        _, ignored = networks_here(settings)
    except WeightsMismatch as e:
        raise NodeError(f"{e}.", hint="Set weights_dir, or install the node again.") from e
    if ignored:
        typer.echo(f"IGNORED: {ignored}. Commission again.")


def undo(ctx: typer.Context) -> None:
    """Take the commissioning of this site back: threshold and probabilities are those of the model again.

    Example: covid-xnet commission undo
    """
    from dicom_node.journey.site import commissioning_file

    settings = settings_of(ctx)
    file = commissioning_file(settings)
    if not file.exists():
        raise NodeError("This site is not commissioned.")
    file.unlink()
    typer.echo("Results say from now on that the node is not commissioned; those of a running node within seconds.")
    if still_on := [sender["calling_ae"] for sender in senders_of(settings) if sender["on"]]:
        typer.echo(f"Senders stay switched on: {', '.join(still_on)}. `covid-xnet commission off` switches one off.")


def _signed(settings: "Settings") -> "Commissioning | None":
    from dicom_node.journey.site import commissioning_file
    from pipeline.commissioning import BadCommissioning, Commissioning

    try:
        return Commissioning.load(commissioning_file(settings))
    except FileNotFoundError:
        return None
    except BadCommissioning as e:
        raise NodeError(f"{e}.", hint="`covid-xnet commission undo` removes it; then commission again.") from e


def _ask() -> str | None:
    """The name that somebody at the terminal signs with; None if there is nobody, or nothing is typed."""
    if not sys.stdin.isatty():
        return None
    typed: str = typer.prompt("Sign with your name (nothing: leave all as it is)", default="", show_default=False)
    return signer_of(typed) if typed.strip() else None


def _gather(
    settings: "Settings",
    networks: "Networks",
    files: list[Path] | None,
    scores: list[Path] | None,
    calling_ae: str | None,
    since: datetime | None,
    until: datetime | None,
) -> tuple[list["Case"], str]:
    """The radiographs, and where they came from, in words."""
    from rich.console import Console
    from rich.progress import Progress

    from dicom_node.cli.cases import from_files, from_ledger, from_lines

    if files or scores:
        cases = from_lines(scores or [], networks)
        console = Console(stderr=True)
        with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:

            def begin(total: int) -> Callable[[], None]:
                task = progress.add_task("Reading", total=total)
                return lambda: progress.advance(task)

            cases += from_files(files or [], settings, networks, begin)
        return cases, " and ".join(word for word, given in (("files", files), ("scores", scores)) if given)
    # Dates are those of the clock on the wall.
    begin_at, end_at = (None if moment is None else moment.astimezone(UTC) for moment in (since, until))
    words = [
        "ledger",
        f"from {calling_ae}" if calling_ae else "",
        f"since {since:%Y-%m-%d %H:%M}" if since else "",
        f"until {until:%Y-%m-%d %H:%M}" if until else "",
    ]
    found = from_ledger(settings, networks, calling_ae, begin_at, end_at)
    return found, ", ".join(word for word in words if word)


def _find(
    networks: "Networks", cases: list["Case"], labels: Path | None, sensitivity: float, source: str
) -> "Commissioning":
    """The commissioning that is to be signed, after it was shown. Raises NodeError if there is too little."""
    from dicom_node.cli.cases import sort_out
    from dicom_node.cli.findings import tell
    from pipeline.commissioning import Commissioning
    from pipeline.recalibrate import Home, called_elsewhere, recalibrate

    sorted_out = sort_out(cases, labels)
    _require_enough(sorted_out)
    reference = networks.operating_point.reference
    # Networks that keep no scores of their training: those of the site stand for both classes.
    home = Home.of(*(reference.values() if reference else (sorted_out.unlabelled, sorted_out.unlabelled)))
    found = recalibrate(sorted_out.unlabelled, sorted_out.labelled, sorted_out.targets, home, sensitivity)
    commissioning = Commissioning(
        model=str(networks.model),
        model_digest=networks.model.digest,
        recipe_digest=networks.recipe.digest(),
        unlabelled=len(sorted_out.unlabelled),
        labelled=len(sorted_out.labelled),
        positives=int(sorted_out.targets.sum()),
        curve=tuple((round(score, 6), round(probability, 4)) for score, probability in found.curve),
        threshold=round(found.threshold, 4),
        band=(round(found.band[0], 4), round(found.band[1], 4)),
        sensitivity=sensitivity,
        source=source,
        by="",
        at="",
    )
    called = called_elsewhere(sorted_out.unlabelled, sorted_out.labelled, sorted_out.targets, home, sensitivity)
    tell(networks, sorted_out, commissioning, called)
    return commissioning


def _require_enough(cases: "Cases") -> None:
    if len(cases.unlabelled) < FEWEST_UNLABELLED:
        raise NodeError(
            f"{len(cases.unlabelled)} unlabelled radiographs are too few: {FEWEST_UNLABELLED} are needed.",
            hint=f"Let the node read more of the site's radiographs; advised are {ADVISED}.",
        )
    for word, count in (("with", int(cases.targets.sum())), ("without", int((1 - cases.targets).sum()))):
        if count < FEWEST_OF_A_CLASS:
            raise NodeError(
                f"{count} labelled radiographs {word} COVID-19 are too few: {FEWEST_OF_A_CLASS} are needed.",
                hint=f"Label more in --labels; advised are {ADVISED}.",
            )
