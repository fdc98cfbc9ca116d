"""The report as one HTML file that needs nothing beside it."""

from collections.abc import Sequence
from html import escape
from typing import Any, Final

from pipeline.evaluation.figures import learning_curves, receiver_operating_characteristics, reliability_diagrams
from pipeline.evaluation.page import number, page, plot, table

_COLUMNS: Final = ("sensitivity", "specificity", "precision", "f1", "auc", "balanced_accuracy")

_PROBES: Final = {
    "intact": "as served",
    "lungs_blanked": "lungs blanked",
    "border_only": "border only",
    "halves_exchanged": "halves exchanged",
    "simple": "histogram and aspect ratio alone",
}


def html(report: dict[str, Any]) -> str:
    """Lay the report out; plots are SVG, pictures PNG, both inside the file."""
    sections = (_summary, _paper, _unseen, _same_source, _negatives, _shortcuts, _calibration, _looks, _origin)
    return page(report["title"], [section(report) for section in sections])


def _summary(report: dict[str, Any]) -> str:
    words = [
        "<p><strong>Investigational. Not for diagnosis.</strong> Recipe <code>"
        f"{escape(report['recipe']['name'])}</code>, ribs {'suppressed' if report['recipe']['ribs'] else 'left'}, "
        f"{report['asked']['epochs']} epochs, {report['asked']['folds']} folds, seed {report['asked']['seed']}. "
        "Intervals are 95 %, by bootstrap over patients.</p>"
    ]
    if report["protocol_5_shortcuts"]["fails"]:
        words.append(
            '<p class="notice failed">This model fails its own report: with the lungs blanked it still tells the '
            "classes apart. What it tells apart lies, in part, outside the lungs.</p>"
        )
    negatives = report["protocol_4_negatives"]
    if negatives["worst_auc_against_pneumonia"] is not None and not negatives["tells_apart"]:
        words.append('<p class="notice failed">It cannot tell COVID-19 from other pneumonia.</p>')
    rows = [(escape(t["name"]), escape(t["wanted"]), number(t["found"]), _met(t["met"])) for t in report["targets"]]
    return "\n".join([*words, "<h2>Targets</h2>", table(("", "aim", "reached", ""), rows)])


def _met(met: bool | None) -> str:
    if met is None:
        return "not measured"
    return '<span class="met">met</span>' if met else '<span class="failed">missed</span>'


def _paper(report: dict[str, Any]) -> str:
    found = report["protocol_1_paper"]
    rows = [
        (str(i + 1), _confusion(row["confusion"]), *(number(row[c]) for c in _COLUMNS))
        for i, row in enumerate(found["folds"])
    ]
    rows.append(("mean", _confusion(found["mean"]["confusion"]), *(number(found["mean"][c]) for c in _COLUMNS)))
    rows.append(("95 % interval", "", *(_interval(found["intervals"].get(c)) for c in _COLUMNS)))
    header = ("fold", "confusion (TN FP / FN TP)", *(c.replace("_", " ") for c in _COLUMNS))
    drawn = receiver_operating_characteristics({f"fold {i + 1}": roc for i, roc in enumerate(found["roc"])})
    return "\n".join(
        [
            "<h2>1. The paper's protocol</h2>",
            f"<p>COVID-19 against normal, cross-validated by patient ({found['patients']} patients), threshold "
            f"{found['threshold']}. Every archive is on both sides: a network that tells archives apart does well "
            "here.</p>",
            table(header, rows),
            plot(drawn, "ROC of each fold, and its upper left corner (Figure 3 of the paper)"),
        ]
    )


def _unseen(report: dict[str, Any]) -> str:
    found = report["protocol_2_unseen_archives"]
    rows = [
        (
            escape(name), escape(", ".join(split["learned"])), escape(", ".join(split["archives"])),
            f"{split['positives']} / {split['negatives']}", number(split["home_auc"]), number(split["auc"]),
            _interval(split["interval"]), number(split["threshold"]),
            _pair(split["home"]), _pair(split["away"]),
        )
        for name, split in found["splits"].items()
    ]  # fmt: skip
    header = (
        "split", "learned from", "judged on", "COVID-19 / normal", "AUC at home", "AUC", "95 % interval", "threshold",
        "sensitivity / specificity at home", "on the unseen archives",
    )  # fmt: skip
    if not rows:
        return "<h2>2. Unseen archives</h2><p>The corpus has none of the splits by archive.</p>"
    drawn = receiver_operating_characteristics({name: split["roc"] for name, split in found["splits"].items()})
    return "\n".join(
        [
            "<h2>2. Unseen archives</h2>",
            f"<p>What a new hospital would see. The threshold has a sensitivity of {found['sensitivity']:.0%} on "
            "patients of the home archives that were held out. Mean AUC "
            f"<strong>{number(found['mean_auc'])}</strong>.</p>",
            table(header, rows),
            plot(drawn, "ROC on unseen archives"),
        ]
    )


def _same_source(report: dict[str, Any]) -> str:
    rows = [
        (
            escape(archive), escape(name), f"{row['positives']} / {row['negatives']}",
            number(row["auc"]), _interval(row["interval"]),
        )
        for archive, models in report["protocol_3_same_source"].items()
        for name, row in models.items()
    ]  # fmt: skip
    return "\n".join(
        [
            "<h2>3. Same source</h2>",
            "<p>Archives with both classes. Few radiographs: read the interval. Cohen is shown, but no criterion: "
            "several of its radiographs without finding are visibly ill.</p>",
            table(("archive", "network", "COVID-19 / normal", "AUC", "95 % interval"), rows),
        ]
    )


def _negatives(report: dict[str, Any]) -> str:
    rows = [
        (
            escape(name), number(network["sensitivity"]), escape(group), str(row["called"]["radiographs"]),
            number(row["called"]["share"]), _interval(row["called"]["interval"]),
            number(row["against_covid"]["auc"]), _interval(row["against_covid"]["interval"]),
        )
        for name, network in report["protocol_4_negatives"]["networks"].items()
        for group, row in network["groups"].items()
    ]  # fmt: skip
    header = (
        "network", "its sensitivity", "group", "radiographs", "called COVID-19", "95 % interval",
        "AUC of COVID-19 against it", "95 % interval",
    )  # fmt: skip
    return "<h2>4. Other diseases</h2>\n" + table(header, rows)


def _shortcuts(report: dict[str, Any]) -> str:
    found = report["protocol_5_shortcuts"]

    def cell(name: str, row: dict[str, Any]) -> str:
        shown = number(row[name])
        failed = name == "lungs_blanked" and max(row[name], 1 - row[name]) > found["limit"]
        return f'<span class="failed">{shown}</span>' if failed else shown

    rows = [
        (escape(network), str(row["radiographs"]), *(cell(name, row) for name in _PROBES))
        for network, row in found["networks"].items()
    ]
    return "\n".join(
        [
            "<h2>5. Shortcuts</h2>",
            "<p>AUC of the same networks on radiographs without what should decide, at most 600 of one archive and "
            f"label. Farther than {found['limit'] - 0.5:.2f} from 0.5 with the lungs blanked is a failure, in red.</p>",
            table(("network", "radiographs", *_PROBES.values()), rows),
        ]
    )


def _calibration(report: dict[str, Any]) -> str:
    found = report["protocol_6_calibration"]
    if not found:
        return "<h2>6. Calibration</h2><p>Needs unseen archives.</p>"
    rows = []
    for name, split in found.items():
        rows.append(
            (
                escape(name), number(split["temperature"]), number(split["ece_home"]), number(split["ece_raw"]),
                number(split["ece"]), _pair(split["before"]),
            )
        )  # fmt: skip
    header = (
        "split", "temperature", "ECE at home", "ECE away, raw", "ECE away, tempered",
        "sensitivity / specificity away, threshold of home",
    )  # fmt: skip
    after = [
        (
            escape(name), str(site["labelled"]),
            *(f"{site[c]:.3f} ± {site['standard_deviation'][c]:.3f}" for c in ("ece", "sensitivity", "specificity")),
            number(site["ece_of_nine_in_ten"]),
        )
        for name, split in found.items()
        for site in (split["commissioned"], split["commissioned_with_more"])
        if site
    ]  # fmt: skip
    commissioned = ("split", "labelled", "ECE", "sensitivity", "specificity", "ECE, nine in ten draws below")
    diagrams = {f"{name}, home": split["reliability_home"] for name, split in found.items()}
    diagrams |= {f"{name}, unseen": split["reliability"] for name, split in found.items()}
    return "\n".join(
        [
            "<h2>6. Calibration</h2>",
            "<p>Temperature from held-out patients at home. In ECE and diagram both classes count the same.</p>",
            table(header, rows),
            "<p>Commissioned, as <code>covid-xnet commission</code> does it, on 200 unlabelled and some labelled "
            "radiographs of the new archives, and judged on the others: mean and standard deviation over draws.</p>",
            table(commissioned, after),
            plot(reliability_diagrams(diagrams), "Reliability"),
        ]
    )


def _looks(report: dict[str, Any]) -> str:
    found, speed = report["protocol_7_localisation"], report["protocol_8_speed"]
    energy, pointing = found["energy_in_lungs"], found["pointing_game"]
    parts = [
        "<h2>7. Where it looks</h2>",
        "<p>The network of the first fold on patients that it did not see, chosen at random; threshold "
        f"{number(found['gallery']['threshold'])}. Share of the class activation map inside the lungs before it is "
        f"masked: mean {number(energy['mean'])}, tenth percentile {number(energy['tenth_percentile'])} "
        f"({energy['radiographs']} radiographs with COVID-19). Its hottest point lies in the lungs as drawn by hand "
        f"in {number(pointing['hits'])} of {pointing['radiographs']} radiographs with COVID-19 that have a mask; by "
        f"chance {number(pointing['by_chance'])}. Nobody annotated the disease itself.</p>",
    ]
    for kind, shown in found["gallery"]["pictures"].items():
        parts.append(f"<h3>{escape(kind)} ({found['gallery']['counts'][kind]})</h3>")
        parts += [
            f'<figure><img alt="{escape(kind)}" src="data:image/png;base64,{picture["png"]}"><figcaption>'
            f"{escape(picture['archive'])}, score {number(picture['score'])}</figcaption></figure>"
            for picture in shown
        ]
    stages = speed["milliseconds"]
    rows = [(escape(name), f"{value:.1f}") for name, value in {**stages, "together": sum(stages.values())}.items()]
    return "\n".join(
        [
            *parts,
            "<h2>8. Speed and size</h2>",
            f"<p>{speed['parameters']} parameters, {speed['bytes']} bytes. Median of {speed['radiographs']} "
            "radiographs, one thread:</p>",
            table(("stage", "ms"), rows),
        ]
    )


def _origin(report: dict[str, Any]) -> str:
    labels = sorted({label for row in report["data"].values() for label in row} - {"patients"})
    rows = [
        (escape(archive), *(str(row.get(label, 0)) for label in labels), str(row["patients"]))
        for archive, row in report["data"].items()
    ]
    seconds = [(escape(name), f"{value:.0f}") for name, value in report["training"]["seconds"].items()]
    lines = []
    for here in report["environments"]:
        packages = ", ".join(f"{name} {version}" for name, version in here["packages"].items())
        lines.append(
            f"covid-xnet {here['covid-xnet']}, git commit {here['git_commit']}\n{here['platform']}, Python "
            f"{here['python']}, {here['cores']} cores\n{packages}"
        )
    return "\n".join(
        [
            "<h2>Training</h2>",
            plot(learning_curves(report["training"]["curves"]), "Loss of each network"),
            table(("trained", "seconds"), seconds),
            "<h2>Data</h2>",
            table(("archive", *labels, "patients"), rows),
            "<h2>Environment</h2>",
            f"<p>Recipe digest <code>{report['recipe']['digest']}</code></p>",
            f"<pre>{escape(chr(10).join(lines))}</pre>",
        ]
    )


def _interval(bounds: Sequence[float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def _pair(rates: dict[str, float]) -> str:
    return f"{rates['sensitivity']:.3f} / {rates['specificity']:.3f}"


def _confusion(matrix: Sequence[Sequence[int]]) -> str:
    (tn, fp), (fn, tp) = matrix
    return f"{tn} {fp} / {fn} {tp}"
