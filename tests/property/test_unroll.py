"""Lungs laid out as rectangles and brought back: what was in a lung is found again in its place."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from pipeline.unroll import NEUTRAL, unrolling_of

Lungs = NDArray[np.bool_]


def lung(side: int, row: float, column: float, height: float, width: float) -> Lungs:
    """An ellipse; all as shares of the side."""
    y, x = (np.indices((side, side)) + 0.5) / side
    drawn: Lungs = ((y - row) / height) ** 2 + ((x - column) / width) ** 2 < 1
    return drawn


def two_lungs(side: int = 224) -> Lungs:
    return lung(side, 0.5, 0.27, 0.42, 0.17) | lung(side, 0.52, 0.74, 0.38, 0.15)


def gradient(side: int) -> NDArray[np.float32]:
    """A smooth image in which each place has its own grey level."""
    rows, columns = np.indices((side, side)) / side
    grey: NDArray[np.float32] = (0.6 * rows + 0.3 * columns).astype(np.float32)
    return grey


def test_each_row_of_a_lung_fills_a_row_of_its_half() -> None:
    lungs, image = two_lungs(), gradient(224)
    unrolling = unrolling_of(lungs, 128)
    assert unrolling is not None
    laid_out = unrolling.unroll(image)
    assert laid_out.shape == (128, 128)
    for place, half in ((np.s_[:, :112], laid_out[:, :64]), (np.s_[:, 112:], laid_out[:, 64:])):
        rows = np.flatnonzero(lungs[place].any(axis=1))
        for share in (0.25, 0.5, 0.8):
            row = int(rows[0] + share * (rows[-1] - rows[0]))
            inside = image[place][row][lungs[place][row]]
            found = half[round(share * 127)]
            assert found[0] == pytest.approx(inside[0], abs=0.01)
            assert found[-1] == pytest.approx(inside[-1], abs=0.01)
            assert found[32] == pytest.approx(float(inside.mean()), abs=0.01)


def test_what_is_rolled_up_again_is_what_was_laid_out() -> None:
    lungs, image = two_lungs(), gradient(224)
    unrolling = unrolling_of(lungs, 128)
    assert unrolling is not None
    again = unrolling.roll_up(unrolling.unroll(image))
    assert np.abs(again - image)[lungs].max() < 0.01
    assert not again[~lungs].any()


def test_nothing_flows_from_one_lung_into_the_other() -> None:
    lungs = two_lungs()
    unrolling = unrolling_of(lungs, 128)
    assert unrolling is not None
    activation = np.zeros((8, 8), np.float32)
    activation[:, 3] = 1  # the inner border of the lung on the left
    rolled = unrolling.roll_up(activation)
    assert rolled[:, :112].max() == pytest.approx(1)
    assert not rolled[:, 112:].any()


@pytest.mark.parametrize(("column", "missing"), [(0.27, np.s_[:, 64:]), (0.74, np.s_[:, :64])])
def test_a_lung_that_was_not_found_is_neutral_and_the_other_keeps_its_side(
    column: float, missing: tuple[slice, slice]
) -> None:
    unrolling = unrolling_of(lung(224, 0.5, column, 0.4, 0.16), 128)
    assert unrolling is not None
    laid_out = unrolling.unroll(np.full((224, 224), 0.9, np.float32))
    assert (laid_out[missing] == NEUTRAL).all()
    assert np.count_nonzero(laid_out == np.float32(0.9)) == 128 * 64


def test_lungs_that_grew_together_are_parted_where_they_are_thinnest() -> None:
    bridge = np.zeros((224, 224), np.bool_)
    bridge[100:110, 60:170] = True
    together, apart = unrolling_of(two_lungs() | bridge, 128), unrolling_of(two_lungs(), 128)
    assert together is not None
    assert apart is not None
    image = gradient(224)
    far = np.r_[0:50, 70:128]  # rows that the bridge does not touch
    assert np.abs(together.unroll(image) - apart.unroll(image))[far].mean() < 0.02


def test_no_lungs_are_no_unrolling() -> None:
    assert unrolling_of(np.zeros((224, 224), np.bool_), 128) is None


@settings(deadline=None, max_examples=60)
@given(
    lungs=arrays.arrays(np.bool_, (40, 40), elements=st.booleans()),
    smooth=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_any_mask_gives_finite_images_that_stay_in_range(lungs: Lungs, smooth: int, seed: int) -> None:
    mask = cv2.blur(lungs.astype(np.float32), (2 * smooth + 1, 2 * smooth + 1)) > 0.5
    unrolling = unrolling_of(mask, 32)
    if unrolling is None:
        return
    random = np.random.default_rng(seed)
    laid_out = unrolling.unroll(random.random((40, 40), dtype=np.float32))
    rolled = unrolling.roll_up(random.random((8, 8), dtype=np.float32))
    for image in (laid_out, rolled):
        assert np.isfinite(image).all()
        assert 0 <= image.min() <= image.max() <= 1
    assert not rolled[~mask].any()
