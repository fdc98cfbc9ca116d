"""What the probes take away, and what they leave."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from models.registry import SHIPPED, Registry
from models.serving import Network
from pipeline.evaluation.probes import border_only, halves_exchanged, lungs_blanked
from pipeline.flow import RECIPES, prepare
from pipeline.localise import find_lungs
from pipeline.preprocess import working_frame
from pipeline.radiograph import Radiograph
from tests.phantom import chest_phantom


@pytest.fixture(scope="module")
def lungs() -> Network:
    return Network(Registry.load(SHIPPED).file("lung_unet", ".xml"))


@pytest.fixture(scope="module")
def ribs() -> Network:
    return Network(Registry.load(SHIPPED).file("rib_suppression", ".xml"))


PHANTOM = Radiograph(pixels=chest_phantom((400, 360)))


def test_blanked_lungs_have_one_grey_level_and_all_else_is_as_it_was(lungs: Network) -> None:
    frame = working_frame(PHANTOM.pixels)
    found = find_lungs(frame, lungs)
    blanked, _ = lungs_blanked(PHANTOM, lungs)
    assert found.any()
    assert np.ptp(blanked.pixels[found]) == 0
    changed = blanked.pixels != frame
    assert changed[found].mean() > 0.99
    assert changed.sum() < 1.6 * found.sum()
    assert frame.min() < blanked.pixels[found][0] < frame.max()


def test_what_the_lungs_showed_changes_nothing_of_what_is_left(lungs: Network) -> None:
    frame = working_frame(PHANTOM.pixels)
    found = find_lungs(frame, lungs)
    _, same_lungs = lungs_blanked(PHANTOM, lungs)
    ill = frame.copy()
    ill[found] += np.random.default_rng(0).random(int(found.sum()), dtype=np.float32) * (1 - ill[found])
    one, other = (lungs_blanked(Radiograph(pixels=each), same_lungs)[0].pixels for each in (frame, ill))
    assert np.array_equal(one, other)


def test_the_border_is_a_tenth_of_the_shorter_side(lungs: Network) -> None:
    frame = working_frame(PHANTOM.pixels)
    left, _ = border_only(PHANTOM, lungs)
    width = round(0.1 * min(frame.shape))
    inner = (slice(width, -width), slice(width, -width))
    assert np.ptp(left.pixels[inner]) == 0
    outside = np.ones(frame.shape, np.bool_)
    outside[inner] = False
    assert np.array_equal(left.pixels[outside], frame[outside])


def test_a_radiograph_with_a_black_border_can_still_be_prepared(lungs: Network, ribs: Network) -> None:
    framed = np.pad(chest_phantom((400, 360)), 80)
    left, recorded = border_only(Radiograph(pixels=framed), lungs)
    prepared = prepare(left, lungs=recorded, ribs=ribs, recipe=RECIPES["paper"], stages={})
    assert prepared.image.shape == (128, 128)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("probe", [lungs_blanked, border_only])
def test_a_probed_radiograph_is_cut_where_the_whole_one_was(
    lungs: Network, ribs: Network, recipe: object, probe: object
) -> None:
    assert callable(probe)
    changed, recorded = probe(PHANTOM, lungs)
    whole = prepare(PHANTOM, lungs=lungs, ribs=ribs, recipe=recipe, stages={})  # type: ignore[arg-type]
    part = prepare(changed, lungs=recorded, ribs=ribs, recipe=recipe, stages={})  # type: ignore[arg-type]
    assert part.box == whole.box
    assert np.array_equal(part.lungs, whole.lungs)
    assert not np.array_equal(part.image, whole.image)


def test_halves_change_places() -> None:
    images: NDArray[np.uint8] = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)
    exchanged = halves_exchanged(images)
    assert np.array_equal(exchanged[:, :, :2], images[:, :, 2:])
    assert np.array_equal(halves_exchanged(exchanged), images)


def test_the_lung_network_is_asked_once(lungs: Network) -> None:
    class Counting(Network):
        def __init__(self) -> None:
            self.asked = 0

        def __call__(self, image: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
            self.asked += 1
            return lungs(image)

    counting = Counting()
    _, recorded = lungs_blanked(PHANTOM, counting)
    recorded(np.zeros((1, 256, 256, 1), np.float32))
    assert counting.asked == 1
