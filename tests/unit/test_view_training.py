"""The training of the view judge: who is judged by whom, what is counted, and what it is shown that is no chest."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.view_judge import committee, view_judge
from pipeline.training import view
from pipeline.training.corpus import BadCorpus, Sample, read_corpus
from pipeline.training.strange import photographs, strange_image
from tests.phantom import chest_phantom

FRONTALS, LATERALS = 10, 6


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Phantoms, each of a patient of its own."""
    with (tmp_path / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("file", "label", "patient_id", "source_key", "view"))
        writer.writeheader()
        for number in range(FRONTALS + LATERALS):
            lateral = number >= FRONTALS
            image = chest_phantom((96, 80), lateral=lateral, seed=number)
            cv2.imwrite(str(tmp_path / f"{number}.png"), np.rint(image * 255).astype(np.uint8))
            writer.writerow(
                {
                    "file": f"{number}.png",
                    "label": "unlabelled",
                    "patient_id": f"p{number}",
                    "source_key": "cohen" if lateral or number % 2 else "nih",
                    "view": "L" if lateral else "PA",
                }
            )
    return tmp_path / "manifest.csv"


def samples_of(manifest: Path) -> tuple[list[Sample], list[Sample]]:
    return read_corpus(manifest), read_corpus(manifest, laterals=True)


def test_every_image_is_judged_by_a_network_that_did_not_see_its_patient(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "_STEPS", 1)
    monkeypatch.setattr(view, "_STRANGE", 3)
    frontals, laterals = samples_of(manifest)
    assert (len(frontals), len(laterals)) == (FRONTALS, LATERALS)
    done: list[int] = []
    images = view.images_of([*frontals, *laterals], lambda: done.append(1))
    assert images.shape == (FRONTALS + LATERALS, 64, 64)
    assert 0 <= images.min() <= images.max() <= 1
    network, metrics = view.cross_validate(
        frontals, laterals, images, folds=2, epochs=1, seed=0, tick=lambda: done.append(1)
    )
    assert len(done) == FRONTALS + LATERALS + 2
    assert metrics["laterals"] == LATERALS
    assert metrics["frontals_cohen"] + metrics["frontals_nih"] == FRONTALS
    assert 0 <= metrics["laterals_missed"] <= LATERALS
    assert all(np.isfinite(value) for value in metrics.values())
    answers = np.asarray(network(images[..., None], training=False))
    assert answers.shape == (FRONTALS + LATERALS, 3)
    assert np.allclose(answers.sum(axis=1), 1, atol=1e-5)


def test_a_fold_without_a_lateral_is_refused(manifest: Path) -> None:
    frontals, laterals = samples_of(manifest)
    images = view.images_of([*frontals, *laterals[:1]], lambda: None)
    with pytest.raises(BadCorpus, match="1 laterals are too few for 2 folds"):
        view.cross_validate(frontals, laterals[:1], images, folds=2, epochs=1, seed=0, tick=lambda: None)


def test_only_a_sure_answer_against_it_is_counted_as_a_refusal(manifest: Path) -> None:
    frontals, laterals = samples_of(manifest)
    samples = [*frontals[:3], *laterals[:3]]
    answers = np.array(
        [[0.9, 0.1, 0.0], [0.05, 0.95, 0.0], [0.4, 0.6, 0.0], [0.02, 0.98, 0.0], [0.3, 0.7, 0.0], [0.9, 0.1, 0.0]]
    )
    strange = np.array([[0.0, 0.0, 1.0], [0.5, 0.0, 0.5]])
    metrics = view.confusion(samples, np.arange(6) > 2, answers, strange)
    assert (metrics["laterals"], metrics["laterals_missed"], metrics["laterals_not_called_frontal"]) == (3, 2, 2)
    assert (metrics["frontals_nih"], metrics["frontals_nih_refused"]) == (2, 0)
    assert (metrics["frontals_cohen"], metrics["frontals_cohen_refused"]) == (1, 1)
    assert metrics["frontals_refused_share"] == pytest.approx(1 / 3)
    assert metrics["no_chest_missed_share"] == 0.5


def test_a_committee_answers_with_the_mean_of_its_networks() -> None:
    networks = [view_judge(), view_judge()]
    image = np.random.default_rng(0).random((2, 64, 64, 1), dtype=np.float32)
    answers = [np.asarray(network(image, training=False)) for network in networks]
    assert np.allclose(np.asarray(committee(networks)(image, training=False)), np.mean(answers, axis=0), atol=1e-6)


def test_images_of_no_chest_are_images_and_the_same_in_every_run() -> None:
    chests, pictures = np.stack([chest_phantom(64, seed=seed) for seed in range(3)]), photographs()
    for seed in range(40):
        image = strange_image(chests, pictures, np.random.default_rng(seed))
        assert image.ndim == 2
        assert image.dtype == np.float32
        assert 0 <= image.min() < image.max() <= 1
        assert np.array_equal(image, strange_image(chests, pictures, np.random.default_rng(seed)))
