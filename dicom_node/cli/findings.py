"""What a commissioning found, as tables for the person who signs it."""

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

from dicom_node.cli.cases import Cases
from pipeline.classify import verdict_of
from pipeline.commissioning import Commissioning
from pipeline.flow import Networks
from pipeline.reading import Verdict
from pipeline.recalibrate import on_curve

_BINS = 10
_WIDEST = 12
"""Characters of a bar that stands for all radiographs of a column."""


def tell(networks: Networks, cases: Cases, found: Commissioning, called: NDArray[np.bool_]) -> None:
    """Print how the scores lie, what the labelled say, and what would change.

    called: whether each labelled radiograph is positive at a threshold that it took no part in, bool (n,).
    """
    console = Console(highlight=False)
    console.print(
        f"{networks.model} on {found.unlabelled} unlabelled and {found.labelled} labelled radiographs of this site, "
        f"{found.positives} of them with COVID-19 ({found.source})",
        markup=False,
    )
    console.print(_distribution(networks, cases, found))
    console.print(_rates(networks, cases, called))
    console.print(_changes(networks, cases, found))


def _distribution(networks: Networks, cases: Cases, found: Commissioning) -> Table:
    """Share of the radiographs in each tenth of the scores: at home, and here."""
    table = Table(title="Scores", box=box.SIMPLE_HEAD, title_justify="left")
    reference = networks.operating_point.reference
    groups = {f"training, {name}": np.array(scores) for name, scores in reference.items()}
    groups |= {
        "here, unlabelled": cases.unlabelled,
        "here, other": cases.labelled[cases.targets == 0],
        "here, covid-19": cases.labelled[cases.targets == 1],
    }
    for heading in ("score", *groups, "probability here"):
        table.add_column(heading)
    bins = {name: np.minimum((scores * _BINS).astype(int), _BINS - 1) for name, scores in groups.items()}
    for place in range(_BINS):
        shares = [float((of == place).mean()) for of in bins.values()]
        middle = on_curve(np.array([(place + 0.5) / _BINS]), found.curve)[0]
        bars = [f"{'█' * round(share * _WIDEST)}{' ' if share * _WIDEST >= 0.5 else ''}{share:.0%}" for share in shares]
        table.add_row(f"{place / _BINS:.1f} to {(place + 1) / _BINS:.1f}", *bars, f"{middle:.0%}")
    return table


def _rates(networks: Networks, cases: Cases, called: NDArray[np.bool_]) -> Table:
    """Sensitivity and specificity on the labelled."""
    table = Table(title="On the labelled radiographs, with 95 % intervals", box=box.SIMPLE_HEAD, title_justify="left")
    for heading in ("", "threshold of the model", "threshold of the site *"):
        table.add_column(heading)
    before = cases.labelled >= networks.operating_point.threshold
    for name, ill in (("sensitivity", 1), ("specificity", 0)):
        own = cases.targets == ill
        table.add_row(name, *(_rate((called_by == bool(ill))[own]) for called_by in (before, called)))
    table.caption = "* each radiograph judged by a commissioning without it"
    table.caption_justify = "left"
    return table


def _rate(right: NDArray[np.bool_]) -> str:
    hits, count = int(right.sum()), len(right)
    interval = binomtest(hits, count).proportion_ci(method="wilson")
    return f"{hits / count:.0%} ({hits} of {count}; {interval.low:.0%} to {interval.high:.0%})"


def _changes(networks: Networks, cases: Cases, found: Commissioning) -> Table:
    """The operating point, and what it would have made of the unlabelled, before and after."""
    point = networks.operating_point
    table = Table(title="What changes", box=box.SIMPLE_HEAD, title_justify="left")
    for heading in ("", "model", "this site"):
        table.add_column(heading)
    table.add_row("threshold", f"{point.threshold:.4f}", f"{found.threshold:.4f}")
    table.add_row("indeterminate", *("{:.4f} to {:.4f}".format(*band) for band in (point.band, found.band)))
    for verdict in Verdict:
        shares = [
            np.mean([verdict_of(float(score), band) is verdict for score in cases.unlabelled])
            for band in (point.band, found.band)
        ]
        table.add_row(f"unlabelled called {verdict.value}", *(f"{share:.0%}" for share in shares))
    return table
