"""The operating point of a site, from radiographs of its own, a few of them labelled.

A Bayesian fit: what is known of the scores at home is the prior, and the site's radiographs turn it into a posterior,
over which probabilities are averaged, so that few labels make cautious probabilities. Logits of either class are taken
to be normally distributed, which they are not quite: unlabelled radiographs, of which only the mixture is seen, would
mislead if they counted in full.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit, ndtr

from pipeline.calibrate import Scores, Targets, logits_of

Numbers = NDArray[np.float64]

_KNOTS: Final = np.linspace(-8, 8, 33)
"""Logits of the scores at which a curve has its points."""
_DRAWS: Final = 1000
_UNLABELLED: Final = 0.2
"""How much an unlabelled radiograph counts in the likelihood, against a labelled one."""
_APART: Final = 1.5
"""How far the means of the classes are expected to be apart, in deviations: an AUC of 0.86. What they are at home says
little about it: there, the classes may differ by archive."""
_DOUBT: Final = np.array([3.0, 0.35, 0.25, 1.0, 1.5])
"""Standard deviations of the prior, in the order of `_Site`'s parameters."""
_SPECIFICITY: Final = 0.85
"""What the upper end of the band stands for, as at home."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Logits of scores at home, of patients held out: middle of the means of the classes, and their standard deviation,
    the geometric mean of both."""

    middle: float
    deviation: float

    @classmethod
    def of(cls, others: Scores, positives: Scores) -> "Home":
        """From scores of radiographs without and with COVID-19, or from some that stand for them."""
        other, positive = (logits_of(np.asarray(group, np.float64)) for group in (others, positives))
        return cls(
            middle=float(other.mean() + positive.mean()) / 2,
            deviation=max(float(np.sqrt(other.std() * positive.std())), 0.1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalibration:
    """The operating point of a site.

    curve: points of score and probability, both ascending: what a score says, if half of the radiographs showed
    COVID-19. threshold, band: of the score, [0, 1].
    """

    curve: tuple[tuple[float, float], ...]
    threshold: float
    band: tuple[float, float]


def on_curve(scores: Scores, curve: Sequence[tuple[float, float]]) -> Scores:
    """The probabilities that a curve gives to scores, (N,); linear in the logit of the score between its points."""
    known, probabilities = np.array(curve, np.float64).T
    return np.asarray(np.interp(logits_of(scores), logits_of(known), probabilities), np.float64)


def recalibrate(
    unlabelled: Scores, labelled: Scores, targets: Targets, home: Home, sensitivity: float, *, seed: int = 0
) -> Recalibration:
    """Find what scores mean at a site, and the threshold that has `sensitivity` there.

    unlabelled: scores, (N,). labelled, targets: scores, and 1 for COVID-19, else 0; (n,), of both classes.
    Of the COVID-19 radiographs that the threshold misses, half lie above the lower end of the band; 85 % of the others
    lie below its upper end.
    """
    from scipy.optimize import brentq  # only here: a worker, which never does this, saves 25 MB

    site = _Site(logits_of(unlabelled), logits_of(labelled), targets, home)
    draws, weights = site.posterior(np.random.default_rng(seed))
    (other, other_deviation), (ill, ill_deviation) = _classes(draws)
    densities = [
        -0.5 * ((_KNOTS[:, None] - mean) / deviation) ** 2 - np.log(deviation)
        for mean, deviation in ((other, other_deviation), (ill, ill_deviation))
    ]
    probabilities = _ascending(expit(densities[1] - densities[0]) @ weights, middle=float(draws[0] @ weights))

    def logit_above_which(share: float, mean: Numbers, deviation: Numbers) -> float:
        low, high = float((mean - 9 * deviation).min()), float((mean + 9 * deviation).max())
        return float(brentq(lambda logit: float(ndtr((mean - logit) / deviation) @ weights) - share, low, high))

    threshold = logit_above_which(sensitivity, ill, ill_deviation)
    low = logit_above_which((1 + sensitivity) / 2, ill, ill_deviation)
    high = logit_above_which(1 - _SPECIFICITY, other, other_deviation)
    return Recalibration(
        curve=tuple((float(s), float(p)) for s, p in zip(expit(_KNOTS), probabilities, strict=True)),
        threshold=float(expit(threshold)),
        band=(float(expit(low)), float(expit(max(high, threshold)))),
    )


def called_elsewhere(
    unlabelled: Scores, labelled: Scores, targets: Targets, home: Home, sensitivity: float
) -> NDArray[np.bool_]:
    """Whether each labelled radiograph reaches a threshold that was found without it; bool (n,).

    The arguments are those of `recalibrate`; a class with one radiograph cannot spare it.
    """
    called = []
    for i, score in enumerate(labelled):
        others = np.arange(len(labelled)) != i
        found = recalibrate(unlabelled, labelled[others], targets[others], home, sensitivity)
        called.append(score >= found.threshold)
    return np.array(called, np.bool_)


class _Site:
    """The posterior of five parameters: middle of the means; logarithm of the deviation; logarithm of the ratio of the
    deviations; how far the means are apart, in deviations; log odds of COVID-19 among the unlabelled."""

    def __init__(self, unlabelled: Numbers, labelled: Numbers, targets: Targets, home: Home) -> None:
        self._unlabelled, self._ill, self._other = unlabelled, labelled[targets == 1], labelled[targets == 0]
        self._mean = np.array([home.middle, np.log(home.deviation), 0.0, _APART, 0.0])
        self._doubt = _DOUBT * [home.deviation, 1, 1, 1, 1]

    def posterior(self, random: np.random.Generator) -> tuple[Numbers, Numbers]:
        """Draws, (5, K), and their weights, (K,), which sum to 1: importance sampling around the most probable."""
        begin = self._mean.copy()
        begin[0] = (self._ill.mean() + self._other.mean()) / 2
        from scipy.optimize import minimize

        best = minimize(lambda p: -float(self._log_density(p[:, None])[0]), begin, method="BFGS")
        # A little wider than the posterior is at its top, so that no draw outweighs all others.
        spread = np.linalg.cholesky(1.5 * best.hess_inv + 1e-9 * np.eye(len(begin)))
        normal = random.standard_normal((len(begin), _DRAWS))
        draws = best.x[:, None] + spread @ normal
        log_weights = self._log_density(draws) + 0.5 * (normal**2).sum(axis=0)
        weights = np.exp(log_weights - log_weights.max())
        return draws, weights / weights.sum()

    def _log_density(self, parameters: Numbers) -> Numbers:
        """Of the posterior but for a constant; parameters: (5, K); (K,)."""
        (other, other_deviation), (ill, ill_deviation) = _classes(parameters)
        odds = parameters[4]

        def densities(values: Numbers, mean: Numbers, deviation: Numbers) -> Numbers:
            return np.asarray(-0.5 * ((values[:, None] - mean) / deviation) ** 2 - np.log(deviation))

        mixed = np.logaddexp(
            densities(self._unlabelled, ill, ill_deviation) + log_expit(odds),
            densities(self._unlabelled, other, other_deviation) + log_expit(-odds),
        )
        likelihood = densities(self._ill, ill, ill_deviation).sum(axis=0)
        likelihood += densities(self._other, other, other_deviation).sum(axis=0)
        prior = -0.5 * (((parameters.T - self._mean) / self._doubt) ** 2).sum(axis=1)
        return np.asarray(likelihood + _UNLABELLED * mixed.sum(axis=0) + prior)


def _classes(parameters: Numbers) -> tuple[tuple[Numbers, Numbers], tuple[Numbers, Numbers]]:
    """Mean and deviation of the radiographs without, and of those with COVID-19; each (K,)."""
    middle, deviation, ratio, half = parameters[0], np.exp(parameters[1]), parameters[2], parameters[3] / 2
    return (
        (middle - half * deviation, deviation * np.exp(-ratio)),
        (middle + half * deviation, deviation * np.exp(ratio)),
    )


def _ascending(probabilities: Numbers, middle: float) -> Numbers:
    """Probabilities that never fall: where two normal densities cross a second time, far out, they would."""
    k = int(np.argmin(np.abs(_KNOTS - middle)))
    above = np.maximum.accumulate(probabilities[k:])
    below = np.minimum.accumulate(probabilities[: k + 1][::-1])[::-1]
    return np.concatenate([below[:-1], above])
