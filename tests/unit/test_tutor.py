"""The model that marks what the network learns from, and what varies between its batches."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from pipeline.training.augment import as_in_the_paper, gently_and_in_tone
from pipeline.training.tutor import Tutor, features_of, marks


def patches(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Noise; half of the images have soft horizontal bands, which is what is to be learned."""
    random = np.random.default_rng(seed)
    targets = np.arange(count) % 2
    images = random.normal(128, 30, (count, 128, 128))
    bands = 25 * np.sin(np.arange(128) / 3)[None, :, None]
    images = images + targets[:, None, None] * bands
    blurred = [cv2.GaussianBlur(image, (0, 0), 2) for image in images]
    return np.clip(np.stack(blurred), 0, 255).astype(np.uint8), targets


def test_marks_rise_with_what_the_classes_differ_in() -> None:
    images, targets = patches(60, 0)
    sure = marks(images, targets, 1e-5)
    assert sure.shape == (60,)
    assert ((sure > 0) & (sure < 1)).all()
    assert roc_auc_score(targets, sure) == 1
    assert abs(float(sure.mean()) - 0.5) < 0.05


def test_a_wrong_label_gets_a_doubtful_mark() -> None:
    images, targets = patches(60, 1)
    wrong = targets.copy()
    wrong[:2] = 1 - wrong[:2]
    sure = marks(images, wrong, 1e-5)
    assert sure[0] < 0.5 < sure[1]  # as they look, not as they are labelled


@pytest.mark.parametrize("vary", [as_in_the_paper, gently_and_in_tone])
def test_a_varied_image_keeps_shape_range_and_type_and_differs_each_time(vary: object) -> None:
    assert callable(vary)
    image = patches(2, 2)[0][1]
    one, other = (vary(image, np.random.default_rng(seed)) for seed in (0, 1))
    again = vary(image, np.random.default_rng(0))
    for varied in (one, other):
        assert varied.shape == image.shape
        assert varied.dtype == np.float32
        assert 0 <= varied.min() <= varied.max() <= 1
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_tutor_tells_images_that_it_has_not_seen_apart() -> None:
    images, targets = patches(60, 0)
    tutor = Tutor.fit(features_of(images), targets, 1e-5)
    others, truth = patches(40, 3)
    assert roc_auc_score(truth, tutor.decide(features_of(others))) == 1
