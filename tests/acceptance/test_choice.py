"""`covid-xnet choose-recipe` on a corpus of phantoms: from a manifest to a table, and again without learning anew."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from models.registry import SHIPPED
from pipeline.training.choice import CANDIDATES
from tests.acceptance.test_training import draw_corpus, error_of, rows_of, write

PATIENTS = 36
NORMAL, ILL = ("nih", "nih"), ("cohen", "covid-cxnet")
"""The archives that split c learns from; the splits a and b lack theirs."""


def draw(folder: Path) -> Path:
    manifest = draw_corpus(folder, PATIENTS)
    rows = rows_of(manifest)
    for number, row in enumerate(rows):
        row["source_key"] = (ILL if row["label"] == "covid" else NORMAL)[number // 2 % 2]
    return write(folder, rows)


def choose(manifest: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "-m", "dicom_node", "choose-recipe", "--manifest", str(manifest), "--weights", str(SHIPPED),
            "--out", str(out), "--cache", str(out.parent / "cache"), *more,
        ],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_candidates_are_compared_on_archives_held_out_and_a_second_run_judges_nothing_again(tmp_path: Path) -> None:
    manifest, out = draw(tmp_path / "corpus"), tmp_path / "choice"
    done = choose(manifest, out)
    assert done.returncode == 0, done.stderr
    table = json.loads((out / "choice.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert {row["name"]: row["digest"] for row in table["table"]} == {n: c.digest() for n, c in CANDIDATES.items()}
    for row in table["table"]:
        assert set(row["inner"]) == {"c-cohen-nih", "c-covid-cxnet-nih"}
        assert row["mean"] == pytest.approx(sum(row["inner"].values()) / 2)
        assert f"{row['name']}: {row['mean']:.4f}" in done.stdout
    means = [row["mean"] for row in table["table"]]
    assert means == sorted(means, reverse=True)
    # Opacities that the phantoms of one class have are found in archives that were not learned from.
    assert means[0] > 0.9
    best = next(row for row in table["table"] if not row["alone"])
    assert table["chosen"] == {"name": best["name"], "digest": best["digest"]}
    assert f"Chosen: {best['name']}." in done.stdout

    parts = {path: path.stat().st_mtime_ns for path in (out / "parts").iterdir()}
    assert len([path for path in parts if path.suffix == ".json"]) == len(CANDIDATES) * 2
    again = choose(manifest, out)
    assert (again.returncode, again.stdout) == (0, done.stdout), again.stderr
    assert {path: path.stat().st_mtime_ns for path in (out / "parts").iterdir()} == parts

    assert "--out" in error_of(choose(manifest, out, "--seed", "1"))


@pytest.mark.slow
def test_a_corpus_without_the_archives_of_a_split_is_told_so(tmp_path: Path) -> None:
    manifest = draw_corpus(tmp_path / "corpus")
    assert "No split has all archives" in error_of(choose(manifest, tmp_path / "choice"))
