"""The words about a reading, the same in the overlay and in the report. No triage wording, no diagnosis."""

from typing import Final

from pipeline.reading import Reading, Verdict

DISCLAIMER: Final = "Investigational. Not for diagnosis."
_NOT_COMMISSIONED: Final = "not commissioned at this site"
"""Thresholds do not travel: until a site has judged the model on its own images, a verdict is a number's name."""
NOT_ASSESSED: Final = (
    "Not assessed: all but opacities inside the lungs that the node found, such as pneumothorax, effusion, masses, "
    "fractures, heart, lines and tubes; earlier images; the quality of this one."
)

_AGAINST_THRESHOLD: Final = {
    Verdict.POSITIVE: "above",
    Verdict.NEGATIVE: "below",
    Verdict.INDETERMINATE: "near",
}


def percent(fraction: float) -> str:
    """`fraction`, [0, 1], with one decimal, so that a score beside the operating point never looks equal to it."""
    return f"{100 * fraction:.1f} %"


def score(reading: Reading) -> str:
    """Such as "COVID-19 suspicion score 73.1 %"."""
    return f"COVID-19 suspicion score {percent(reading.score)}"


def verdict(reading: Reading) -> str:
    """Such as "positive: above the operating point 50.0 %"."""
    return f"{reading.verdict.value}: {against_threshold(reading)}"


def against_threshold(reading: Reading) -> str:
    """Such as "above the operating point 50.0 %", with the band if there is one."""
    low, high = reading.band
    band = f" (indeterminate {percent(low)} to {percent(high)})" if high > low else ""
    return f"{_AGAINST_THRESHOLD[reading.verdict]} the operating point {percent(reading.threshold)}{band}"


def commissioned(reading: Reading) -> str:
    """Whether, when, by whom and on how many radiographs the operating point was chosen at this site."""
    if (found := reading.commissioning) is None:
        return _NOT_COMMISSIONED
    return (
        f"commissioned at this site on {found.date} by {found.by}, on {found.unlabelled} unlabelled and "
        f"{found.labelled} labelled radiographs"
    )


def probability(reading: Reading) -> str:
    """What calibration makes of the score; empty if the model has no calibration."""
    if reading.probability is None:
        return ""
    where = "at this site" if reading.commissioning else "on the training archives"
    return f"probability {percent(reading.probability)} if half of all showed COVID-19, calibrated {where}"


def limits(reading: Reading) -> tuple[str, ...]:
    """What the evaluation found against the model, as far as it concerns every result."""
    if reading.tells_apart:
        return ()
    shown = "cannot" if reading.tells_apart is False else "not shown to"
    return (f"{shown} tell COVID-19 from other pneumonia",)


def details(reading: Reading) -> tuple[str, ...]:
    """What stands beside the conclusion: it tells the limits itself."""
    return tuple(detail for detail in (commissioned(reading), probability(reading)) if detail)


def remarks(reading: Reading) -> tuple[str, ...]:
    """What has to be known of every result of the networks, here."""
    return (*details(reading), *limits(reading))


def conclusion(reading: Reading) -> str:
    """The result in plain language, for a reader who reads nothing else."""
    limit = "".join(f"The network {'is ' * (reading.tells_apart is None)}{words}. " for words in limits(reading))
    return (
        f"{score(reading)}, {verdict(reading)}. The score tells how much this radiograph resembles those of patients "
        "with COVID-19 that the network was trained on. It is a suspicion score; it reports no disorder, and a low "
        f"score excludes none. {limit}{DISCLAIMER}"
    )


def not_read(reason: str) -> str:
    """The conclusion on a radiograph that has no reading."""
    return f"This radiograph could not be read by the node, and nothing is said about it. Reason: {reason} {DISCLAIMER}"
