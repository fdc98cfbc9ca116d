"""The radiographs that networks are trained on: a CSV manifest beside the image files."""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UnreadableRadiograph
from pipeline.preprocess import working_frame
from pipeline.radiograph import Gray, from_image

MAXIMUM_PIXELS = 100_000_000


class Label(StrEnum):
    """What a radiograph shows, as its archive says."""

    COVID = "covid"
    NORMAL = "normal"
    PNEUMONIA = "pneumonia"
    OTHER = "other"
    UNLABELLED = "unlabelled"


class BadCorpus(Exception):
    """A manifest that cannot be used; the message names the row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One radiograph of the corpus.

    lung_mask: None where nobody has drawn one. lung_mask_with_heart: one of another convention, which includes most of
    the heart and the lung behind the diaphragm; only to judge with. fold: of the cross-validation, if the manifest
    chooses it. row: of the manifest, for messages.
    """

    file: Path
    label: Label
    patient: str
    archive: str
    lung_mask: Path | None
    lung_mask_with_heart: Path | None = None
    fold: str = ""
    row: int = field(default=0, compare=False)

    @property
    def place(self) -> str:
        """Where it stands and which file it is."""
        return f"row {self.row}, {self.file}" if self.row else str(self.file)

    def digest(self) -> str:
        """Sha256 (hex) of the file: what is computed once is kept under it, for names may come twice."""
        with self.file.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def frame(self) -> Gray:
        """The radiograph on the working frame; raises BadCorpus if it cannot be read."""
        try:
            return working_frame(from_image(self.file, maximum_pixels=MAXIMUM_PIXELS).pixels)
        except UnreadableRadiograph as e:
            raise BadCorpus(f"{self.place}: {e}") from e

    def mask(self, shape: tuple[int, ...], *, with_heart: bool = False) -> NDArray[np.float32]:
        """The share of lung in each pixel of a frame of `shape`: float32, [0, 1]; raises BadCorpus if there is none."""
        file = self.lung_mask_with_heart if with_heart else self.lung_mask
        drawn = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) if file else None
        if drawn is None:
            raise BadCorpus(f"{self.place} has no readable lung mask")
        lungs = (drawn > 127).astype(np.float32)
        resized: NDArray[np.float32] = cv2.resize(lungs, shape[::-1], interpolation=cv2.INTER_AREA)
        return resized


def read_corpus(manifest: Path, *, laterals: bool = False) -> list[Sample]:
    """Read a manifest: CSV with the columns file, label, patient_id, source_key and, if wanted, lung_mask,
    lung_mask_with_heart and fold.

    Paths are relative to the manifest. Laterals (view L) are left out, or, if `laterals`, all others are. Raises
    BadCorpus that names the first bad row: also one that puts a patient into a second fold.
    """
    samples = []
    first: dict[str, Sample] = {}
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a byte order mark before it
            for number, row in enumerate(csv.DictReader(file), start=2):
                if (row.get("view") == "L") is not laterals:
                    continue
                sample = _sample(manifest.parent, row, number, f"{manifest}, row {number}")
                known = first.setdefault(sample.patient, sample)
                if known.fold != sample.fold:
                    raise BadCorpus(
                        f"{manifest}, row {number}: patient {sample.patient!r} is in fold {sample.fold!r}, "
                        f"but in row {known.row} in fold {known.fold!r}"
                    )
                samples.append(sample)
    except OSError as e:
        raise BadCorpus(f"{manifest} cannot be read: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise BadCorpus(f"{manifest} is not UTF-8") from e
    if not samples:
        raise BadCorpus(f"{manifest} has no {'lateral' if laterals else 'frontal'} radiographs")
    return samples


def _sample(folder: Path, row: dict[str, str], number: int, where: str) -> Sample:
    missing = [name for name in ("file", "label", "patient_id", "source_key") if not row.get(name)]
    if missing:
        raise BadCorpus(f"{where}: {', '.join(missing)} missing")
    if row["label"] not in set(Label):
        raise BadCorpus(f"{where}: label {row['label']!r} is none of {', '.join(Label)}")
    mask, with_heart = (folder / row[name] if row.get(name) else None for name in ("lung_mask", "lung_mask_with_heart"))
    for path in (folder / row["file"], mask, with_heart):
        if path is not None and not path.is_file():
            raise BadCorpus(f"{where}: {path} does not exist")
    return Sample(
        file=folder / row["file"],
        label=Label(row["label"]),
        patient=row["patient_id"],
        archive=row["source_key"],
        lung_mask=mask,
        lung_mask_with_heart=with_heart,
        fold=row.get("fold") or "",
        row=number,
    )


def labelled_of(samples: Sequence[Sample]) -> list[Sample]:
    """Those whose archive says what they show."""
    return [sample for sample in samples if sample.label is not Label.UNLABELLED]


def held_out(samples: Sequence[Sample], one_in: int) -> NDArray[np.bool_]:
    """Which samples belong to held-out patients: about one in `one_in`, the same in every run.

    Raises BadCorpus if that leaves nobody to learn from or nobody to be judged on.
    """
    import zlib

    out = np.array([zlib.crc32(sample.patient.encode()) % one_in == 0 for sample in samples])
    if out.all() or not out.any():
        patients = len({sample.patient for sample in samples})
        raise BadCorpus(f"{patients} patients are too few to hold out one in {one_in}")
    return out
