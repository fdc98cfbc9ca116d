"""What a site found out about the networks on its own radiographs, and signed: one file beside its data."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


class BadCommissioning(Exception):
    """A file that holds no commissioning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commissioning:
    """The operating point of one site, for the networks and the recipe with these digests.

    model: name and version, for people. unlabelled, labelled: how many radiographs it rests on; positives: how many of
    the labelled showed COVID-19. curve: points of score and probability, both ascending, [0, 1]: what a score says, if
    half of the radiographs showed COVID-19. threshold, band: of the score. sensitivity: that the threshold is for.
    source: where the radiographs came from, in words. by: who signed it. at: when, ISO 8601, UTC.
    """

    model: str
    model_digest: str
    recipe_digest: str
    unlabelled: int
    labelled: int
    positives: int
    curve: tuple[tuple[float, float], ...]
    threshold: float
    band: tuple[float, float]
    sensitivity: float
    source: str
    by: str
    at: str

    @property
    def date(self) -> str:
        """The day on which it was signed, ISO 8601."""
        return self.at[:10]

    @property
    def digest(self) -> str:
        """Sha256 (hex) of all it says: tells one commissioning from another."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def summary(self) -> dict[str, Any]:
        """What the result of a reading says of it, for JSON."""
        return {
            "digest": self.digest,
            "at": self.at,
            "by": self.by,
            "unlabelled": self.unlabelled,
            "labelled": self.labelled,
        }

    def save(self, file: Path) -> None:
        """Write it to `file`, all or nothing; only the owner may read it. Raises OSError."""
        temporary = file.with_suffix(".part")
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", "utf-8")
        temporary.replace(file)

    @classmethod
    def load(cls, file: Path) -> "Commissioning":
        """Read what `save` wrote. Raises BadCommissioning if it is not that, FileNotFoundError if there is none."""
        try:
            found = json.loads(file.read_text("utf-8"))
            low, high = (float(end) for end in found["band"])
            curve = tuple((float(score), float(probability)) for score, probability in found["curve"])
            commissioning = cls(**{**found, "band": (low, high), "curve": curve})
            datetime.fromisoformat(commissioning.at)
        except FileNotFoundError:
            raise
        except (OSError, ValueError, TypeError, KeyError) as e:
            raise BadCommissioning(f"{file} cannot be read: {e}") from e
        if problem := _problem(commissioning):
            raise BadCommissioning(f"{file}: {problem}")
        return commissioning


def _problem(found: Commissioning) -> str:
    low, high = found.band
    numbers: tuple[Any, ...] = (found.threshold, found.sensitivity, found.unlabelled, found.labelled, found.positives)
    if not all(isinstance(number, int | float) for number in numbers):
        return "threshold, sensitivity and counts must be numbers"
    if not 0 <= low <= found.threshold <= high <= 1:
        return "threshold and band must be in order within [0, 1]"
    if len(found.curve) < 2 or any(
        list(column) != sorted(column) or not 0 <= column[0] <= column[-1] <= 1
        for column in zip(*found.curve, strict=True)
    ):
        return "the curve must ascend within [0, 1]"
    if not found.by.strip():
        return "nobody signed it"
    return ""
