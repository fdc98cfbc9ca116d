"""The grid of the search, its cost, and a search that goes on."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.covid_xnet import covid_xnet
from pipeline.evaluation.search import KERNELS, Lessons, architecture, cost, depths, front, search
from pipeline.training.augment import as_in_the_paper
from pipeline.training.run import Run


def test_the_grid_reaches_to_the_last_network_that_leaves_more_than_one_pixel() -> None:
    assert depths(128) == [1, 2, 3, 4, 5, 6, 7]
    assert depths(100) == [1, 2, 3, 4, 5, 6]
    assert depths(2) == [1]
    for side in (100, 128):
        shape = covid_xnet(side, *architecture(depths(side)[-1], 3)).get_layer("average").input.shape
        assert 2 <= shape[1] <= 3


@pytest.mark.parametrize(("depth", "kernel"), [(1, 3), (3, 5), (6, 11)])
def test_the_cost_counts_every_weight_of_a_convolution_at_every_pixel(depth: int, kernel: int) -> None:
    network = covid_xnet(64, *architecture(depth, kernel))
    counted = 0
    for i in range(depth):
        layer = network.get_layer(f"conv{i}")
        counted += layer.count_params() * layer.output.shape[1] * layer.output.shape[2]
    assert cost(64, depth, kernel) == counted


def test_the_front_holds_what_nothing_cheaper_beats() -> None:
    def row(flops: int, auc: float, *, pruned: bool = False) -> dict[str, object]:
        return {"flops": flops, "auc": auc, "pruned": pruned}

    rows = [row(5, 0.9), row(1, 0.6), row(3, 0.5), row(4, 0.99, pruned=True), row(9, 0.9), row(1, 0.7)]
    assert front(rows) == [5, 0]


def test_a_search_learns_once_what_each_network_is_worth_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    targets = np.arange(16) % 2
    images = (random.random((16, 8, 8)) * 60 + 120 * targets[:, None, None]).astype(np.uint8)
    lessons = Lessons(images=images, targets=targets, judged=images, truth=targets, vary=as_in_the_paper)
    run = Run.open(tmp_path / "run", {"learn": ["a"], "judge": ["b"], "epochs": 1})
    storage, ticks = f"sqlite:///{tmp_path / 'search.db'}", 0

    def stop() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 4:
            raise KeyboardInterrupt

    grid = len(depths(8)) * len(KERNELS)
    with pytest.raises(KeyboardInterrupt):
        search(lessons, run, storage=storage, name="s", epochs=1, seed=0, tick=stop)
    rows = search(lessons, run, storage=storage, name="s", epochs=1, seed=0, tick=stop)
    assert ticks == 4 + grid  # those that were finished count at once
    assert {(row["depth"], row["kernel"]) for row in rows} == {(d, k) for d in depths(8) for k in KERNELS}
    assert len(rows) == grid
    assert all(0 <= row["auc"] <= 1 and row["parameters"] > 0 for row in rows)
    finished = [row["auc"] for row in rows if not row["pruned"]]
    assert finished == sorted(finished, reverse=True)
    assert json.loads((run.folder / "search.json").read_text("utf-8")) == rows
    assert search(lessons, run, storage=storage, name="s", epochs=1, seed=0, tick=lambda: None) == rows
    page = (run.folder / "search.html").read_text("utf-8")
    assert "data:image/svg+xml" in page
    assert all(row["name"] in page for row in rows)
