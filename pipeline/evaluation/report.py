"""The report as one HTML file that needs nothing beside it."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

from pipeline.evaluation.figures import learning_curves, receiver_operating_characteristics, reliability_diagrams

_STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b }
table { border-collapse: collapse; margin: .7rem 0 }
th, td { border-bottom: 1px solid #ccc; padding: .25rem .6rem; text-align: left; font-variant-numeric: tabular-nums }
.failed { color: #b00020; font-weight: 600 } .met { color: #1b6e2d }
.notice { border: 2px solid #b00020; padding: .6rem 1rem } figure { display: inline-block; margin: .4rem }
figcaption { font-size: 13px } pre { font-size: 12px; overflow: auto }
"""

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
    body = "\n".join(section(report) for section in sections)
    title = escape(report["title"])
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>{title}</h1>\n{body}\n</body></html>\n"
    )


def _summary(report: dict[str, Any]) -> str:
    words = [
        "<p><strong>Investigational. Not for diagnosis.</strong> Recipe <code>"
        f"{escape(report['recipe']['name'])}</code>, {report['asked']['epochs']} epochs, {report['asked']['folds']} "
        f"folds, seed {report['asked']['seed']}. Intervals are 95 %, by bootstrap over patients.</p>"
    ]
    if report["protocol_5_shortcuts"]["fails"]:
        words.append(
            '<p class="notice failed">This model fails its own report: with the lungs blanked it still tells the '
            "classes apart. What it tells apart lies, in part, outside the lungs.</p>"
        )
    negatives = report["protocol_4_negatives"]
    if negatives["worst_auc_against_pneumonia"] is not None and not negatives["tells_apart"]:
        words.append('<p class="notice failed">It cannot tell COVID-19 from other pneumonia.</p>')
    rows = [(escape(t["name"]), escape(t["wanted"]), _number(t["found"]), _met(t["met"])) for t in report["targets"]]
    return "\n".join([*words, "<h2>Targets</h2>", _table(("", "aim", "reached", ""), rows)])


def _met(met: bool | None) -> str:
    if met is None:
        return "not measured"
    return '<span class="met">met</span>' if met else '<span class="failed">missed</span>'


def _paper(report: dict[str, Any]) -> str:
    found = report["protocol_1_paper"]
    rows = [
        (str(i + 1), _confusion(row["confusion"]), *(_number(row[c]) for c in _COLUMNS))
        for i, row in enumerate(found["folds"])
    ]
    rows.append(("mean", _confusion(found["mean"]["confusion"]), *(_number(found["mean"][c]) for c in _COLUMNS)))
    rows.append(("95 % interval", "", *(_interval(found["intervals"].get(c)) for c in _COLUMNS)))
    header = ("fold", "confusion (TN FP / FN TP)", *(c.replace("_", " ") for c in _COLUMNS))
    plot = receiver_operating_characteristics({f"fold {i + 1}": roc for i, roc in enumerate(found["roc"])})
    return "\n".join(
        [
            "<h2>1. The paper's protocol</h2>",
            f"<p>COVID-19 against normal, cross-validated by patient ({found['patients']} patients), threshold "
            f"{found['threshold']}. Every archive is on both sides: a network that tells archives apart does well "
            "here.</p>",
            _table(header, rows),
            _plot(plot, "ROC of each fold, and its upper left corner (Figure 3 of the paper)"),
        ]
    )


def _unseen(report: dict[str, Any]) -> str:
    found = report["protocol_2_unseen_archives"]
    rows = [
        (
            escape(name), escape(", ".join(split["learned"])), escape(", ".join(split["archives"])),
            f"{split['positives']} / {split['negatives']}", _number(split["home_auc"]), _number(split["auc"]),
            _interval(split["interval"]), _number(split["threshold"]),
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
    plot = receiver_operating_characteristics({name: split["roc"] for name, split in found["splits"].items()})
    return "\n".join(
        [
            "<h2>2. Unseen archives</h2>",
            f"<p>What a new hospital would see. The threshold has a sensitivity of {found['sensitivity']:.0%} on "
            "patients of the home archives that were held out. Mean AUC "
            f"<strong>{_number(found['mean_auc'])}</strong>.</p>",
            _table(header, rows),
            _plot(plot, "ROC on unseen archives"),
        ]
    )


def _same_source(report: dict[str, Any]) -> str:
    rows = [
        (
            escape(archive), escape(name), f"{row['positives']} / {row['negatives']}",
            _number(row["auc"]), _interval(row["interval"]),
        )
        for archive, models in report["protocol_3_same_source"].items()
        for name, row in models.items()
    ]  # fmt: skip
    return "\n".join(
        [
            "<h2>3. Same source</h2>",
            "<p>Archives with both classes. Few radiographs: read the interval. Cohen is shown, but no criterion: "
            "several of its radiographs without finding are visibly ill.</p>",
            _table(("archive", "network", "COVID-19 / normal", "AUC", "95 % interval"), rows),
        ]
    )


def _negatives(report: dict[str, Any]) -> str:
    rows = [
        (
            escape(name), _number(network["sensitivity"]), escape(group), str(row["called"]["radiographs"]),
            _number(row["called"]["share"]), _interval(row["called"]["interval"]),
            _number(row["against_covid"]["auc"]), _interval(row["against_covid"]["interval"]),
        )
        for name, network in report["protocol_4_negatives"]["networks"].items()
        for group, row in network["groups"].items()
    ]  # fmt: skip
    header = (
        "network", "its sensitivity", "group", "radiographs", "called COVID-19", "95 % interval",
        "AUC of COVID-19 against it", "95 % interval",
    )  # fmt: skip
    return "<h2>4. Other diseases</h2>\n" + _table(header, rows)


def _shortcuts(report: dict[str, Any]) -> str:
    found = report["protocol_5_shortcuts"]

    def cell(name: str, row: dict[str, Any]) -> str:
        number = _number(row[name])
        failed = name == "lungs_blanked" and max(row[name], 1 - row[name]) > found["limit"]
        return f'<span class="failed">{number}</span>' if failed else number

    rows = [
        (escape(network), str(row["radiographs"]), *(cell(name, row) for name in _PROBES))
        for network, row in found["networks"].items()
    ]
    return "\n".join(
        [
            "<h2>5. Shortcuts</h2>",
            "<p>AUC of the same networks on radiographs without what should decide, at most 600 of one archive and "
            f"label. Farther than {found['limit'] - 0.5:.2f} from 0.5 with the lungs blanked is a failure, in red.</p>",
            _table(("network", "radiographs", *_PROBES.values()), rows),
        ]
    )


def _calibration(report: dict[str, Any]) -> str:
    found = report["protocol_6_calibration"]
    if not found:
        return "<h2>6. Calibration</h2><p>Needs unseen archives.</p>"
    rows = []
    for name, split in found.items():
        after = split["commissioned"]
        rows.append(
            (
                escape(name), _number(split["temperature"]), _number(split["ece_home"]), _number(split["ece_raw"]),
                _number(split["ece"]), _pair(split["before"]),
                _number(after and after["ece"]), _pair(after) if after else "",
            )
        )  # fmt: skip
    header = (
        "split", "temperature", "ECE at home", "ECE away, raw", "ECE away, tempered",
        "sensitivity / specificity away", "ECE commissioned", "sensitivity / specificity commissioned",
    )  # fmt: skip
    diagrams = {f"{name}, home": split["reliability_home"] for name, split in found.items()}
    diagrams |= {f"{name}, unseen": split["reliability"] for name, split in found.items()}
    return "\n".join(
        [
            "<h2>6. Calibration</h2>",
            "<p>Temperature from held-out patients at home. Commissioned: with 200 unlabelled and 20 labelled "
            "radiographs of the new archives, judged on the others, mean of 50 draws. In ECE and diagram "
            "both classes count the same.</p>",
            _table(header, rows),
            _plot(reliability_diagrams(diagrams), "Reliability"),
        ]
    )


def _looks(report: dict[str, Any]) -> str:
    found, speed = report["protocol_7_localisation"], report["protocol_8_speed"]
    energy = found["energy_in_lungs"]
    parts = [
        "<h2>7. Where it looks</h2>",
        "<p>The network of the first fold on patients that it did not see, chosen at random; threshold "
        f"{_number(found['gallery']['threshold'])}. Share of the class activation map inside the lungs before it is "
        f"masked: mean {_number(energy['mean'])}, tenth percentile {_number(energy['tenth_percentile'])} "
        f"({energy['radiographs']} radiographs with COVID-19). No annotations exist for a pointing game.</p>",
    ]
    for kind, shown in found["gallery"]["pictures"].items():
        parts.append(f"<h3>{escape(kind)} ({found['gallery']['counts'][kind]})</h3>")
        parts += [
            f'<figure><img alt="{escape(kind)}" src="data:image/png;base64,{picture["png"]}"><figcaption>'
            f"{escape(picture['archive'])}, score {_number(picture['score'])}</figcaption></figure>"
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
            _table(("stage", "ms"), rows),
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
            _plot(learning_curves(report["training"]["curves"]), "Loss of each network"),
            _table(("trained", "seconds"), seconds),
            "<h2>Data</h2>",
            _table(("archive", *labels, "patients"), rows),
            "<h2>Environment</h2>",
            f"<p>Recipe digest <code>{report['recipe']['digest']}</code></p>",
            f"<pre>{escape(chr(10).join(lines))}</pre>",
        ]
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are HTML."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _plot(svg: str, caption: str) -> str:
    data = base64.b64encode(svg.encode()).decode()
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(bounds: Sequence[float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def _pair(rates: dict[str, float]) -> str:
    return f"{rates['sensitivity']:.3f} / {rates['specificity']:.3f}"


def _confusion(matrix: Sequence[Sequence[int]]) -> str:
    (tn, fp), (fn, tp) = matrix
    return f"{tn} {fp} / {fn} {tp}"
