"""How the recipe is chosen: on archives that are held out within those that a split learns from, and only there."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.preprocess import DEFAULT, Recipe
from pipeline.training.choice import (
    CANDIDATES,
    DEFAULT_CANDIDATE,
    LOCK,
    Candidate,
    NotLocked,
    compare,
    require_locked,
    splits_of,
)
from pipeline.training.classifier import Images
from pipeline.training.corpus import Label, Sample
from pipeline.training.run import Run

ILL = ("cohen", "covid-cxnet", "hannover", "bimcv")
WELL = ("shenzhen", "montgomery", "nih", "rsna")
LEARNED = {
    "a": {"cohen", "covid-cxnet", "hannover", "shenzhen", "montgomery"},
    "b": {"bimcv", "rsna", "nih"},
    "c": {"cohen", "covid-cxnet", "nih"},
}


def corpus(folder: Path, each: int = 12) -> list[Sample]:
    """Each archive of one class, nih with pneumonias, cohen with a few normal radiographs."""
    samples = []
    for archive in (*ILL, *WELL):
        for number in range(each):
            label = Label.COVID if archive in ILL else Label.NORMAL
            if archive == "nih" and number % 3 == 0:
                label = Label.PNEUMONIA
            if archive == "cohen" and number == 0:
                label = Label.NORMAL
            file = folder / f"{archive}-{number}.png"
            file.write_bytes(f"{archive} {number}".encode())
            samples.append(
                Sample(file=file, label=label, patient=f"{archive} {number // 2}", archive=archive, lung_mask=None)
            )
    return samples


def test_an_inner_split_holds_out_an_archive_of_each_kind_and_asks_no_archive_that_the_split_judges(
    tmp_path: Path,
) -> None:
    samples = corpus(tmp_path)
    splits = splits_of(samples)
    assert {name: [split.name for split in inner] for name, inner in splits.items()} == {
        "a": [f"a-{ill}-{well}" for ill in ("cohen", "covid-cxnet", "hannover") for well in ("montgomery", "shenzhen")],
        "b": ["b-bimcv-nih", "b-bimcv-rsna"],
        "c": ["c-cohen-nih", "c-covid-cxnet-nih"],
    }
    for name, inner in splits.items():
        for split in inner:
            learn, judge = ([samples[i] for i in part] for part in (split.learn, split.judge))
            assert {s.archive for s in [*learn, *judge]} <= LEARNED[name]
            assert not {s.patient for s in learn} & {s.patient for s in judge}
            assert all(s.label in (Label.COVID, Label.NORMAL) for s in judge)
            _, ill, well = split.name.split("-", 1)[0], *split.name[2:].rsplit("-", 1)
            assert {s.archive for s in judge} == {ill, well}
            shared = {s.archive for s in learn} & {ill, well}
            assert shared == {"a": set(), "b": {"bimcv"}, "c": {"nih"}}[name]


def test_a_split_without_all_its_archives_is_left_out(tmp_path: Path) -> None:
    samples = [s for s in corpus(tmp_path) if s.archive not in ("montgomery", "rsna")]
    assert list(splits_of(samples)) == ["c"]


def test_the_best_network_is_chosen_and_nothing_is_judged_twice(tmp_path: Path) -> None:
    samples = [s for s in corpus(tmp_path) if s.archive in LEARNED["c"]]
    random = np.random.default_rng(0)
    ill = np.array([s.label is Label.COVID for s in samples])
    bands = 60 * np.sin(np.arange(64) / 2)[None, :, None] * ill[:, None, None]
    shown: Images = np.clip(128 + bands + random.normal(0, 20, (len(samples), 64, 64)), 0, 255).astype(np.uint8)
    noise: Images = random.integers(0, 255, shown.shape, dtype=np.uint8)
    asked: list[str] = []

    def images_of(recipe: Recipe) -> Images:
        asked.append(recipe.name)
        return noise if recipe.name == "blind" else shown

    course = replace(DEFAULT_CANDIDATE.course, epochs=1)
    blind = replace(DEFAULT, name="blind")
    candidates = {
        "seeing": Candidate(recipe=DEFAULT, course=course, alone=True),
        "blind": Candidate(recipe=blind, course=course, alone=True),
        "network": Candidate(recipe=DEFAULT, course=course),
    }
    run, ticks = Run.open(tmp_path / "run", {"corpus": "x"}), []
    found = compare(samples, run, images_of, candidates=candidates, seed=0, tick=lambda: ticks.append(1))
    assert len(ticks) == len(candidates) * 2
    by_name = {row["name"]: row for row in found["table"]}
    assert by_name["seeing"]["mean"] > 0.99 > by_name["blind"]["mean"]
    # A tutor alone has no map to show: what ships is a network.
    assert found["chosen"] == {"name": "network", "digest": candidates["network"].digest()}
    for row in found["table"]:
        assert list(row["inner"]) == ["c-cohen-nih", "c-covid-cxnet-nih"]
        assert row["mean"] == row["splits"]["c"] == pytest.approx(np.mean(list(row["inner"].values())))
    assert by_name["network"]["against_chosen"] == {"mean": 0, "standard_deviation": 0}
    assert json.loads((run.folder / "choice.json").read_text("utf-8")) == found
    asked.clear()
    assert compare(samples, run, images_of, candidates=candidates, seed=0, tick=lambda: None) == found
    assert not asked


def test_the_recipe_of_the_code_is_the_one_that_was_chosen() -> None:
    require_locked("default")
    require_locked("paper")
    table = json.loads(LOCK.read_text("utf-8"))["table"]
    assert [row["name"] for row in table if CANDIDATES[row["name"]].digest() != row["digest"]] == []


def test_another_recipe_than_the_locked_one_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "choice.json"
    for text in ("", "{}", json.dumps({"chosen": {"name": "other", "digest": "0"}})):
        lock.write_text(text, "utf-8")
        with pytest.raises(NotLocked, match=r"choice\.json"):
            require_locked("default", lock)
        require_locked("paper", lock)
