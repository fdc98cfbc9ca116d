"""The folder of a run: what was asked, where it ran, and every part that is finished, so that no part runs twice."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, cast

from models.registry import Registry
from pipeline.flow import before_the_classifier
from pipeline.preprocess import Recipe
from pipeline.training.corpus import Sample

_CODE: Final = (
    *(Path(__file__).with_name(name) for name in ("classifier.py", "augment.py", "tutor.py")),
    Path(__file__).parents[2] / "models" / "covid_xnet.py",
)
"""What decides how a classifier is trained: parts that other code trained are not mixed with new ones."""

_PACKAGES: Final = (
    "keras",
    "numpy",
    "opencv-python-headless",
    "openvino",
    "scikit-image",
    "scikit-learn",
    "tensorflow",
)


class BadRun(Exception):
    """A folder that holds another run, or none that can be understood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that may have been interrupted.

    `config.json` is what was asked, `environment.json` where it ran (a list: a run may go on elsewhere), `parts/` what
    is finished: numbers as JSON, networks as Keras files beside them.
    """

    folder: Path

    @classmethod
    def open(cls, folder: Path, config: Mapping[str, Any]) -> "Run":
        """Begin a run in `folder`, or go on with the one that is there; raises BadRun if that had another config."""
        file = folder / "config.json"
        asked = json.loads(json.dumps(config))
        if file.exists():
            begun = _read(file)
            if other := [key for key in {**begun, **asked} if begun.get(key) != asked.get(key)]:
                raise BadRun(f"{folder} holds a run with another {', '.join(other)}")
        elif folder.exists() and any(folder.iterdir()):
            raise BadRun(f"{folder} is not empty and holds no run")
        (folder / "parts").mkdir(parents=True, exist_ok=True)
        if not file.exists():
            _write(file, asked)
        run = cls(folder=folder)
        here = environment()
        if here not in (known := run.environments()):
            _write(folder / "environment.json", [*known, here])
        return run

    def config(self) -> dict[str, Any]:
        """What was asked."""
        return _read(self.folder / "config.json")

    def environments(self) -> list[dict[str, Any]]:
        """Where it ran, one entry for each change."""
        file = self.folder / "environment.json"
        return cast(list[dict[str, Any]], json.loads(file.read_text("utf-8"))) if file.exists() else []

    def once(self, name: str, compute: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """What `compute` found, now or before the run was interrupted."""
        file = self.folder / "parts" / f"{name}.json"
        if not file.exists():
            _write(file, compute())
        return _read(file)

    def part(self, name: str) -> dict[str, Any]:
        """What was found of part `name`, which is finished."""
        return _read(self.folder / "parts" / f"{name}.json")

    def has(self, name: str) -> bool:
        """Whether part `name` is finished."""
        return (self.folder / "parts" / f"{name}.json").exists()

    def network(self, name: str, vote: int) -> Path:
        """Where the network of part `name` that has this vote, counted from 0, is kept."""
        return self.folder / "parts" / f"{name}-{vote}.keras"


def config_of(samples: Sequence[Sample], **asked: Any) -> dict[str, Any]:
    """What a run depends on: the corpus by content, the code that trains, and what was asked."""
    corpus = hashlib.sha256()
    for sample in samples:
        corpus.update("\n".join([sample.digest(), sample.label, sample.patient, sample.archive, sample.fold]).encode())
    code = hashlib.sha256(b"".join(file.read_bytes() for file in _CODE))
    return {**asked, "corpus": corpus.hexdigest(), "code": code.hexdigest()}


def classifier_config(
    samples: Sequence[Sample], recipe: Recipe, weights: Path, *, epochs: int, folds: int, seed: int
) -> dict[str, Any]:
    """What the classifiers of a run depend on, whether they are to be judged or to be published.

    weights: folder with the networks that prepare what they see.
    """
    entries = Registry.load(weights).entries
    prepared = [d for name in before_the_classifier(recipe) for d in entries[name].files.values()]
    asked = {"recipe": recipe.digest(), "prepared": prepared, "epochs": epochs, "folds": folds, "seed": seed}
    return config_of(samples, **asked)


def digest_of(config: Mapping[str, Any]) -> str:
    """Names a config: the first 16 digits of its sha256."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def environment() -> dict[str, Any]:
    """Python, packages, processors, and the git commit if this is a checkout."""
    return {
        "covid-xnet": version("covid-xnet"),
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def _git_commit() -> str | None:
    """The commit of the checkout that holds this file, with a `+` if files were changed since."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        # Not the commit of whatever checkout the package was installed into.
        tracked = subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True, check=False)
        if tracked.returncode:
            return None
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD"], capture_output=True, check=False).returncode
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed else "")


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except ValueError as e:
        raise BadRun(f"{file} cannot be read: {e}") from e
    return cast(dict[str, Any], found)


def _write(file: Path, content: Any) -> None:
    """Write all or nothing: a run may be killed at any moment."""
    temporary = file.with_suffix(".part")
    temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", "utf-8")
    temporary.replace(file)
