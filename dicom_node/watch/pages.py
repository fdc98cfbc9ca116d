"""Pages about the networks that stand alone: one HTML file each, with its plots in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dicom_node.journey.ledger import now
from dicom_node.watch.comparison import FEWEST_OF_A_CLASS, VERDICTS, Comparison
from dicom_node.watch.drift import FEWEST, Drift, Shift

_BARS: Final = 24
_STEP, _HEIGHT = 13.0, 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Left edge and top of one bar, in the units of the plot; y goes down."""

    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Two histograms over the same edges, each as high as its share; the highest bar fills the plot."""

    low: float
    high: float
    reference: tuple[Bar, ...]
    latest: tuple[Bar, ...]
    step: float = _STEP
    width: float = _BARS * _STEP
    height: float = _HEIGHT


def histogram(shift: Shift) -> Histogram:
    """Draw the values of a quantity at both times."""
    edges = np.histogram_bin_edges([*shift.reference, *shift.latest], _BARS)
    shares = [np.histogram(values, edges)[0] / len(values) for values in (shift.reference, shift.latest)]
    highest = max(float(share.max()) for share in shares)
    reference, latest = (
        tuple(Bar(x=i * _STEP, y=round(_HEIGHT * (1 - float(s) / highest), 2)) for i, s in enumerate(share))
        for share in shares
    )
    return Histogram(low=float(edges[0]), high=float(edges[-1]), reference=reference, latest=latest)


def drift_page(drifts: Sequence[Drift]) -> str:
    """The drift of all senders as one HTML page."""
    return _write("drift.html", drifts=drifts, fewest=FEWEST, histogram=histogram)


def comparison_lines(found: Comparison) -> list[str]:
    """What stands below the table of verdicts, in words."""
    lines = [f"Verdicts agree on {found.agreement:.1%}."]
    if found.spearman is not None and found.pearson is not None:
        lines.append(f"Scores correlate: Spearman {found.spearman:.3f}, Pearson {found.pearson:.3f}.")
    lines.append(f"Median time: {found.milliseconds[0]:.0f} ms and {found.milliseconds[1]:.0f} ms.")
    if (areas := found.areas) is None:
        lines.append(
            f"Area under the ROC curve: fewer than {FEWEST_OF_A_CLASS} with or without COVID-19 were verified."
        )
    else:
        lines.append(
            f"Area under the ROC curve on {areas.positives} with and {areas.negatives} without COVID-19: "
            f"{areas.first:.3f} and {areas.second:.3f}, difference {areas.difference:+.3f} "
            f"({areas.low:+.3f} to {areas.high:+.3f})."
        )
    return lines


def comparison_page(found: Comparison) -> str:
    """Two sets of networks side by side, as one HTML page."""
    return _write("comparison.html", found=found, verdicts=VERDICTS, lines=comparison_lines(found))


def _write(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(at=f"{now():%Y-%m-%d %H:%M}", **values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
