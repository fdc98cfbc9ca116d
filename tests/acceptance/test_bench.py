"""A tiny run of each benchmark: what it measures is there, and was measured. Never how much it is."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dicom_node.bench import peers
from dicom_node.bench.report import quantile, shown
from dicom_node.cli import app


def run(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["bench", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["command"] == arguments[0]
    assert report["seconds"] > 0
    assert report["machine"]["cores"] >= 1
    assert report["machine"]["python"]
    return report


def assert_measured(row: dict[str, Any], columns: Sequence[str]) -> None:
    for column in columns:
        assert row[column] > 0, (column, row)


def test_receive_measures_each_receiver_with_each_size_and_number_of_associations() -> None:
    report = run("receive", "--megabytes", "13", "--rounds", "1", "--associations", "1", "--associations", "2")
    for section in report["sections"]:
        receivers = {row["receiver"].split()[0] for row in section["rows"]}
        assert {"covid-xnet", "Orthanc", "storescp", "raw"} <= receivers
        assert [row["associations"] for row in section["rows"] if row["receiver"] == "covid-xnet"] == [1, 2]
        for row in section["rows"]:
            assert_measured(row, ("images/s", "ratio", "RSS MB"))


@pytest.mark.slow
def test_node_measures_throughput_latency_cost_and_start_and_the_naive_build() -> None:
    report = run("node", "--radiographs", "3", "--rounds", "1", "--one-each-second", "2", "--side", "512")
    throughput, stages, latency, start = report["sections"]
    names = [row["subject"] for row in throughput["rows"]]
    assert names[:2] == ["covid-xnet, 2 workers, storescp", "covid-xnet, 2 workers, orthanc"]
    for row in throughput["rows"]:
        assert_measured(row, ("images/s", "ratio", "CPU ms, all of it", "worker RSS MB"))
    assert_measured(throughput["rows"][0], ("listener", "workers", "returner", "listener RSS MB"))
    assert {"lungs", "classify"} <= {row["stage"] for row in stages["rows"]}
    for row in latency["rows"]:
        assert_measured(row, ("p50 ms", "p95 ms"))
    for row in start["rows"]:
        assert_measured(row, ("seconds", "CPU s", "RSS MB"))
    if not peers.no_naive():
        assert "naive build, storescp" in names


def test_read_measures_the_command_its_steps_and_awkward_radiographs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicom_node.bench.read._SQUARE", 512)
    monkeypatch.setattr("dicom_node.bench.read._AWKWARD", (("small, as it is", 512, None),))
    report = run("read", "--files", "2", "--repeats", "1", "--megapixels", "0.25")
    command, steps, sizes, awkward = report["sections"]
    assert command["rows"][0]["read"] == 2
    assert_measured(command["rows"][0], ("images/s", "CPU ms/image", "cores used", "RSS MB"))
    assert len(steps["rows"]) == 5
    assert all(row["CPU ms"] > 0 for row in steps["rows"])
    for row in (*sizes["rows"], *awkward["rows"]):
        assert_measured(row, ("ms", "RSS MB"))


def test_ledger_measures_inserts_and_queries_at_each_size() -> None:
    report = run("ledger", "--readings", "20", "--readings", "40", "--inserts", "2", "--queries", "2")
    rows = report["sections"][0]["rows"]
    assert [row["readings"] for row in rows] == [20, 40]
    for row in rows:
        assert_measured(row, ("insert, median", "status: counts", "status: list of 20", "one study", "database MB"))


def test_train_measures_input_and_network() -> None:
    report = run("train", "--images", "64", "--batches", "1")
    for row in report["sections"][0]["rows"]:
        assert_measured(row, ("varied/s of one core", "learnt/s", "ratio"))


def test_a_quantile_is_a_value_that_was_measured() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([float(n) for n in range(1, 101)], 0.95) == 95.0
    assert quantile([], 0.5) is None


def test_cells_show_the_digits_that_mean_something() -> None:
    assert [shown(value) for value in (None, 1234.5, 0.98765, 7, "PACS")] == ["-", "1234", "0.988", "7", "PACS"]


def test_without_its_program_the_naive_build_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "NAIVE", Path("nowhere"))
    assert peers.no_naive() == "its program is only in a checkout"
