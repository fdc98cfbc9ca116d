"""The radiographs that a site is commissioned on: their scores from ledger, files or lines, and labels from a table."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dicom_node.errors import NodeError
from dicom_node.settings import Settings
from pipeline.flow import Networks
from pipeline.training.corpus import Label

_NAMES: Final = ("sop_instance_uid", "file")
"""Columns of the table of labels that may name a radiograph."""

_READ_AGAIN: Final = "Read the radiographs again with this version and these networks: covid-xnet read --json."


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One radiograph of the site.

    names: what a row of labels may call it. calling_ae: who sent it; empty if no ledger knows.
    """

    names: tuple[str, ...]
    score: float
    calling_ae: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cases:
    """Scores, float64 (N,), of the unlabelled; and of the labelled, (n,), with 1 for COVID-19, else 0."""

    unlabelled: NDArray[np.float64]
    labelled: NDArray[np.float64]
    targets: NDArray[np.int64]


def from_ledger(
    settings: Settings, networks: Networks, calling_ae: str | None, since: datetime | None, until: datetime | None
) -> list[Case]:
    """What the node has read with these networks. Raises NodeError if it has read nothing of that kind."""
    from sqlalchemy.orm import Session

    from dicom_node.journey.database import open_engine, prepare
    from dicom_node.journey.ledger import scored
    from dicom_node.journey.tallies import counts

    prepare(settings)
    engine = open_engine(settings)
    with Session(engine) as session:
        found = scored(session, networks.model.digest, calling_ae=calling_ae, since=since, until=until)
        read = counts(session)["read"]
    engine.dispose()
    if not found:
        raise NodeError(
            f"The ledger in {settings.data_dir} has no score of {networks.model} that fits.",
            hint=f"It has {read} readings; `covid-xnet status` tells from whom, when and by which networks."
            if read
            else "Let the node read radiographs of the site first, without destinations if nobody shall see results.",
        )
    return [Case(names=(each.sop_instance_uid,), score=each.score, calling_ae=each.calling_ae) for each in found]


def from_lines(files: Sequence[Path], networks: Networks) -> list[Case]:
    """What `covid-xnet read --json` wrote. Raises NodeError that names the line."""
    cases = []
    for file in files:
        for number, text in enumerate(file.read_text("utf-8").splitlines(), start=1):
            try:
                line = json.loads(text)
                accepted, score, digest = line["accepted"], line["score"], line["model_digest"]
                names = tuple(name for name in (line["sop_instance_uid"], line["file"]) if name)
            except (ValueError, KeyError, TypeError):
                raise NodeError(
                    f"{file}, line {number}, is none of covid-xnet read --json.", hint=_READ_AGAIN
                ) from None
            if not accepted:
                continue
            if digest != networks.model.digest:
                raise NodeError(f"{file}, line {number}, was read with other networks.", hint=_READ_AGAIN)
            cases.append(Case(names=names, score=float(score)))
    return cases


def from_files(
    paths: list[Path], settings: Settings, networks: Networks, begin: Callable[[int], Callable[[], None]]
) -> list[Case]:
    """What the networks say of files now; those that the gate refuses are left out.

    begin: gets their number, and returns what is called after each. Raises NodeError if a file is damaged.
    """
    from dicom_node.cli.read import files_of, line_of

    files = list(files_of(paths, None))
    tick, cases = begin(len(files)), []
    for file in files:
        line, damaged = line_of(file, settings, networks, None)
        tick()
        if damaged:
            raise NodeError(f"{file}: {line.reason}", hint="Leave it out.")
        if line.score is not None:
            cases.append(Case(names=tuple(n for n in (line.sop_instance_uid, line.file) if n), score=line.score))
    return cases


def sort_out(cases: Sequence[Case], table: Path | None) -> Cases:
    """Give labels to the cases that the table names. Raises NodeError that names the row if one is wrong."""
    labels = _labels(table, {name: case for case in cases for name in case.names}) if table else {}
    labelled = [case for case in cases if case in labels]
    return Cases(
        unlabelled=np.array([case.score for case in cases if case not in labels], np.float64),
        labelled=np.array([case.score for case in labelled], np.float64),
        targets=np.array([labels[case] for case in labelled], np.int64),
    )


def _labels(table: Path, known: Mapping[str, Case]) -> dict[Case, int]:
    found: dict[Case, int] = {}
    unknown: list[str] = []
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a byte order mark before it
            rows = csv.DictReader(file)
            columns = [name for name in _NAMES if name in (rows.fieldnames or [])]
            if not columns or "label" not in (rows.fieldnames or []):
                raise NodeError(
                    f"{table} has no columns {' or '.join(_NAMES)}, and label.", hint="Write them into its first row."
                )
            for number, row in enumerate(rows, start=2):
                where = f"{table}, row {number}"
                name = next((cell.strip() for column in columns if (cell := row[column] or "").strip()), "")
                label = (row["label"] or "").strip().lower()
                if label not in set(Label):
                    raise NodeError(f"{where}: label {label!r} is none of {', '.join(Label)}.")
                if label == Label.UNLABELLED:
                    continue
                case = known.get(name) or known.get(str(table.parent / name))
                if case is None:
                    unknown.append(f"{where}: {name!r}")
                elif found.setdefault(case, int(label == Label.COVID)) != int(label == Label.COVID):
                    raise NodeError(f"{where}: {name!r} has another label in a row before.", hint="Keep one of them.")
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise NodeError(f"{table} cannot be read: {e}.", hint="Save it as CSV in UTF-8.") from e
    if unknown:
        more = f", and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise NodeError(
            f"{unknown[0]} was not read with these networks{more}.",
            hint="Send these radiographs to the node first, or take their rows out of the table.",
        )
    return found
