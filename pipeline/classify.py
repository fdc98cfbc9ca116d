"""The score and the verdict."""

from models.serving import Network
from pipeline.radiograph import Gray
from pipeline.reading import Verdict


def classify(image: Gray, network: Network) -> tuple[float, Gray]:
    """Run the classifier on what `preprocess.crop` made.

    image: float32 (side, side), [0, 1]. Returns the score towards COVID-19, [0, 1], and the class activation map,
    float32 (a, b), of any range. Source: COVID-XNet, section 2.3.
    """
    probabilities, activation = network(image[None, :, :, None])
    return float(probabilities[0, 1]), activation[0, :, :, 0]


def verdict_of(score: float, band: tuple[float, float]) -> Verdict:
    """The score against the operating point.

    band: lower and upper bound of what is indeterminate, both included unless they are equal; then the score that
    equals them is positive.
    """
    low, high = band
    if score < low:
        return Verdict.NEGATIVE
    return Verdict.INDETERMINATE if score <= high and low < high else Verdict.POSITIVE
