"""The import of the published rib suppression: against a TensorFlow 1 graph, and of what is no checkpoint."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from models.registry import Registry
from models.serving import Network
from pipeline.training.ribs import published
from pipeline.training.teacher import BadCheckpoint, import_checkpoint, reproduce
from tests.checkpoint import SHAPES, Tensors, random_tensors, save_checkpoint


def graph_of(tensors: Tensors, negative: NDArray[np.float32]) -> NDArray[np.float32]:
    """The published autoencoder, written with TensorFlow 1 operations from its description."""
    with tf.Graph().as_default():
        x = tf.constant(negative)
        sizes = []
        for name in SHAPES:
            sizes.append(tf.shape(x))
            x = tf.nn.relu(tf.nn.conv2d(x, tensors[name], strides=[1, 1, 1, 1], padding="SAME"))
            sizes[-1] = tf.concat([sizes[-1][:3], [SHAPES[name][2]]], 0)
            x = tf.nn.max_pool2d(x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
        for name, size in zip(reversed(SHAPES), reversed(sizes), strict=True):
            x = tf.nn.relu(tf.nn.conv2d_transpose(x, tensors[name], size, strides=[1, 2, 2, 1], padding="SAME"))
        with tf.compat.v1.Session() as session:
            output: NDArray[np.float32] = session.run(x)
    return output


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return random_tensors()


@pytest.fixture(scope="module")
def checkpoint(tensors: Tensors, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tensors, tmp_path_factory.mktemp("published") / "checkpoint")


def test_the_imported_network_computes_what_the_tensorflow_1_graph_computes(checkpoint: Path, tensors: Tensors) -> None:
    negative = np.random.default_rng(1).random((1, 1024, 1024, 1), dtype=np.float32)
    expected = graph_of(tensors, negative)
    found = np.asarray(import_checkpoint(checkpoint)(negative, training=False))
    assert found.shape == expected.shape == negative.shape
    assert expected.max() > 0.1  # the graph says something
    assert np.abs(found - expected).max() <= 1e-5 * max(1.0, float(expected.max()))


def test_a_checkpoint_is_named_by_its_prefix_or_by_its_folder(checkpoint: Path) -> None:
    of_prefix, of_folder = import_checkpoint(checkpoint), import_checkpoint(checkpoint.parent)
    for a, b in zip(of_prefix.get_weights(), of_folder.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_radiographs_are_inverted_for_the_published_network_and_back(checkpoint: Path, tensors: Tensors) -> None:
    image = np.full((512, 512), 0.8, np.float32)
    negative = np.full((1, 1024, 1024, 1), 1 - round(0.8 * 255) / 255, np.float32)
    expected = 1 - graph_of(tensors, negative)[0, :, :, 0].reshape(512, 2, 512, 2).mean(axis=(1, 3))
    assert np.allclose(published(import_checkpoint(checkpoint), image), expected, atol=1e-4)


def test_a_missing_tensor_is_named(tensors: Tensors, tmp_path: Path) -> None:
    some = {name: value for name, value in tensors.items() if not name.startswith("encoder/layer/2")}
    with pytest.raises(BadCheckpoint, match=r"no checkpoint with .*encoder/layer/2/W"):
        import_checkpoint(save_checkpoint(some, tmp_path))


@pytest.mark.parametrize("shape", [(3, 3, 16, 32), (5, 5, 32, 16), (5, 5, 16, 31), (5, 5, 512)])
def test_tensors_of_another_shape_are_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    wrong = random_tensors({**SHAPES, "encoder/layer/1/W": shape})
    with pytest.raises(BadCheckpoint, match="another shape"):
        import_checkpoint(save_checkpoint(wrong, tmp_path))


def test_a_folder_with_no_checkpoint_or_with_two_is_refused(checkpoint: Path, tensors: Tensors, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadCheckpoint, match="holds 0 checkpoints"):
        import_checkpoint(tmp_path / "empty")
    prefix = save_checkpoint(tensors, tmp_path / "two")
    prefix.with_suffix(".index").with_stem("other").write_bytes(b"")
    with pytest.raises(BadCheckpoint, match="holds 2 checkpoints"):
        import_checkpoint(tmp_path / "two")


@pytest.mark.parametrize("damage", ["no data", "data cut", "index cut", "index of text"])
def test_a_damaged_checkpoint_is_refused(damage: str, tensors: Tensors, tmp_path: Path) -> None:
    prefix = save_checkpoint(tensors, tmp_path)
    index, (data,) = prefix.with_suffix(".index"), tmp_path.glob("*.data-*")
    match damage:
        case "no data":
            data.unlink()
        case "data cut":
            data.write_bytes(data.read_bytes()[:100])
        case "index cut":
            index.write_bytes(index.read_bytes()[:-20])
        case "index of text":
            index.write_text("no index")
    with pytest.raises(BadCheckpoint, match="is no checkpoint with"):
        import_checkpoint(prefix)


def import_from(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own: it sets up TensorFlow, which a process can do only once."""
    return subprocess.run(
        [sys.executable, "-m", "dicom_node", "models", "import-rib-suppression", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def line_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of the node; before it, libraries that TensorFlow is made of may say that they started."""
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    *_, last = done.stderr.splitlines()
    assert done.stderr.count("covid-xnet: ") == 1
    assert last.startswith("covid-xnet: ")
    return last


def example_beside(checkpoint: Path, change: int = 0) -> None:
    """The published example as its author shows it: a negative, and the output stretched from minimum to maximum."""
    given = np.random.default_rng(2).integers(0, 256, (1024, 1024), np.uint8)
    output = np.asarray(import_checkpoint(checkpoint)(given[None, :, :, None].astype(np.float32) / 255))[0, :, :, 0]
    shown = np.rint((output - output.min()) / (output.max() - output.min()) * 255).astype(np.int64)
    shown[:change] = 255 - shown[:change]
    Image.fromarray(given).save(checkpoint.parent / "test.png")
    Image.fromarray(shown.astype(np.uint8)).save(checkpoint.parent / "output.png")


def test_the_published_example_is_reproduced_or_told_apart(tensors: Tensors, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tensors, tmp_path)
    network = import_checkpoint(checkpoint)
    assert reproduce(network, tmp_path) is None
    example_beside(checkpoint)
    same = reproduce(network, tmp_path)
    assert same is not None
    assert same.holds
    assert str(same) == "0 of 1,048,576 pixels of the published example differ, by at most 0"
    example_beside(checkpoint, change=8)
    other = reproduce(network, tmp_path)
    assert other is not None
    assert not other.holds
    assert other.largest > 1


def test_the_command_publishes_what_it_imported(checkpoint: Path, tensors: Tensors, tmp_path: Path) -> None:
    done = import_from(checkpoint.parent, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "No example" in done.stdout
    registry = Registry.load(tmp_path / "out")
    assert registry.entries["published_rib_suppression"].side == 1024
    negative = np.random.default_rng(1).random((1, 1024, 1024, 1), dtype=np.float32)
    (found,) = Network(registry.file("published_rib_suppression", ".xml"))(negative)
    assert np.allclose(found, graph_of(tensors, negative), atol=1e-4)


def test_the_command_says_in_one_line_that_tensors_are_missing(tmp_path: Path) -> None:
    save_checkpoint({"other": np.zeros(3, np.float32)}, tmp_path / "other")
    done = import_from(tmp_path / "other", "--out", tmp_path / "out")
    assert "encoder/layer/0/W" in line_of(done)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_publishes_nothing_if_shapes_or_example_are_others(tensors: Tensors, tmp_path: Path) -> None:
    save_checkpoint(random_tensors({**SHAPES, "encoder/layer/0/W": (5, 5, 16, 1)}), tmp_path / "shapes")
    example_beside(save_checkpoint(tensors, tmp_path / "example"), change=8)
    (tmp_path / "empty").mkdir()
    for name, says in (("shapes", "another shape"), ("example", "example differ"), ("empty", "holds 0 checkpoints")):
        done = import_from(tmp_path / name, "--out", tmp_path / "out")
        assert says in line_of(done)
    assert "nowhere is no checkpoint" in line_of(import_from(tmp_path / "nowhere"))
    assert not (tmp_path / "out").exists()
