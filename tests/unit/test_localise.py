"""Where the lungs are and where the heat is: places in small images and in the radiograph are the same places."""

import itertools
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import openvino
import pytest
from numpy.typing import NDArray
from openvino import opset13 as ops

from models.serving import Network
from pipeline.flow import RECIPES, Networks, load_networks, read
from pipeline.localise import find_lungs, heatmap, letterbox, out_of_letterbox
from pipeline.preprocess import DEFAULT, PAPER, Box, Recipe, box_of, coarsen, cut, working_frame
from pipeline.radiograph import Gray, Radiograph
from tests.phantom import chest_phantom

SIZES = [(512, 512), (900, 500), (500, 900), (300, 280), (2000, 1700)]


def middle_of(weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """Centre of mass: row and column, in pixels from the upper left corner of the image."""
    rows, columns = np.indices(weights.shape) + 0.5
    total = weights.sum(dtype=np.float64)
    return np.array([float((rows * weights).sum() / total), float((columns * weights).sum() / total)])


def disc(shape: tuple[int, int], row: float, column: float, radius: float) -> Gray:
    """Shares of the shape for the place, pixels for the radius."""
    rows, columns = np.indices(shape) + 0.5
    near = (rows - row * shape[0]) ** 2 + (columns - column * shape[1]) ** 2 < radius**2
    drawn: Gray = near.astype(np.float32)
    return drawn


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("lung_box", [False, True])
@pytest.mark.parametrize(("row", "column"), [(0.3, 0.3), (0.5, 0.72), (0.74, 0.35)])
def test_a_blob_in_the_image_of_the_classifier_arrives_at_its_place_in_the_radiograph(
    size: tuple[int, int], lung_box: bool, row: float, column: float
) -> None:
    recipe = replace(DEFAULT, lung_box=lung_box)
    blob = disc(size, row, column, min(size) / 25)
    frame = working_frame(blob)
    lungs = np.zeros(frame.shape, np.bool_)
    lungs[int(0.15 * frame.shape[0]) : int(0.85 * frame.shape[0]), int(0.2 * frame.shape[1]) :] = True
    box = box_of(lungs, recipe)
    # As if the classifier's features were the grey levels themselves.
    activation = cv2.resize(coarsen(cut(frame, box), recipe), (32, 32), interpolation=cv2.INTER_AREA)
    everywhere = np.ones(frame.shape, np.bool_)  # else the lungs' edge would cut off what bilinear growth spreads
    found = middle_of(heatmap(activation, box, everywhere, 1.0)) * (size[0] / frame.shape[0])
    cell = box.side / 32 * size[0] / frame.shape[0]
    assert np.abs(found - middle_of(blob)).max() < cell / 2


@pytest.mark.parametrize("shape", [(512, 448), (300, 512), (512, 512)])
def test_each_cell_of_the_activation_lies_over_its_part_of_the_box(shape: tuple[int, int]) -> None:
    lungs = np.ones(shape, np.bool_)
    for box in (Box(top=0, left=0, side=256), Box(top=-40, left=31, side=400), Box(top=100, left=-90, side=320)):
        for i, j in itertools.product(range(1, 7), repeat=2):  # cells at the edge are hot as far as the edge
            activation = np.zeros((8, 8), np.float32)
            activation[i, j] = 1
            cell = box.side / 8
            middle = box.top + (i + 0.5) * cell, box.left + (j + 0.5) * cell
            placed = heatmap(activation, box, lungs, 1.0)
            if not all(0 <= m < length for m, length in zip(middle, shape, strict=True)):
                continue
            hottest = np.argwhere(placed == placed.max()).mean(axis=0) + 0.5
            assert np.abs(hottest - middle).max() <= 1
            # Bilinear: half a cell further it is half as hot, a whole cell further it is cold.
            rows, columns = np.nonzero(placed)
            assert abs(rows - middle[0]).max() <= cell + 1
            assert abs(columns - middle[1]).max() <= cell + 1


def test_an_activation_as_large_as_its_box_is_placed_pixel_by_pixel() -> None:
    activation = np.random.default_rng(0).random((100, 100), dtype=np.float32)
    placed = heatmap(activation, Box(top=20, left=-30, side=100), np.ones((90, 110), np.bool_), 1.0)
    expected = np.zeros((90, 110), np.float32)
    expected[20:90, :70] = activation[:70, 30:]
    assert np.array_equal(placed, expected)


def test_nothing_is_hot_outside_the_lungs_and_nothing_at_all_without_lungs() -> None:
    lungs = np.zeros((200, 180), np.bool_)
    lungs[50:150, 20:80] = True
    box = Box(top=0, left=0, side=200)
    hot = np.full((8, 8), 5, np.float32)
    assert np.array_equal(heatmap(hot, box, lungs, 2.0), lungs.astype(np.float32))
    assert not heatmap(hot, box, np.zeros_like(lungs), 2.0).any()


@pytest.mark.parametrize(("value", "scale", "shown"), [(-3, 2, 0), (0, 2, 0), (1, 2, 0.5), (2, 2, 1), (9, 2, 1)])
def test_an_activation_is_shown_by_the_scale_of_the_model(value: float, scale: float, shown: float) -> None:
    lungs = np.ones((64, 64), np.bool_)
    placed = heatmap(np.full((8, 8), value, np.float32), Box(top=0, left=0, side=64), lungs, scale)
    assert placed.dtype == np.float32
    assert np.allclose(placed, shown)


@pytest.mark.parametrize("shape", [(512, 300), (300, 512), (512, 512), (512, 1)])
def test_the_letterbox_keeps_the_aspect_in_the_middle_of_black(shape: tuple[int, int]) -> None:
    square = letterbox(np.ones(shape, np.float32), 256)
    rows, columns = np.nonzero(square)
    height, width = max(1, round(shape[0] / 2)), max(1, round(shape[1] / 2))
    top, left = (256 - height) // 2, (256 - width) // 2
    assert (int(rows.min()), int(rows.max()) + 1) == (top, top + height)
    assert (int(columns.min()), int(columns.max()) + 1) == (left, left + width)
    assert (square[top : top + height, left : left + width] == 1).all()
    assert np.array_equal(out_of_letterbox(square, shape), np.ones(shape, np.float32))


class Drawn:
    """Networks with known answers, really run by OpenVINO."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _network(self, name: str, outputs: list[openvino.Node], image: openvino.Node) -> Network:
        file = self._folder / f"{name}.xml"
        openvino.save_model(openvino.Model(outputs, [image], name), file, compress_to_fp16=False)
        return Network(file)

    def lungs(self, probability: Gray) -> Network:
        """Finds the same lungs in every radiograph. probability: (256, 256)."""
        image = ops.parameter([1, 256, 256, 1], np.float32, name="image")
        return self._network("lungs", [ops.constant(probability[None, :, :, None])], image)

    def ribs(self) -> Network:
        """Finds no ribs."""
        image = ops.parameter([1, 512, 512, 1], np.float32, name="image")
        return self._network("ribs", [ops.relu(image)], image)

    def classifier(self, side: int) -> Network:
        """Is sure of nothing, and shows the mean grey level of each of 8 x 8 cells as its activation."""
        image, cell = ops.parameter([1, side, side, 1], np.float32, name="image"), side // 8
        cells = ops.reduce_mean(
            ops.reshape(image, ops.constant([1, 8, cell, 8, cell, 1]), special_zero=False),
            ops.constant([2, 4]),
            keep_dims=False,
        )
        probabilities = ops.constant(np.array([[0.5, 0.5]], np.float32))
        return self._network("classifier", [probabilities, cells], image)


def two_lungs(size: tuple[int, int]) -> Gray:
    """A probability of lung, (256, 256), for radiographs of `size`; a narrow trachea links nothing."""
    lungs = np.zeros(size, np.float32)
    rows, columns = size
    for left in (0.15, 0.55):
        lungs[int(0.15 * rows) : int(0.85 * rows), int(left * columns) : int((left + 0.3) * columns)] = 1
    return letterbox(working_frame(lungs), 256)


def drawn_networks(folder: Path, size: tuple[int, int], recipe: Recipe) -> Networks:
    networks, drawn = load_networks(), Drawn(folder)
    return replace(
        networks,
        lungs=drawn.lungs(two_lungs(size)),
        ribs=drawn.ribs(),
        classifier=drawn.classifier(recipe.side),
        operating_point=replace(networks.operating_point, activation_scale=1.0),
        recipe=recipe,
    )


@pytest.mark.parametrize("size", [(900, 500), (500, 900), (600, 600)])
@pytest.mark.parametrize("recipe", sorted(RECIPES))
@pytest.mark.parametrize(("row", "column"), [(0.3, 0.3), (0.7, 0.72)])
def test_a_blob_in_the_radiograph_is_hot_at_its_place_after_the_whole_walk(
    tmp_path: Path, size: tuple[int, int], recipe: str, row: float, column: float
) -> None:
    networks = drawn_networks(tmp_path, size, RECIPES[recipe])
    plain = 0.3 * np.random.default_rng(0).random(size, dtype=np.float32)
    blob = disc(size, row, column, min(size) / 12)
    without = read(Radiograph(pixels=plain), networks)
    reading = read(Radiograph(pixels=np.maximum(plain, blob)), networks)
    hotter = np.clip(reading.heatmap - without.heatmap, 0, None)
    scale = size[0] / reading.heatmap.shape[0]
    hottest = (np.argwhere(hotter > 0.9 * hotter.max()).mean(axis=0) + 0.5) * scale
    cell = (1.0 if recipe == PAPER.name else 0.85) * max(size) / 8
    assert np.abs(hottest - middle_of(blob)).max() < cell / 2
    assert not reading.heatmap[~reading.lungs].any()


def test_regions_too_small_or_too_large_for_a_lung_and_any_third_are_left_out(tmp_path: Path) -> None:
    drawn, frame = Drawn(tmp_path), np.zeros((512, 512), np.float32)

    def found(*rectangles: tuple[slice, slice]) -> NDArray[np.bool_]:
        probability = np.zeros((256, 256), np.float32)
        for rectangle in rectangles:
            probability[rectangle] = 0.9
        return find_lungs(frame, drawn.lungs(probability))

    right, left = np.s_[40:200, 30:110], np.s_[50:190, 140:220]
    both = found(right, left)
    for region in (right, left):
        middle = tuple((part.start + part.stop) for part in region)  # the frame is twice as large
        assert both[middle]
    assert both.mean() == pytest.approx((160 * 80 + 140 * 80) / 256**2, abs=0.01)
    assert np.array_equal(found(right, left, np.s_[210:250, 10:60]), both)
    assert np.array_equal(found(right, left, np.s_[2:10, 2:10]), both)
    assert not found(np.s_[0:256, 0:256]).any()
    assert not found(np.s_[2:10, 2:10]).any()
    assert not found().any()


def test_holes_in_a_lung_are_filled(tmp_path: Path) -> None:
    probability = np.zeros((256, 256), np.float32)
    probability[40:200, 30:110] = 0.9
    whole = find_lungs(np.zeros((512, 512), np.float32), Drawn(tmp_path).lungs(probability))
    probability[100:130, 60:80] = 0.1
    holed = find_lungs(np.zeros((512, 512), np.float32), Drawn(tmp_path).lungs(probability))
    assert np.array_equal(holed, whole)


@pytest.mark.parametrize("size", [(320, 280), (512, 300), (500, 600)])
def test_the_shipped_network_finds_the_lungs_of_the_phantom(size: tuple[int, int]) -> None:
    frame = working_frame(chest_phantom(size))
    lungs = find_lungs(frame, load_networks().lungs)
    y, x = np.mgrid[-1 : 1 : frame.shape[0] * 1j, -1 : 1 : frame.shape[1] * 1j]
    drawn = (((x + 0.4) / 0.31) ** 2 + ((y + 0.02) / 0.68) ** 2 < 0.8) | (
        ((x - 0.42) / 0.3) ** 2 + ((y + 0.02) / 0.68) ** 2 < 0.8
    )
    assert (lungs & drawn).sum() / (lungs | drawn).sum() > 0.5
    assert not lungs[:, frame.shape[1] // 2].mean() > 0.3  # two lungs, with the spine between
