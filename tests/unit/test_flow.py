"""The walk of a radiograph through the shipped networks."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.registry import Registry
from pipeline.classify import classify, verdict_of
from pipeline.errors import BlankRadiograph
from pipeline.flow import Networks, load_networks, prepare, read
from pipeline.preprocess import WORKING_SIDE
from pipeline.radiograph import Radiograph, from_dicom
from pipeline.reading import Reading, Verdict
from tests.phantom import as_bytes, chest_phantom, make_cr, make_dx

STAGES = ["resize", "lungs", "histogram", "contrast", "classify", "heatmap"]


@pytest.fixture(scope="module")
def networks() -> Networks:
    return load_networks()


def reading_of(networks: Networks, size: int | tuple[int, int] = (320, 280), seed: int = 0) -> Reading:
    return read(Radiograph(pixels=chest_phantom(size, seed=seed)), networks)


@pytest.mark.parametrize("size", [(320, 280), (280, 320), (1200, 900), (128, 400), (512, 512), (64, 64)])
def test_a_reading_is_what_its_class_promises(networks: Networks, size: tuple[int, int]) -> None:
    reading = reading_of(networks, size)
    point = networks.operating_point
    assert 0 <= reading.score <= 1
    assert reading.threshold == point.threshold
    assert reading.band == point.band
    assert reading.verdict is verdict_of(reading.score, point.band)
    scale = WORKING_SIDE / max(size)
    grid = round(size[0] * scale), round(size[1] * scale)
    assert reading.heatmap.shape == reading.lungs.shape == grid
    assert reading.heatmap.dtype == np.float32
    assert reading.lungs.dtype == np.bool_
    assert 0 <= reading.heatmap.min() <= reading.heatmap.max() <= 1
    assert not reading.heatmap[~reading.lungs].any()
    assert reading.lungs_found == bool(reading.lungs.any())
    assert reading.model == networks.model
    assert list(reading.stages) == STAGES
    assert min(reading.stages.values()) >= 0
    assert reading.milliseconds == pytest.approx(sum(reading.stages.values()))


def test_the_same_radiograph_is_read_the_same_twice_and_by_networks_loaded_anew(networks: Networks) -> None:
    first = reading_of(networks)
    reading_of(networks, seed=1)  # nothing of it stays behind
    for other in (reading_of(networks), reading_of(load_networks())):
        assert other.score == first.score
        assert np.array_equal(other.heatmap, first.heatmap)
        assert np.array_equal(other.lungs, first.lungs)


def test_reading_leaves_the_radiograph_as_it_is(networks: Networks) -> None:
    radiograph = Radiograph(pixels=chest_phantom())
    read(radiograph, networks)
    assert np.array_equal(radiograph.pixels, chest_phantom())


def test_the_score_does_not_care_how_the_radiograph_was_stored(networks: Networks) -> None:
    objects = [make_cr(bits=12), make_cr(bits=12, photometric="MONOCHROME1"), make_dx(bits=12, signed=True)]
    scores = [read(from_dicom(dataset, maximum_pixels=10**6), networks).score for dataset in objects]
    assert scores == pytest.approx([scores[0]] * 3, abs=1e-3)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_blank_radiograph_is_not_read(networks: Networks, level: float) -> None:
    with pytest.raises(BlankRadiograph, match="one grey level"):
        read(Radiograph(pixels=np.full((300, 200), level, np.float32)), networks)


@pytest.mark.parametrize("shape", [(2, 1), (1, 2000), (2000, 1), (3, 3)])
def test_a_radiograph_of_a_few_pixels_ends_in_a_reading(networks: Networks, shape: tuple[int, int]) -> None:
    pixels = np.linspace(0, 1, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    reading = read(Radiograph(pixels=pixels), networks)
    assert 0 <= reading.score <= 1
    assert max(reading.heatmap.shape) == WORKING_SIDE


def test_training_and_serving_prepare_the_same_image(networks: Networks) -> None:
    """What `prepare` gives, classified by hand, is the score of the reading."""
    radiograph = Radiograph(pixels=chest_phantom(seed=2))
    prepared = prepare(radiograph, lungs=networks.lungs, ribs=networks.ribs, recipe=networks.recipe, stages={})
    side = Registry.load().entries["covid_xnet"].side
    assert prepared.image.shape == (side, side)
    score, activation = classify(prepared.image, networks.classifier)
    assert score == read(radiograph, networks).score
    assert activation.ndim == 2


@pytest.mark.parametrize(
    ("score", "band", "verdict"),
    [
        (0.29, (0.3, 0.5), Verdict.NEGATIVE),
        (0.30, (0.3, 0.5), Verdict.INDETERMINATE),
        (0.50, (0.3, 0.5), Verdict.INDETERMINATE),
        (0.51, (0.3, 0.5), Verdict.POSITIVE),
        (0.39, (0.4, 0.4), Verdict.NEGATIVE),
        (0.40, (0.4, 0.4), Verdict.POSITIVE),
        (0.00, (0.0, 0.0), Verdict.POSITIVE),
        (1.00, (1.0, 1.0), Verdict.POSITIVE),
    ],
)
def test_the_band_decides_the_verdict(score: float, band: tuple[float, float], verdict: Verdict) -> None:
    assert verdict_of(score, band) is verdict


@given(
    scores=st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted),
    band=st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted),
)
def test_a_higher_score_never_has_a_lower_verdict(scores: list[float], band: list[float]) -> None:
    order = [Verdict.NEGATIVE, Verdict.INDETERMINATE, Verdict.POSITIVE]
    lower, higher = (order.index(verdict_of(score, (band[0], band[1]))) for score in scores)
    assert lower <= higher


def test_serving_imports_no_framework_for_training(tmp_path: Path) -> None:
    file = tmp_path / "chest.dcm"
    file.write_bytes(as_bytes(make_cr()))
    program = (
        "import sys\n"
        "from pydicom import dcmread\n"
        "from pipeline.flow import load_networks, read\n"
        "from pipeline.radiograph import from_dicom\n"
        "reading = read(from_dicom(dcmread(sys.argv[1]), maximum_pixels=10**6), load_networks())\n"
        "assert 0 <= reading.score <= 1\n"
        "heavy = 'tensorflow keras torch jax sklearn onnxruntime pipeline.training'.split()\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(file)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("dicom_node.reception.listener", "tensorflow keras openvino onnxruntime torch sklearn"),
        ("dicom_node.journey.queue", "tensorflow keras openvino onnxruntime torch sklearn highdicom"),
        ("dicom_node.journey.work", "tensorflow keras onnxruntime torch sklearn"),
        ("dicom_node.cli", "tensorflow keras openvino onnxruntime torch sklearn highdicom dbos skimage"),
    ],
)
def test_no_role_imports_what_it_does_not_need(module: str, heavy: str) -> None:
    program = f"import {module}, sys; print([name for name in {heavy.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
