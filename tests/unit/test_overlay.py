from datetime import datetime

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_node.destination import OverlayLayout, OverlaySize
from dicom_node.results.overlay import LONGEST_SIDE, SHORTEST_SIDE, Caption, draw, drawn_shape
from pipeline.radiograph import Radiograph
from tests.phantom import chest_phantom
from tests.readings import make_reading

CAPTION = Caption(view="PA", flags=(), moment=datetime(2026, 11, 23, 8, 40))


def _drawn(shape: tuple[int, int], **options: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
    """Overlay, the part of it that shows the radiograph, and where in this part the lungs are."""
    reading = make_reading(shape, **options)
    overlay = draw(Radiograph(pixels=chest_phantom(shape)), reading, CAPTION)
    height, width = drawn_shape(*shape)
    grey_rows = np.flatnonzero((overlay[:, 0] != overlay[0, 0]).any(axis=1))
    top = int(grey_rows[0])
    lungs = cv2.resize(reading.lungs.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    return overlay, overlay[top : top + height], lungs


def _coloured(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    coloured: NDArray[np.bool_] = image.max(axis=2) != image.min(axis=2)
    return coloured


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [
        ((224, 224), (768, 768)),
        ((512, 400), (983, 768)),
        ((768, 1000), (768, 1000)),
        ((2500, 2048), (2500, 2048)),
        ((100, 2000), (205, 4096)),
        ((128, 5000), (128, 5000)),
        ((5000, 4000), (5000, 4000)),
        ((10000, 8000), (5000, 4000)),
    ],
)
def test_small_radiographs_are_enlarged_and_others_left_alone_up_to_20_megapixels(
    shape: tuple[int, int], drawn: tuple[int, int]
) -> None:
    assert drawn_shape(*shape) == drawn
    assert min(drawn) >= SHORTEST_SIDE or max(drawn) >= LONGEST_SIDE


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [((224, 224), (1024, 1024)), ((2500, 2048), (1024, 839)), ((600, 1200), (512, 1024)), ((128, 5000), (128, 5000))],
)
def test_a_small_overlay_has_1024_pixels_along_the_longer_side_unless_the_radiograph_is_very_narrow(
    shape: tuple[int, int], drawn: tuple[int, int]
) -> None:
    assert drawn_shape(*shape, size=OverlaySize.SMALL) == drawn
    overlay = draw(Radiograph(pixels=np.zeros(shape, np.float32)), make_reading(shape), CAPTION, size=OverlaySize.SMALL)
    assert overlay.shape[1] == drawn[1]


@pytest.mark.parametrize("shape", [(900, 1000), (1000, 900)])
@pytest.mark.parametrize("size", OverlaySize)
def test_side_by_side_the_radiograph_stands_uncoloured_left_of_the_overlay(
    shape: tuple[int, int], size: OverlaySize
) -> None:
    pixels = np.maximum(chest_phantom(shape), 0.01)
    reading = make_reading(shape)
    overlay = draw(Radiograph(pixels=pixels), reading, CAPTION, layout=OverlayLayout.SIDE_BY_SIDE, size=size)
    height, width = drawn_shape(*shape, size=size)
    assert overlay.shape[1] > 2 * width
    assert (overlay[0] == overlay[0, 0]).all(), "one band of captions above both"
    top = next(row for row in range(len(overlay)) if (overlay[row, :width] != overlay[0, 0]).any(axis=1).all())
    left, right = overlay[top : top + height, :width], overlay[top : top + height, -width:]
    assert not _coloured(left).any()
    assert _coloured(right).mean() > 0.1
    lungs = cv2.resize(reading.lungs.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    far = cv2.dilate(lungs, np.ones((13, 13))) == 0
    assert (left[far] == right[far]).all()


@pytest.mark.parametrize("shape", [(256, 224), (1000, 1200)])
def test_colour_is_only_where_the_lungs_are(shape: tuple[int, int]) -> None:
    _, image, lungs = _drawn(shape)
    # The contour lies on the border of the lungs, half outside.
    near = cv2.dilate(lungs.astype(np.uint8), np.ones((13, 13))) > 0
    assert _coloured(image)[lungs].mean() > 0.2
    assert not _coloured(image)[~near].any()


def test_outside_the_lungs_every_pixel_is_the_radiographs_own() -> None:
    shape = (900, 1000)
    _, image, lungs = _drawn(shape)
    far = cv2.dilate(lungs.astype(np.uint8), np.ones((13, 13))) == 0
    expected = np.rint(chest_phantom(shape) * 255)
    assert np.abs(image[..., 0].astype(float) - expected)[far].max() <= 1


def test_nothing_is_mirrored_or_turned() -> None:
    _, image, lungs = _drawn((900, 1000))
    heat = (image[..., 0].astype(int) - image[..., 2]) * lungs
    rows, columns = np.nonzero(heat == heat.max())
    assert rows.mean() > 450
    assert columns.mean() < 500


def test_the_hotter_the_more_opaque() -> None:
    shape = (900, 1000)
    reading = make_reading(shape)
    black = Radiograph(pixels=np.zeros(shape, np.float32))
    overlay = draw(black, reading, CAPTION)
    strength = overlay.max(axis=2)
    height, _ = drawn_shape(*shape)
    start = next(row for row in range(len(strength)) if not overlay[row, 0].any())
    image = strength[start : start + height]
    heat = cv2.resize(reading.heatmap, shape[::-1])
    inner = cv2.erode((cv2.resize(reading.lungs.astype(np.uint8), shape[::-1]) > 0).astype(np.uint8), np.ones((21, 21)))
    means = [image[(heat > low) & (heat <= low + 0.1) & (inner > 0)].mean() for low in (0.0, 0.2, 0.4, 0.6, 0.8)]
    assert means == sorted(means)
    assert means[0] < 20 < means[-1]


def test_without_lungs_the_radiograph_stays_grey_and_the_caption_says_so() -> None:
    overlay, image, _ = _drawn((800, 800), lungs=False)
    assert not _coloured(image).any()
    assert overlay.shape[0] > image.shape[0]


def test_a_flag_changes_the_caption_and_not_the_picture() -> None:
    shape = (800, 800)
    radiograph, reading = Radiograph(pixels=chest_phantom(shape)), make_reading(shape)
    plain = draw(radiograph, reading, CAPTION)
    flagged = draw(
        radiograph, reading, Caption(view="unknown", flags=("view unknown", "body part unknown"), moment=CAPTION.moment)
    )
    top = next(row for row in range(len(plain)) if (plain[row, 0] != plain[0, 0]).any())
    assert plain.shape == flagged.shape
    assert (plain[:top] != flagged[:top]).any()
    assert (plain[top:] == flagged[top:]).all()


@pytest.mark.parametrize("shape", [(224, 224), (600, 224), (300, 128), (4000, 4000), (128, 5000)])
def test_captions_end_before_the_canvas_does(shape: tuple[int, int]) -> None:
    flags = ("view unknown", "body part unknown", "view contradicted", "derived image")
    pixels = np.full(shape, 0.5, np.float32)
    overlay = draw(
        Radiograph(pixels=pixels), make_reading(shape), Caption(view="unknown", flags=flags, moment=CAPTION.moment)
    )
    assert overlay.shape[1] == drawn_shape(*shape)[1]
    background = overlay[0, 0]
    bands = overlay[(overlay[:, 0] == background).all(axis=1)]
    assert (bands[:, -4:] == background).all()


def _lines_of_text(band: NDArray[np.uint8]) -> list[int]:
    """Heights of the lines of a band, in pixels."""
    inked = (band != band[0, 0]).any(axis=(1, 2)).astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inked, [0]])))
    return [int(height) for height in edges[1::2] - edges[::2]]


@pytest.mark.parametrize("shape", [(224, 224), (2500, 2048), (4000, 4000)])
def test_letters_are_large_enough_to_read_at_the_height_of_a_screen(shape: tuple[int, int]) -> None:
    # Shown 1000 pixels high, the smallest line of a portrait radiograph is at least 9 pixels high; shown 400 pixels
    # high, as from afar, score, verdict and warning are at least 7.
    overlay = draw(Radiograph(pixels=np.zeros(shape, np.float32)), make_reading(shape), CAPTION)
    image = [row for row in range(len(overlay)) if not overlay[row, 0].any()]
    above, below = _lines_of_text(overlay[: image[0]]), _lines_of_text(overlay[image[-1] + 1 :])
    assert len(above) == 4
    assert min(above) * 1000 / overlay.shape[0] >= 9
    assert min(above[0], above[1], below[0]) * 400 / overlay.shape[0] >= 7
