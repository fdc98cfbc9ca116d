"""The manifest of a corpus: what cannot be used is named with its row."""

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.preprocess import WORKING_SIDE
from pipeline.training.corpus import BadCorpus, Label, Sample, held_out, read_corpus
from tests.phantom import chest_phantom

COLUMNS = ("file", "label", "patient_id", "source_key", "lung_mask")
GOOD = {"file": "chest.png", "label": "covid", "patient_id": "p1", "source_key": "cohen", "lung_mask": ""}


def write(folder: Path, rows: Sequence[dict[str, str]], columns: Sequence[str] = COLUMNS) -> Path:
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    grey = np.rint(chest_phantom((320, 280)) * 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "chest.png"), grey)
    mask = np.zeros((160, 140), np.uint8)
    mask[40:120, 20:60] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    return tmp_path


def complaint(manifest: Path) -> str:
    with pytest.raises(BadCorpus) as caught:
        read_corpus(manifest)
    message = str(caught.value)
    assert str(manifest) in message
    assert "\n" not in message
    return message


def test_a_row_becomes_a_sample_with_paths_beside_the_manifest(folder: Path) -> None:
    (sample, other) = read_corpus(write(folder, [GOOD, {**GOOD, "label": "normal", "lung_mask": "mask.png"}]))
    assert sample == Sample(file=folder / "chest.png", label=Label.COVID, patient="p1", archive="cohen", lung_mask=None)
    assert (other.label, other.lung_mask) == (Label.NORMAL, folder / "mask.png")


def test_masks_of_two_conventions_are_told_apart(folder: Path) -> None:
    cv2.imwrite(str(folder / "wide.png"), np.full((160, 140), 255, np.uint8))
    row = {**GOOD, "lung_mask": "mask.png", "lung_mask_with_heart": "wide.png"}
    (sample,) = read_corpus(write(folder, [row], (*COLUMNS, "lung_mask_with_heart")))
    assert 0 < sample.mask((256, 224)).mean() < sample.mask((256, 224), with_heart=True).mean() == 1
    missing = complaint(write(folder, [{**row, "lung_mask_with_heart": "no.png"}], (*COLUMNS, "lung_mask_with_heart")))
    assert "no.png does not exist" in missing


def test_a_sample_gives_its_working_frame_and_its_mask_in_that_shape(folder: Path) -> None:
    (sample,) = read_corpus(write(folder, [{**GOOD, "lung_mask": "mask.png"}]))
    frame = sample.frame()
    assert frame.shape == (WORKING_SIDE, 448)
    assert frame.dtype == np.float32
    mask = sample.mask(frame.shape)
    assert mask.shape == frame.shape
    assert mask.dtype == np.float32
    assert mask.min() == 0
    assert mask.max() == 1
    assert mask.mean() == pytest.approx(80 * 40 / (160 * 140), abs=0.002)
    assert mask[256, 120] == 1
    assert mask[256, 300] == 0


def test_columns_that_are_not_needed_are_allowed_and_those_of_masks_may_be_absent(folder: Path) -> None:
    row = {**GOOD, "age": "60"}
    assert len(read_corpus(write(folder, [row], [*COLUMNS, "age"]))) == 1
    assert read_corpus(write(folder, [GOOD], COLUMNS[:4]))[0].lung_mask is None


def test_laterals_are_left_out(folder: Path) -> None:
    rows = [{**GOOD, "view": view} for view in ("PA", "L", "AP", "")]
    assert len(read_corpus(write(folder, rows, [*COLUMNS, "view"]))) == 3
    assert "no frontal radiographs" in complaint(write(folder, rows[1:2], [*COLUMNS, "view"]))


@pytest.mark.parametrize("column", ["file", "label", "patient_id", "source_key"])
def test_a_missing_column_is_named_with_the_first_row(folder: Path, column: str) -> None:
    message = complaint(write(folder, [GOOD], [name for name in COLUMNS if name != column]))
    assert message.endswith(f"row 2: {column} missing")


@pytest.mark.parametrize("column", ["file", "label", "patient_id", "source_key"])
def test_an_empty_value_is_named_with_its_row(folder: Path, column: str) -> None:
    message = complaint(write(folder, [GOOD, GOOD, {**GOOD, column: ""}, GOOD]))
    assert message.endswith(f"row 4: {column} missing")


def test_a_label_that_is_none_is_named_with_those_that_are(folder: Path) -> None:
    message = complaint(write(folder, [GOOD, {**GOOD, "label": "COVID-19"}]))
    assert "row 3: label 'COVID-19' is none of covid, normal, pneumonia, other, unlabelled" in message


@pytest.mark.parametrize("column", ["file", "lung_mask"])
def test_a_file_that_does_not_exist_is_named_with_its_row(folder: Path, column: str) -> None:
    message = complaint(write(folder, [GOOD, {**GOOD, column: "nowhere.png"}]))
    assert message.endswith(f"row 3: {folder / 'nowhere.png'} does not exist")


def test_a_manifest_that_is_absent_or_empty_is_told(folder: Path) -> None:
    assert "cannot be read: No such file" in complaint(folder / "nowhere.csv")
    assert "has no frontal radiographs" in complaint(write(folder, []))
    (folder / "empty.csv").write_text("")
    assert "has no frontal radiographs" in complaint(folder / "empty.csv")


def test_a_manifest_of_another_encoding_is_told(folder: Path) -> None:
    manifest = write(folder, [GOOD])
    manifest.write_bytes(manifest.read_bytes() + "chest.png,covid,pätient,cohen,\n".encode("latin-1"))
    assert "is not UTF-8" in complaint(manifest)


def test_a_manifest_as_spreadsheets_save_it_is_read(folder: Path) -> None:
    """With a byte order mark before its first column."""
    manifest = write(folder, [GOOD])
    manifest.write_bytes(b"\xef\xbb\xbf" + manifest.read_bytes())
    assert len(read_corpus(manifest)) == 1


def test_an_image_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "cut.png").write_bytes((folder / "chest.png").read_bytes()[:500])
    cv2.imwrite(str(folder / "blank.png"), np.full((300, 300), 80, np.uint8))
    for name, why in (("cut.png", "cannot be decoded"), ("blank.png", "one grey level")):
        (sample,) = read_corpus(write(folder, [{**GOOD, "file": name}]))
        with pytest.raises(BadCorpus, match=why) as caught:
            sample.frame()
        assert str(folder / name) in str(caught.value)


def test_a_mask_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "text.png").write_text("no image")
    for mask in ("text.png", ""):
        (sample,) = read_corpus(write(folder, [{**GOOD, "lung_mask": mask}]))
        with pytest.raises(BadCorpus, match="no readable lung mask"):
            sample.mask((512, 448))


def of_patient(patient: str) -> Sample:
    return Sample(file=Path("x"), label=Label.OTHER, patient=patient, archive="a", lung_mask=None)


def test_patients_are_held_out_whole_and_the_same_in_every_run() -> None:
    samples = [of_patient(f"p{number % 300}") for number in range(900)]
    out = held_out(samples, 6)
    by_patient: dict[str, set[bool]] = {}
    for one, held in zip(samples, out, strict=True):
        by_patient.setdefault(one.patient, set()).add(bool(held))
    assert all(len(held) == 1 for held in by_patient.values())
    assert 0.1 < out.mean() < 0.25  # about one in six
    assert np.array_equal(out, held_out(samples, 6))
    assert np.array_equal(held_out(samples[::-1], 6), out[::-1])
    # The check value of CRC-32, of b"123456789", is 0xCBF43926; that of no bytes is 0.
    assert held_out([of_patient("123456789"), of_patient("")], 6).tolist() == [0xCBF43926 % 6 == 0, True]


def test_too_few_patients_to_hold_some_out_are_told_before_anything_is_trained() -> None:
    with pytest.raises(BadCorpus, match=r"^1 patients are too few to hold out one in 6$"):
        held_out([of_patient("p1")] * 20, 6)
    with pytest.raises(BadCorpus, match=r"^2 patients are too few to hold out one in 1$"):
        held_out([of_patient("p1"), of_patient("p2")], 1)


def test_a_patient_in_two_folds_is_named_with_both_rows(folder: Path) -> None:
    rows = [{**GOOD, "fold": "1"}, {**GOOD, "patient_id": "p2", "fold": "2"}, {**GOOD, "fold": "2"}]
    columns = [*COLUMNS, "fold"]
    assert complaint(write(folder, rows, columns)).endswith(
        "row 4: patient 'p1' is in fold '2', but in row 2 in fold '1'"
    )
    assert [sample.fold for sample in read_corpus(write(folder, rows[:2], columns))] == ["1", "2"]
