"""Which networks the node has: the manifest beside the weights."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

SHIPPED: Final = Path(__file__).with_name("weights")
"""The folder of the weights that come with the node."""

MANIFEST: Final = "manifest.json"

EVALUATION: Final = "evaluation.json"
"""What the evaluation of the classifier's recipe found; not every folder of weights has it."""


class WeightsMismatch(Exception):
    """Weights that are not those of the manifest, or that were trained with another preprocessing recipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Names one classifier and everything that its score depends on.

    name: such as "COVID-XNet".
    version: of the weights, such as "1.0.0".
    digest: sha256 (hex) over the digests of all networks and the recipe that take part in a reading.
    trained: date of training, ISO 8601.
    """

    name: str
    version: str
    digest: str
    trained: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """What turns the classifier's outputs into a score with a verdict and a heat map.

    classes: of the softmax, in its order. threshold: of the score, [0, 1]. band: the indeterminate band around it.
    activation_scale: value of the class activation map that is shown as fully hot.
    recipe, recipe_digest: name and digest of the preprocessing recipe that it was trained with.
    sensitivity: that the threshold was chosen for, on patients held out; None if it was chosen otherwise.
    temperature: divides the logit of a score, which then is that of a probability, if half of the radiographs showed
        COVID-19; None if not measured.
    reference: class -> scores, ascending, each of which stands for the same share of its radiographs, held out; empty
        if not kept.
    tells_apart: whether it tells COVID-19 from other pneumonia; None if not measured.
    """

    classes: tuple[str, ...]
    threshold: float
    band: tuple[float, float]
    activation_scale: float
    recipe: str
    recipe_digest: str
    sensitivity: float | None = None
    temperature: float | None = None
    reference: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    tells_apart: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One network of the manifest.

    side: of its square input, in pixels. files: name -> sha256 (hex). data: what it was trained on, in words.
    metrics: name -> value, each measured on patients that it was not trained on.
    """

    name: str
    title: str
    version: str
    trained: str
    side: int
    files: Mapping[str, str]
    data: str
    metrics: Mapping[str, float]
    operating_point: OperatingPoint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """The networks of one folder."""

    folder: Path
    entries: Mapping[str, Entry] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path = SHIPPED) -> "Registry":
        """Read the manifest of `folder`, without looking at the weights.

        Raises WeightsMismatch if there is none that can be understood.
        """
        try:
            entries = [_entry(item) for item in json.loads((folder / MANIFEST).read_text("utf-8"))]
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as e:
            raise WeightsMismatch(f"{folder / MANIFEST} cannot be read: {e}") from e
        return cls(folder=folder, entries={entry.name: entry for entry in entries})

    def evaluation(self) -> Mapping[str, Any] | None:
        """The report of the evaluation that is kept beside the weights, without its pictures; None if there is none.

        Raises WeightsMismatch if it cannot be understood.
        """
        try:
            found: Mapping[str, Any] = json.loads((self.folder / EVALUATION).read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as e:
            raise WeightsMismatch(f"{self.folder / EVALUATION} cannot be read: {e}") from e
        return found

    def with_entry(self, entry: Entry) -> "Registry":
        """The registry with `entry` in place of one of its name, written to the manifest."""
        changed = Registry(folder=self.folder, entries={**self.entries, entry.name: entry})
        text = json.dumps([asdict(e) for e in changed.entries.values()], indent=2) + "\n"
        (self.folder / MANIFEST).write_text(text, "utf-8")
        return changed

    def file(self, name: str, suffix: str) -> Path:
        """The verified file of network `name` with `suffix`, such as ".xml".

        Raises WeightsMismatch if it, or another file of the network, is not the one of the manifest.
        """
        if name not in self.entries:
            raise WeightsMismatch(f"{self.folder / MANIFEST} has no network {name}")
        self.verify(name)
        return self.folder / f"{name}{suffix}"

    def verify(self, name: str) -> None:
        """Raise WeightsMismatch if a file of network `name` is missing or has another content."""
        files = self.entries[name].files
        for file in (f"{name}.xml", f"{name}.bin"):
            if file not in files:
                raise WeightsMismatch(f"{self.folder / MANIFEST} has no digest of {file}")
        for file, expected in files.items():
            try:
                found = sha256(self.folder / file)
            except OSError as e:
                raise WeightsMismatch(f"{self.folder / file} cannot be read: {e.strerror}") from e
            if found != expected:
                raise WeightsMismatch(f"{self.folder / file} is not the file of the manifest: its sha256 is {found}")


def sha256(file: Path) -> str:
    """Digest of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _entry(item: dict[str, Any]) -> Entry:
    point = item.pop("operating_point", None)
    if point is not None:
        low, high = point["band"]
        reference = {name: tuple(scores) for name, scores in point.get("reference", {}).items()}
        changed = {"classes": tuple(point["classes"]), "band": (low, high), "reference": reference}
        point = OperatingPoint(**{**point, **changed})
    return Entry(**{**item, "files": dict(item["files"])}, operating_point=point)
