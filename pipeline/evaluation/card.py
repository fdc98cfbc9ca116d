"""The model card of a network, as Markdown: what it is for, what it rests on, and where it is known to fail."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from models.registry import Entry, Registry

_PURPOSE: Final[Mapping[str, str]] = {
    "covid_xnet": (
        "Research on frontal chest radiographs of adults: a suspicion score towards COVID-19, with a map of what "
        "raised it. It is not for diagnosis, screening, triage, or any decision about a patient."
    ),
    "lung_unet": "Finding the lungs, without the heart, in frontal chest radiographs, as a step before the classifier.",
    "view_judge": (
        "Telling frontal chest radiographs from laterals and from what is no chest, where no header does: a guard "
        "before the classifier."
    ),
    "rib_suppression": "Weakening ribs in frontal chest radiographs, as a step before the classifier.",
}

_FAILURES: Final[Mapping[str, Sequence[str]]] = {
    "covid_xnet": (
        "Archives: what it was trained on holds mostly one class in each archive. Part of its score is the archive, "
        "the machine, the projection and the posture, not the disease.",
        "Thresholds do not travel: sensitivity and specificity at another site differ from those measured here.",
        "Children, laterals, and radiographs of anything but a chest were not measured.",
        "The heat map shows what raised the score. It does not show where disease is.",
    ),
    "lung_unet": (
        "Its masks were drawn on radiographs of two tuberculosis programmes; lungs that are white with opacities are "
        "drawn too small.",
    ),
    "view_judge": (
        "The laterals that it learned from are few and of one archive; others may pass as frontal.",
        "What is no chest was drawn or photographed for it, not X-rayed: other parts of the body may pass.",
        "Obliques, and radiographs of children, were not measured.",
    ),
    "rib_suppression": (
        "It repeats what its teacher, a published autoencoder, does, with the teacher's errors.",
        "It can weaken what is not a rib.",
    ),
}


class OtherRecipe(Exception):
    """A report that says nothing of the network of the card."""


def card(registry: Registry, name: str, report: Mapping[str, Any] | None = None) -> str:
    """The card of network `name`, which must be in the registry.

    report: of `covid-xnet evaluate`; without it only the manifest speaks. Raises OtherRecipe if it judges another one.
    """
    entry = registry.entries[name]
    if report is not None:
        point = entry.operating_point
        if point is None or point.recipe_digest != report["recipe"]["digest"]:
            raise OtherRecipe(
                f"the report judges recipe {report['recipe']['name']!r}, with which {name} was not trained"
            )
    sections = [
        f"# {entry.title} {entry.version}",
        "**Investigational. Not for diagnosis.**",
        _facts(entry),
        f"## Intended use\n\n{_PURPOSE.get(name, 'A step of research on chest radiographs. Not for diagnosis.')}",
        f"## Data and licences\n\n{entry.data}",
        _measured(entry),
    ]
    if report is not None:
        sections.append(_protocols(report))
    failures = [*_FAILURES.get(name, ()), *(_found_failures(report) if report is not None else [])]
    if failures:
        sections.append("## Known failures\n\n" + "\n".join(f"- {failure}" for failure in failures))
    sections.append(
        "## Files\n\n" + _table(("file", "SHA-256"), [(f"`{f}`", f"`{d}`") for f, d in entry.files.items()])
    )
    return "\n\n".join(sections) + "\n"


def without_pictures(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report without radiographs, which are not ours to hand on."""
    looks = {key: value for key, value in report["protocol_7_localisation"].items() if key != "gallery"}
    return {**report, "protocol_7_localisation": looks}


def _facts(entry: Entry) -> str:
    rows = [("network", f"`{entry.name}`"), ("trained", entry.trained), ("input", f"{entry.side} x {entry.side}, grey")]
    if (point := entry.operating_point) is not None:
        low, high = point.band
        rows += [
            ("classes", ", ".join(point.classes)),
            ("recipe", f"{point.recipe}, `{point.recipe_digest[:16]}`"),
            ("threshold", f"{point.threshold:g}; indeterminate from {low:g} to {high:g}"),
        ]
    return _table(("", ""), rows)


def _measured(entry: Entry) -> str:
    rows = [(metric.replace("_", " "), f"{value:.4g}") for metric, value in entry.metrics.items()]
    return "## Measured at training, on patients held out\n\n" + (_table(("", ""), rows) if rows else "Nothing.")


def _protocols(report: Mapping[str, Any]) -> str:
    """The results of an evaluation, with their 95 % intervals."""
    paper, unseen = report["protocol_1_paper"], report["protocol_2_unseen_archives"]
    rows = [
        ("1. Paper: folds by patient", "AUC", _number(paper["mean"]["auc"]), _interval(paper["intervals"]["auc"])),
        (
            "", "balanced accuracy", _number(paper["mean"]["balanced_accuracy"]),
            _interval(paper["intervals"]["balanced_accuracy"]),
        ),
    ]  # fmt: skip
    for name, split in unseen["splits"].items():
        judged = f"{', '.join(split['archives'])} ({split['positives']} / {split['negatives']})"
        rows.append((f"2. {name}: {judged}", "AUC", _number(split["auc"]), _interval(split["interval"])))
        for rate in ("sensitivity", "specificity"):
            rows.append(("", f"{rate} at the threshold of home", _number(split["away"][rate]), ""))
    if unseen["mean_auc"] is not None:
        rows.append(("2. mean", "AUC", _number(unseen["mean_auc"]), ""))
    for archive, networks in report["protocol_3_same_source"].items():
        found = networks[f"without-{archive}"]
        size = f"{archive} ({found['positives']} / {found['negatives']})"
        rows.append((f"3. Same source: {size}", "AUC", _number(found["auc"]), _interval(found["interval"])))
    for name, network in report["protocol_4_negatives"]["networks"].items():
        for group, found in network["groups"].items():
            called, against = found["called"], found["against_covid"]
            size = f"{group} ({called['radiographs']})"
            rows.append(
                (f"4. {name}: {size}", "called COVID-19", _number(called["share"]), _interval(called["interval"]))
            )
            rows.append(("", "AUC of COVID-19 against it", _number(against["auc"]), _interval(against["interval"])))
    for name, probed in report["protocol_5_shortcuts"]["networks"].items():
        rows.append((f"5. {name}: lungs blanked", "AUC", _number(probed["lungs_blanked"]), ""))
    for name, split in report["protocol_6_calibration"].items():
        rows.append((f"6. {name}", "ECE on unseen archives", _number(split["ece"]), ""))
        if split["commissioned"]:
            site = split["commissioned"]
            words = f"ECE, commissioned on {site['unlabelled']} unlabelled and {site['labelled']} labelled"
            spread = site.get("standard_deviation")
            rows.append(("", words, _number(site["ece"]), f"± {spread['ece']:.3f} over draws" if spread else ""))
    energy = report["protocol_7_localisation"]["energy_in_lungs"]["mean"]
    rows.append(("7. Localisation", "share of the map inside the lungs", _number(energy), ""))
    # Reports of before it was played have none.
    if (pointing := report["protocol_7_localisation"].get("pointing_game")) is not None:
        rows.append(("", "its hottest point in lungs drawn by hand", _number(pointing["hits"]), ""))
    speed = report["protocol_8_speed"]
    rows.append(("8. Speed", "ms for a radiograph, one thread", f"{sum(speed['milliseconds'].values()):.0f}", ""))
    recipe, asked = report["recipe"], report["asked"]
    words = (
        f"`covid-xnet evaluate`, recipe {recipe['name']} (`{recipe['digest'][:16]}`), {asked['epochs']} epochs, "
        f"{asked['folds']} folds, seed {asked['seed']}; in brackets COVID-19 / normal, or radiographs. The networks of "
        "a protocol are trained like this one, without the patients or archives that they are judged on."
    )
    return f"## Protocols\n\n{words}\n\n" + _table(("protocol", "measure", "found", "95 % interval"), rows)


def _found_failures(report: Mapping[str, Any]) -> list[str]:
    """What the evaluation found against the model, and what it aimed at and missed."""
    found = []
    if report["protocol_5_shortcuts"]["fails"]:
        found.append("**It fails its own report: with the lungs blanked, it still tells the classes apart.**")
    negatives = report["protocol_4_negatives"]
    if negatives["worst_auc_against_pneumonia"] is not None and not negatives["tells_apart"]:
        found.append("**It cannot tell COVID-19 from other pneumonia.**")
    return found + [
        f"Missed: {target['name']} {_number(target['found'])}, aim {target['wanted']}."
        for target in report["targets"]
        if target["met"] is False
    ]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(bounds: Sequence[float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"
