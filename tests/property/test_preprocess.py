"""Preprocessing: every step keeps range, shape and dtype, whatever the radiograph."""

from dataclasses import fields, replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from skimage.exposure import equalize_adapthist

from models.registry import Registry
from models.serving import Network
from pipeline.errors import BlankRadiograph, UnreadableRadiograph
from pipeline.flow import RECIPES, load_networks, prepare
from pipeline.localise import find_lungs, letterbox, out_of_letterbox, stretch
from pipeline.preprocess import (
    DEFAULT,
    PAPER,
    WORKING_SIDE,
    Box,
    Recipe,
    box_of,
    coarsen,
    cut,
    enhance_contrast,
    match_histogram,
    overlap,
    reference,
    working_frame,
)
from pipeline.radiograph import Gray, Radiograph
from pipeline.ribs import suppress_ribs
from tests.phantom import chest_phantom

# A busy machine is no failure.
relaxed = settings(deadline=None, max_examples=60)
few = settings(deadline=None, max_examples=10)

grey = st.floats(0, 1, width=32)
images = arrays.arrays(
    np.float32, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40), elements=grey, fill=grey
)
recipes = st.builds(
    Recipe,
    name=st.just("any"),
    lung_box=st.booleans(),
    lung_margin=st.floats(0, 0.5),
    detail=st.integers(1, 160),
    side=st.integers(1, 160),
)


@st.composite
def frames(draw: st.DrawFn) -> Gray:
    """Working frames of any aspect, with any content that is not blank."""
    image = draw(images.filter(lambda i: i.min() < i.max()))
    return working_frame(image)


@st.composite
def boxes(draw: st.DrawFn, shape: tuple[int, ...], largest: int) -> Box:
    """Boxes that hold at least one pixel of a frame, as all do that are drawn around lungs."""
    side = draw(st.integers(1, largest))
    top, left = (draw(st.integers(1 - side, length - 1)) for length in shape)
    return Box(top=top, left=left, side=side)


def assert_grey(image: Gray, shape: tuple[int, ...]) -> None:
    assert image.dtype == np.float32
    assert image.shape == shape
    assert np.isfinite(image).all()
    assert image.min() >= 0
    assert image.max() <= 1


@relaxed
@given(image=images)
def test_the_working_frame_keeps_aspect_and_range_or_the_radiograph_is_blank(image: Gray) -> None:
    before = image.copy()
    if image.min() == image.max():
        with pytest.raises(BlankRadiograph, match="one grey level"):
            working_frame(image)
        return
    frame = working_frame(image)
    rows, columns = image.shape
    scale = WORKING_SIDE / max(rows, columns)
    assert_grey(frame, (max(1, round(rows * scale)), max(1, round(columns * scale))))
    assert max(frame.shape) == WORKING_SIDE
    assert np.array_equal(image, before)


@pytest.mark.parametrize("level", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (300, 200), (3000, 20)])
def test_a_blank_radiograph_is_unreadable_in_words(shape: tuple[int, int], level: float) -> None:
    with pytest.raises(UnreadableRadiograph) as caught:
        working_frame(np.full(shape, level, np.float32))
    assert str(caught.value) == "All pixels have one grey level."


@relaxed
@given(frame=frames())
def test_matching_keeps_shape_range_and_the_order_of_grey_levels(frame: Gray) -> None:
    matched = match_histogram(frame)
    assert_grey(matched, frame.shape)
    order = np.argsort(frame, axis=None)
    assert (np.diff(matched.ravel()[order]) >= -1e-6).all()


@relaxed
@given(frame=frames(), recipe=recipes)
def test_contrast_enhancement_keeps_shape_and_range(frame: Gray, recipe: Recipe) -> None:
    enhanced = enhance_contrast(frame, recipe)
    assert_grey(enhanced, frame.shape)
    assert np.allclose(enhanced * 255, np.rint(enhanced * 255), atol=1e-3)


@relaxed
@given(data=st.data(), frame=frames(), recipe=recipes)
def test_any_box_is_cut_out_to_the_size_of_the_classifier(data: st.DataObject, frame: Gray, recipe: Recipe) -> None:
    box = data.draw(boxes(frame.shape, 900))
    assert_grey(coarsen(cut(frame, box), recipe), (recipe.side, recipe.side))


@relaxed
@given(data=st.data(), shape=st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_box_and_frame_overlap_in_the_same_pixels(data: st.DataObject, shape: tuple[int, int]) -> None:
    box = data.draw(boxes(shape, 90))
    numbered = np.arange(shape[0] * shape[1]).reshape(shape)
    inside, frame = overlap(box, shape)
    square = np.full((box.side, box.side), -1)
    square[inside] = numbered[frame]
    for i in range(box.side):
        for j in range(box.side):
            row, column = box.top + i, box.left + j
            there = 0 <= row < shape[0] and 0 <= column < shape[1]
            assert square[i, j] == (numbered[row, column] if there else -1)


@relaxed
@given(
    lungs=arrays.arrays(np.bool_, st.tuples(st.integers(1, 60), st.integers(1, 60)), fill=st.just(False)),
    recipe=recipes,
)
def test_the_box_holds_all_lungs_with_the_margin_and_the_whole_frame_without(
    lungs: NDArray[np.bool_], recipe: Recipe
) -> None:
    box = box_of(lungs, recipe)
    rows, columns = lungs.shape
    if recipe.lung_box and lungs.any():
        of_rows, of_columns = np.nonzero(lungs)
        extent = max(int(np.ptp(of_rows)) + 1, int(np.ptp(of_columns)) + 1)
        held = (of_rows.min(), of_rows.max() + 1, of_columns.min(), of_columns.max() + 1)
        assert box.side == round(extent * (1 + 2 * recipe.lung_margin))
    else:
        held = (0, rows, 0, columns)
        assert box.side == max(rows, columns)
    top, bottom, left, right = (int(edge) for edge in held)
    assert box.top <= top
    assert bottom <= box.top + box.side
    assert box.left <= left
    assert right <= box.left + box.side
    # In the middle, but for a pixel.
    assert abs((box.top + box.top + box.side) - (top + bottom)) <= 1
    assert abs((box.left + box.left + box.side) - (left + right)) <= 1


@relaxed
@given(frame=frames(), side=st.sampled_from([16, 256, 512]))
def test_what_goes_into_the_letterbox_comes_out_in_its_shape(frame: Gray, side: int) -> None:
    square = letterbox(frame, side)
    assert_grey(square, (side, side))
    assert_grey(out_of_letterbox(square, frame.shape), frame.shape)
    assert_grey(stretch(frame), frame.shape)


@given(
    shape=st.tuples(st.integers(1, 512), st.integers(1, 512)).map(
        lambda s: (round(s[0] * 512 / max(s)) or 1, round(s[1] * 512 / max(s)) or 1)
    )
)
@relaxed
def test_the_letterbox_of_a_working_frame_at_its_own_size_loses_nothing(shape: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).random(shape, dtype=np.float32)
    square = letterbox(frame, WORKING_SIDE)
    assert np.array_equal(out_of_letterbox(square, shape), frame)
    assert square.sum(dtype=np.float64) == pytest.approx(frame.sum(dtype=np.float64))  # all around is black


@pytest.fixture(scope="module")
def lungs_network() -> Network:
    return load_networks().lungs


@pytest.fixture(scope="module")
def ribs_network() -> Network:
    return Network(Registry.load().file("rib_suppression", ".xml"))


@few
@given(frame=frames())
def test_the_networks_keep_shape_and_range_on_any_frame(
    lungs_network: Network, ribs_network: Network, frame: Gray
) -> None:
    lungs = find_lungs(frame, lungs_network)
    assert lungs.dtype == np.bool_
    assert lungs.shape == frame.shape
    assert_grey(suppress_ribs(frame, ribs_network), frame.shape)


@few
@given(image=images, recipe=st.sampled_from(sorted(RECIPES)))
def test_any_radiograph_is_prepared_or_blank(
    lungs_network: Network, ribs_network: Network, image: Gray, recipe: str
) -> None:
    stages: dict[str, float] = {}
    radiograph = Radiograph(pixels=image)
    if image.min() == image.max():
        with pytest.raises(BlankRadiograph):
            prepare(radiograph, lungs=lungs_network, ribs=ribs_network, recipe=RECIPES[recipe], stages=stages)
        return
    prepared = prepare(radiograph, lungs=lungs_network, ribs=ribs_network, recipe=RECIPES[recipe], stages=stages)
    side = RECIPES[recipe].side
    assert_grey(prepared.image, (side, side))
    ribs = ["ribs"] if RECIPES[recipe].ribs else []
    assert list(stages) == ["resize", "lungs", "histogram", *ribs, "contrast"]
    assert min(stages.values()) >= 0


def test_the_digest_of_a_recipe_changes_with_every_field() -> None:
    for recipe in (PAPER, DEFAULT):
        assert recipe.digest() == replace(recipe).digest()
        changed = []
        for field in fields(Recipe):
            value = getattr(recipe, field.name)
            other = not value if isinstance(value, bool) else value + (" " if isinstance(value, str) else 1)
            values: dict[str, Any] = {field.name: other}
            changed.append(replace(recipe, **values).digest())
        assert len({recipe.digest(), *changed}) == len(fields(Recipe)) + 1
    assert PAPER.digest() != DEFAULT.digest()


def test_the_digest_of_a_recipe_changes_with_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    before = DEFAULT.digest()
    other = reference().copy()
    other[0] += 0.001
    monkeypatch.setattr("pipeline.preprocess.reference", lambda: other)
    assert DEFAULT.digest() != before


def test_the_reference_is_a_distribution_of_grey_levels() -> None:
    levels = reference()
    assert_grey(levels, (4096,))
    assert (np.diff(levels) >= 0).all()
    assert levels.max() - levels.min() > 0.5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [(512, 448), (300, 512)])
def test_a_matched_radiograph_has_the_quantiles_of_the_reference(size: tuple[int, int], seed: int) -> None:
    frame = working_frame(chest_phantom(size, seed=seed))
    assert np.abs(np.quantile(frame, [0.1, 0.5, 0.9]) - np.quantile(reference(), [0.1, 0.5, 0.9])).max() > 0.02
    shares = np.linspace(0.01, 0.99, 99)
    found, expected = np.quantile(match_histogram(frame), shares), np.quantile(reference(), shares)
    assert np.abs(found - expected).max() < 0.01


def test_matching_is_the_inverse_of_one_distribution_after_the_other() -> None:
    """Against the definition: each pixel gets the reference's quantile at the share of pixels that are not brighter."""
    frame = working_frame(chest_phantom((400, 333), seed=4))
    ranks = np.searchsorted(np.sort(frame, axis=None), frame, side="right") / frame.size
    expected = np.interp(ranks, (np.arange(4096) + 1) / 4096, reference())
    difference = np.abs(match_histogram(frame) - expected)
    assert difference.mean() < 0.002
    assert np.percentile(difference, 99.9) < 0.01  # 4,096 levels there, none here


def test_matching_does_not_care_how_the_grey_levels_were_shown() -> None:
    """Another window or gamma of the same radiograph ends in the same image."""
    frame = working_frame(chest_phantom((400, 333), seed=5))
    darker = (0.1 + 0.8 * frame**1.5).astype(np.float32)
    assert np.abs(match_histogram(frame) - match_histogram(darker)).mean() < 0.002


def test_matching_twice_is_matching_once() -> None:
    once = match_histogram(working_frame(chest_phantom(400, seed=6)))
    assert np.abs(match_histogram(once) - once).max() < 0.005


def test_contrast_enhancement_agrees_with_another_clahe() -> None:
    """scikit-image clips and interpolates in its own way, so the images are alike, not equal."""
    frame = match_histogram(working_frame(chest_phantom(512, seed=1)))
    mine = enhance_contrast(frame, PAPER)
    tile = 512 // PAPER.clahe_tiles
    # OpenCV's limit is a multiple of a flat histogram of 256 bins, scikit-image's a share of the tile's pixels.
    theirs = equalize_adapthist(frame, kernel_size=tile, clip_limit=PAPER.clahe_clip / 256, nbins=256)
    assert np.corrcoef(mine.ravel(), theirs.ravel())[0, 1] > 0.97
    assert np.abs(mine - theirs).mean() < 0.06
    before = np.corrcoef(frame.ravel(), theirs.ravel())[0, 1]
    assert np.corrcoef(mine.ravel(), theirs.ravel())[0, 1] > before  # nearer to it than what went in


def test_contrast_enhancement_raises_faint_detail_more_where_the_limit_is_higher() -> None:
    y, x = np.mgrid[:512, :512]
    faint = (0.5 + 0.02 * np.sin(x / 6) * np.sin(y / 6)).astype(np.float32)
    spans = [float(np.ptp(enhance_contrast(faint, replace(PAPER, clahe_clip=clip)))) for clip in (1.0, 2.0, 8.0)]
    assert spans == sorted(spans)
    assert spans[0] > float(np.ptp(faint)) / 2
    assert spans[-1] > 2 * spans[0]


def test_detail_that_the_recipe_keeps_from_the_classifier_is_smoothed_away() -> None:
    stripes = np.tile(np.array([0, 0, 1, 1], np.float32), 128)[None, :].repeat(512, axis=0)
    frame = np.ascontiguousarray(stripes)
    box = Box(top=0, left=0, side=512)
    fine = coarsen(cut(frame, box), replace(PAPER, detail=256, side=256))
    coarse = coarsen(cut(frame, box), replace(PAPER, detail=64, side=256))
    assert float(np.std(fine)) > 0.4
    assert np.allclose(coarse, 0.5, atol=1e-3)
    assert coarse.shape == (256, 256)


def test_a_frame_that_fills_its_box_is_resized_as_opencv_does() -> None:
    frame = working_frame(chest_phantom(512, seed=2))
    recipe = replace(PAPER, detail=128, side=128)
    expected = cv2.resize(frame, (128, 128), interpolation=cv2.INTER_AREA)
    assert np.array_equal(coarsen(cut(frame, box_of(np.zeros(frame.shape, bool), recipe)), recipe), expected)


def test_a_recipe_that_suppresses_ribs_needs_their_network(lungs_network: Network) -> None:
    radiograph = Radiograph(pixels=chest_phantom())
    with pytest.raises(ValueError, match="needs their network"):
        prepare(radiograph, lungs=lungs_network, ribs=None, recipe=PAPER, stages={})
