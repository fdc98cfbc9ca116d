"""The plots of a report, as SVG."""

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

mpl.rcParams.update(
    {
        "svg.hashsalt": "covid-xnet",  # the same numbers give the same file
        "svg.fonttype": "none",
        "font.size": 9,
        "font.family": "sans-serif",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.3,
    }
)


def receiver_operating_characteristics(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """ROC curves, and their upper left corner: Figure 3 of the paper. curves: name -> false and true positives."""
    figure = _figure(2)
    whole, corner = figure.subplots(1, 2)
    for axes in (whole, corner):
        for name, curve in curves.items():
            axes.plot(curve["false_positives"], curve["true_positives"], label=name, linewidth=1.2)
        axes.set(xlabel="1 - specificity", ylabel="sensitivity")
    whole.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    whole.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal")
    corner.set(xlim=(0, 0.3), ylim=(0.7, 1.005), title="upper left corner")
    whole.legend(loc="lower right", fontsize=8)
    return _svg(figure)


def reliability_diagrams(diagrams: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Share of COVID-19 against score, if both classes were equally frequent. diagrams: name -> bins."""
    figure = _figure(1.4)
    axes: Axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    for name, bins in diagrams.items():
        axes.plot(
            [bin["score"] for bin in bins], [bin["positives"] for bin in bins], marker="o", markersize=3, label=name
        )
    axes.set(xlabel="calibrated score", ylabel="share of COVID-19", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8)
    return _svg(figure)


def learning_curves(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Loss after each epoch. curves: network -> what Keras measured."""
    figure = _figure(1)
    axes: Axes = figure.subplots()
    for name, curve in curves.items():
        if losses := curve.get("loss"):
            axes.plot(range(1, len(losses) + 1), losses, label=name, linewidth=1)
    axes.set(xlabel="epoch", ylabel="training loss")
    if axes.lines:
        axes.legend(fontsize=7, ncols=2)
    return _svg(figure)


def pareto(points: Sequence[Mapping[str, Any]], best: Sequence[int]) -> str:
    """AUC on unseen archives against the cost of a reading. points: with `flops`, `auc`, `name`; best: the front."""
    figure = _figure(1)
    axes: Axes = figure.subplots()
    axes.scatter([p["flops"] / 1e6 for p in points], [p["auc"] for p in points], s=14, color="grey")
    front = [points[i] for i in best]
    axes.plot([p["flops"] / 1e6 for p in front], [p["auc"] for p in front], marker="o", markersize=4)
    for point in front:
        axes.annotate(point["name"], (point["flops"] / 1e6, point["auc"]), fontsize=7)
    axes.set(xlabel="million multiplications and additions", ylabel="AUC, archives held out", xscale="log")
    return _svg(figure)


def _figure(columns: float) -> Figure:
    return Figure(figsize=(4.6 * columns, 4.0), layout="constrained")


def _svg(figure: Figure) -> str:
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()
