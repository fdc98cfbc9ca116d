"""Drift of a sender: what moved is told, what stayed is not, and each sender stands for itself."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.journey.database import open_engine, prepare
from dicom_node.journey.ledger import ReadingRow, ReceivedObject, Study
from dicom_node.journey.senders import SenderRow
from dicom_node.settings import Settings
from dicom_node.verdict import Flag
from dicom_node.watch.drift import drifts, psi
from dicom_node.watch.pages import drift_page, histogram
from dicom_node.web.metrics import NodeMetrics
from pipeline.input_statistics import Statistic, input_statistics
from tests.phantom import chest_phantom

BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
Fill = Callable[..., None]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("COVIDXNET_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    settings = Settings(data_dir=tmp_path / "data", minimum_free_megabytes=1)
    prepare(settings)
    return settings


@pytest.fixture
def session(settings: Settings) -> Iterator[Session]:
    engine = open_engine(settings)
    with Session(engine) as session:
        session.add(Study(study_instance_uid="1.2", first_received_at=BEGIN))
        session.commit()
        yield session
    engine.dispose()


@pytest.fixture
def fill(session: Session) -> Fill:
    """Add readings, one an hour, with scores around 0.5 and sharpness around 1."""

    def add(
        sender: str, count: int, *, at: datetime = BEGIN, score: float = 0.5, sharpness: float = 1.0, model: str = "d1",
        flags: tuple[str, ...] = (), accepted: bool = True,
    ) -> None:  # fmt: skip
        random = np.random.default_rng(crc32(f"{sender}{at}".encode()))
        for n in range(count):
            name = f"{sender}{at:%m%d}{model}{accepted}{n}"
            session.add(
                ReceivedObject(
                    sop_instance_uid=name, digest=name, sop_class_uid="1", transfer_syntax_uid="1", size=1,
                    study_instance_uid="1.2", series_instance_uid="1.2.3", peer_address="127.0.0.1", calling_ae=sender,
                    accepted=accepted, journey=name if accepted else None, received_at=at + n * HOUR, flags=list(flags),
                )
            )  # fmt: skip
            if accepted:
                session.add(
                    ReadingRow(
                        journey=name, read_at=at + n * HOUR, score=float(np.clip(random.normal(score, 0.1), 0, 1)),
                        verdict="negative", lungs_found=True, model_digest=model, model_name="COVID-XNet",
                        model_version=model,
                        statistics={"sharpness": float(random.normal(sharpness, 0.1)), "aspect ratio": 1.2},
                    )
                )  # fmt: skip
        session.commit()

    return add


def test_the_statistics_of_a_radiograph_tell_what_they_are_named_after() -> None:
    image = chest_phantom((64, 64))
    lungs = np.zeros((50, 40), np.bool_)
    lungs[:25, :20] = True
    found = input_statistics(image, lungs, (500, 400))
    assert list(found) == list(Statistic)
    assert (found["aspect ratio"], found["lung share"]) == (0.8, 0.25)
    assert found["mean"] == pytest.approx(image.mean())
    blurred = input_statistics(np.full_like(image, 0.5), lungs, (500, 400))
    assert blurred["sharpness"] == blurred["deviation"] == 0 < found["sharpness"]


def test_the_index_is_that_of_its_definition() -> None:
    reference = np.arange(1000.0)
    assert psi(reference, reference) == 0
    # All below the first tenth: 9 bins with 0.5 of 105 against 100.5 of 1005, and one with 100.5 of 105.
    expected = 9 * (0.5 / 105 - 0.1) * np.log(0.5 / 105 / 0.1) + (100.5 / 105 - 0.1) * np.log(100.5 / 105 / 0.1)
    assert psi(reference, np.full(100, -5.0)) == pytest.approx(expected)
    assert psi(np.ones(200), np.ones(100)) == pytest.approx(0, abs=0.01)  # nothing to tell apart


def test_a_sender_that_stayed_the_same_does_not_drift_and_one_whose_machine_changed_does(
    session: Session, fill: Fill
) -> None:
    later = BEGIN + 250 * HOUR
    for sender, sharpness in (("SAME", 1.0), ("BLUR", 0.8)):
        fill(sender, 200)
        fill(sender, 150, at=later, sharpness=sharpness)
    blur, same = drifts(session)
    assert (blur.calling_ae, blur.drifted, same.drifted) == ("BLUR", ["sharpness"], [])
    assert (same.read, same.reference_of, same.model) == ((200, 150), "the first 200", "COVID-XNet d1")
    assert [shift.quantity for shift in blur.shifts] == ["score", "sharpness", "aspect ratio"]
    assert all(shift.psi < 0.25 for shift in same.shifts)


def test_the_reference_is_the_week_before_the_sender_was_switched_on(session: Session, fill: Fill) -> None:
    fill("CR1", 120, score=0.2)
    switched = BEGIN + timedelta(days=20)
    fill("CR1", 130, at=switched - timedelta(days=6), score=0.5)
    fill("CR1", 110, at=switched + HOUR, score=0.5)
    session.add(SenderRow(calling_ae="CR1", on=True, by="Ada", at=switched))
    session.commit()
    (found,) = drifts(session)
    assert found.reference_of == "the week before 2026-10-21 00:00 UTC"
    assert (found.read, found.drifted) == ((130, 110), [])


def test_too_few_readings_and_those_of_other_networks_say_nothing(session: Session, fill: Fill) -> None:
    fill("CR1", 200, score=0.1)
    fill("CR1", 99, at=BEGIN + 250 * HOUR, score=0.9)
    (found,) = drifts(session)
    assert (found.read, found.shifts) == ((200, 99), ())
    fill("CR1", 5, at=BEGIN + 400 * HOUR, model="d2")
    (found,) = drifts(session)
    assert (found.model, found.read) == ("COVID-XNet d2", (5, 0))


def test_the_shares_are_of_the_same_times_as_the_readings(session: Session, fill: Fill) -> None:
    fill("CR1", 200)
    fill("CR1", 100, at=BEGIN + 250 * HOUR, flags=(Flag.VIEW_UNKNOWN,))
    fill("CR1", 25, at=BEGIN + 260 * HOUR, accepted=False)
    (found,) = drifts(session)
    rates = {rate.name: (rate.reference, rate.latest) for rate in found.rates}
    assert rates["not read"] == ((0, 200), (25, 125))
    assert rates["unsure"] == ((0, 200), (100, 100))
    assert rates["indeterminate"] == rates["no lungs"] == ((0, 200), (0, 100))


def test_command_page_and_metrics_tell_the_same(
    settings: Settings, session: Session, fill: Fill, tmp_path: Path
) -> None:
    assert "Nothing was read yet" in CliRunner().invoke(app, ["drift"]).stdout
    fill("<b>&", 200)
    fill("<b>&", 150, at=BEGIN + 250 * HOUR, sharpness=0.5)
    done = CliRunner().invoke(app, ["drift", "--json", "--out", "drift.html"])
    assert done.exit_code == 0, done.output
    (said,) = json.loads(done.stdout)
    shifts: dict[str, Any] = {shift["quantity"]: shift for shift in said["shifts"]}
    assert [shift["drifted"] for shift in shifts.values()] == [False, True, False]
    text = CliRunner().invoke(app, ["drift"]).stdout
    assert "drifted" in text
    page = (tmp_path / "drift.html").read_text()
    assert "&lt;b&gt;&amp;" in page
    assert "<b>" not in page
    assert "http" not in page  # asks nobody for anything
    drawings = [ET.fromstring(f"<svg{part.split('</svg>')[0]}</svg>") for part in page.split("<svg")[1:]]
    assert len(drawings) == 3
    metrics = NodeMetrics(settings, session.get_bind().engine).text().decode()
    (line,) = (line for line in metrics.splitlines() if line.startswith("covid_xnet_drift_psi") and "sharp" in line)
    assert float(line.split()[-1]) == pytest.approx(shifts["sharpness"]["psi"])
    assert 'covid_xnet_drifted{calling_ae="<b>&"} 1.0' in metrics
    assert 'covid_xnet_share{calling_ae="<b>&",share="not read"} 0.0' in metrics


def test_the_bars_of_a_plot_are_shares_of_their_own_side(session: Session, fill: Fill) -> None:
    fill("CR1", 200)
    fill("CR1", 100, at=BEGIN + 250 * HOUR)
    (found,) = drifts(session)
    picture = histogram(found.shifts[0])
    shares = [sum(picture.height - bar.y for bar in bars) for bars in (picture.reference, picture.latest)]
    assert shares[0] == pytest.approx(shares[1], rel=1e-3)
    assert min(bar.y for bar in (*picture.reference, *picture.latest)) == 0
    assert "Nothing was read yet" in drift_page([])
