"""Who learns and who is judged."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.training.corpus import BadCorpus, Label, Sample
from pipeline.training.folds import archive_split, patient_folds, require_apart, require_both_classes, unseen_splits


def sample(
    number: int, *, patient: str | None = None, ill: bool | None = None, archive: str = "x", fold: str = ""
) -> Sample:
    return Sample(
        file=Path(f"{number}.png"),
        label=Label.COVID if (number % 2 == 1 if ill is None else ill) else Label.NORMAL,
        patient=patient or f"p{number}",
        archive=archive,
        lung_mask=None,
        fold=fold,
        row=number + 2,
    )


def test_each_sample_is_judged_once_and_never_by_who_saw_its_patient() -> None:
    samples = [sample(n, patient=f"p{n // 3}", ill=n // 3 % 2 == 1) for n in range(90)]
    splits = patient_folds(samples, folds=5, seed=1)
    assert len(splits) == 5
    assert sorted(np.concatenate([split.judge for split in splits]).tolist()) == list(range(90))
    for split in splits:
        assert sorted([*split.learn, *split.judge]) == list(range(90))
        assert not {samples[i].patient for i in split.learn} & {samples[i].patient for i in split.judge}
        assert np.mean([samples[i].label is Label.COVID for i in split.judge]) == pytest.approx(0.5, abs=0.1)


def test_the_seed_decides_the_folds() -> None:
    samples = [sample(n) for n in range(40)]
    judged = [[split.judge.tolist() for split in patient_folds(samples, folds=4, seed=seed)] for seed in (0, 0, 1)]
    assert judged[0] == judged[1] != judged[2]


def test_folds_of_the_manifest_are_taken_as_they_are() -> None:
    samples = [sample(n, fold="b" if n < 10 else "a") for n in range(30)]
    splits = patient_folds(samples, folds=5, seed=0)
    assert [split.judge.tolist() for split in splits] == [list(range(10, 30)), list(range(10))]


def test_too_few_patients_of_a_class_are_told() -> None:
    with pytest.raises(BadCorpus, match="3 patients of one class are too few for 4 folds"):
        patient_folds([sample(n, ill=n < 3) for n in range(20)], folds=4, seed=0)


def test_one_class_is_told_with_the_first_row() -> None:
    with pytest.raises(BadCorpus, match=r"^one class only: from row 2, 0\.png on, all are normal"):
        require_both_classes([sample(n, ill=False) for n in range(3)])
    with pytest.raises(BadCorpus, match="one class only: from row 2"):
        patient_folds([sample(n, ill=n < 3, fold=f"{n < 3}") for n in range(6)], folds=2, seed=0)


def test_a_patient_on_both_sides_is_told_with_both_rows() -> None:
    samples = [sample(0), sample(1), sample(2, patient="p0")]
    require_apart(samples, np.array([0]), np.array([1]))
    with pytest.raises(
        BadCorpus, match=r"patient 'p0' is learned from \(row 2, 0\.png\) and judged on \(row 4, 2\.png"
    ):
        require_apart(samples, np.array([0, 1]), np.array([2]))


def test_a_patient_of_two_archives_is_only_judged_on_and_some_stay_at_home_for_the_threshold() -> None:
    samples = [
        sample(n, archive="home" if n < 40 else "away", patient="both" if n in (3, 43) else None) for n in range(60)
    ]
    home = np.array([s.archive == "home" for s in samples])
    split = archive_split("s", samples, home, ~home, seed=0)
    assert split is not None
    assert split.judge.tolist() == list(range(40, 60))
    assert sorted([*split.learn, *split.home]) == [n for n in range(40) if n != 3]
    assert 5 <= len(split.home) <= 11
    assert {samples[i].label for i in split.home} == {Label.COVID, Label.NORMAL}


def test_archives_that_are_missing_leave_a_split_out() -> None:
    samples = [
        *(sample(n, archive="cohen", ill=True) for n in range(20)),
        *(sample(n, archive="nih", ill=False) for n in range(20, 40)),
        *(sample(n, archive="hannover", ill=True) for n in range(40, 60)),
    ]
    learners = np.ones(60, np.bool_)
    assert unseen_splits(samples, learners, 0) == []
    samples += [sample(n, archive="shenzhen", ill=False) for n in range(60, 80)]
    (split,) = unseen_splits(samples, np.ones(80, np.bool_), 0)
    assert split.name == "unseen-c"
    assert {samples[i].archive for i in split.judge} == {"hannover", "shenzhen"}
    assert {samples[i].archive for i in [*split.learn, *split.home]} == {"cohen", "nih"}
