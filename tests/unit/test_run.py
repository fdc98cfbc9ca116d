"""The folder of a run: what is finished is kept, and what does not belong together is not mixed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.training.corpus import Label, Sample
from pipeline.training.run import BadRun, Run, config_of, digest_of, environment


def test_a_part_is_computed_once_and_read_afterwards(tmp_path: Path) -> None:
    asked = []

    def compute() -> Mapping[str, Any]:
        asked.append(1)
        return {"scores": [0.1, 1 / 3, 1e-300]}

    run = Run.open(tmp_path / "run", {"seed": 0})
    assert not run.has("fold-0")
    first = run.once("fold-0", compute)
    again = Run.open(tmp_path / "run", {"seed": 0})
    assert again.has("fold-0")
    assert again.once("fold-0", compute) == first == {"scores": [0.1, 1 / 3, 1e-300]}
    assert len(asked) == 1


def test_a_part_that_failed_leaves_nothing(tmp_path: Path) -> None:
    run = Run.open(tmp_path, {})

    def fail() -> Mapping[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.once("fold-0", fail)
    assert run.once("fold-0", lambda: {"ok": 1}) == {"ok": 1}


def test_another_config_is_refused_with_what_differs(tmp_path: Path) -> None:
    Run.open(tmp_path, {"seed": 0, "epochs": 3})
    with pytest.raises(BadRun, match=r"holds a run with another seed, folds$"):
        Run.open(tmp_path, {"seed": 1, "epochs": 3, "folds": 2})
    assert Run.open(tmp_path, {"seed": 0, "epochs": 3}).config() == {"seed": 0, "epochs": 3}


def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(BadRun, match="is not empty and holds no run"):
        Run.open(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_config_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(BadRun, match=r"config\.json cannot be read"):
        Run.open(tmp_path, {})


def test_the_environment_is_kept_once_and_names_commit_and_packages(tmp_path: Path) -> None:
    for _ in range(2):
        run = Run.open(tmp_path, {})
    (here,) = run.environments()
    assert here == environment()
    assert here["git_commit"] is None or len(here["git_commit"].rstrip("+")) == 40
    assert {"tensorflow", "keras", "numpy", "openvino"} <= set(here["packages"])


def test_the_config_follows_content_labels_and_folds_of_the_corpus(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"1")

    def digest(**changed: Any) -> str:
        plain: dict[str, Any] = {"file": file, "label": Label.COVID, "patient": "p", "archive": "x", "lung_mask": None}
        return digest_of(config_of([Sample(**{**plain, **changed})], seed=0))

    before = digest()
    assert before == digest(row=7)
    assert len({before, digest(label=Label.NORMAL), digest(patient="q"), digest(archive="y"), digest(fold="1")}) == 5
    file.write_bytes(b"2")
    assert digest() != before
    json.dumps(config_of([], seed=0))
