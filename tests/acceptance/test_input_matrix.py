"""Every radiograph of the table goes through the whole node: kept as it came, read, and answered once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pynetdicom import AE, _config
from pynetdicom.dsutils import split_dataset
from pynetdicom.presentation import build_context

from dicom_node.demo.node import running_node
from dicom_node.demo.orthanc import free_port, running_orthanc
from dicom_node.peers import Peer
from dicom_node.wire import RADIOGRAPHS, TRANSFER_SYNTAXES
from pipeline.radiograph import from_dicom
from tests.peers.codecs import decoded, rendered
from tests.peers.pacs import ONE_OF_EACH, results_of, wait_for
from tests.sources import REFERENCE, SOURCES

LIMIT = 50_000_000
SMALL = tuple(name for name, source in SOURCES.items() if not source.large)
LARGE = tuple(name for name, source in SOURCES.items() if source.large)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was sent, by the names of the table, and what became of it."""

    files: Mapping[str, Path]
    rows: Mapping[str, dict[str, Any]]
    returned: list[Dataset]
    spool: Path


def _data_set(file: Path) -> bytes:
    """The bytes of a file behind its file meta information."""
    _, offset = split_dataset(file)
    return file.read_bytes()[offset:]


def _send(node: Peer, files: list[Path]) -> None:
    """Send the bytes of the files as they are, on one association."""
    entity = AE(ae_title="MODALITY")
    entity.requested_contexts = [
        build_context(sop_class, syntax) for sop_class in RADIOGRAPHS for syntax in TRANSFER_SYNTAXES
    ]
    entity.dimse_timeout = entity.network_timeout = 120
    association = entity.associate(node.host, node.port, ae_title=node.ae_title)
    assert association.is_established
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
        for file in files:
            assert association.send_c_store(file).Status == 0x0000, file
    association.release()


@pytest.fixture(
    scope="module", params=[pytest.param(SMALL, id="small"), pytest.param(LARGE, id="large", marks=pytest.mark.slow)]
)
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    names: tuple[str, ...] = request.param
    folder = tmp_path_factory.mktemp("matrix")
    files = {name: folder / f"{name}.dcm" for name in names}
    uids = {name: str(SOURCES[name].write(file).SOPInstanceUID) for name, file in files.items()}
    with running_orthanc(folder / "pacs", ae_title="PACS") as pacs:
        settings = {
            "ae_title": "COVIDXNET",
            "port": free_port(),
            "workers": 1,
            "destinations": [str(pacs.peer)],
            "read_for_processing": True,
        }
        with running_node(folder / "node", settings) as node:
            _send(node.peer, list(files.values()))
            returned = wait_for(pacs, 2 * len(files), seconds=540)
            known = {row["sop_instance_uid"]: row for row in node.status()["objects"]}
        yield Outcome(
            files=files,
            rows={name: known[uid] for name, uid in uids.items()},
            returned=returned,
            spool=folder / "node" / "data" / "spool",
        )


def test_every_transfer_syntax_and_class_is_in_the_table_and_in_the_small_selection() -> None:
    sent = {SOURCES[name].syntax for name in SMALL}
    assert sent == set(TRANSFER_SYNTAXES)
    for syntax in TRANSFER_SYNTAXES:
        assert sum(source.syntax == syntax for source in SOURCES.values()) >= len(RADIOGRAPHS)


@pytest.mark.timeout(600)
def test_every_radiograph_lies_in_the_spool_bit_for_bit_as_it_came(outcome: Outcome) -> None:
    kept = {str(dcmread(file, stop_before_pixels=True).SOPInstanceUID): file for file in outcome.spool.rglob("*.dcm")}
    assert len(kept) == len(outcome.files)
    for name, file in outcome.files.items():
        in_spool = kept[outcome.rows[name]["sop_instance_uid"]]
        assert dcmread(in_spool).file_meta.TransferSyntaxUID == SOURCES[name].syntax, name
        assert _data_set(in_spool) == _data_set(file), name


def test_every_radiograph_has_one_reading_and_exactly_one_capture_and_report(outcome: Outcome) -> None:
    failed = {name: row["reading"] for name, row in outcome.rows.items() if (row["reading"] or {}).get("failure", "-")}
    assert failed == {}
    results = results_of(outcome.returned)
    assert {name: results[row["sop_instance_uid"]] for name, row in outcome.rows.items()} == dict.fromkeys(
        outcome.rows, ONE_OF_EACH
    )
    assert len(outcome.returned) == 2 * len(outcome.rows)


def test_one_radiograph_has_one_score_however_it_was_encoded(outcome: Outcome) -> None:
    scores = {name: row["reading"]["score"] for name, row in outcome.rows.items()}
    same = {name: within for name in outcome.rows if (within := SOURCES[name].same) is not None}
    reference = scores[min(same, key=lambda name: (name != REFERENCE, same[name]))]
    assert len(same) > 10
    assert {name: scores[name] for name, within in same.items() if abs(scores[name] - reference) > within} == {}


def test_all_pixels_are_those_that_a_second_decoder_finds(outcome: Outcome, tmp_path: Path) -> None:
    differs = {}
    for name, file in outcome.files.items():
        ours = from_dicom(dcmread(file), maximum_pixels=LIMIT).pixels
        theirs = from_dicom(decoded(file, tmp_path), maximum_pixels=LIMIT).pixels
        assert ours.shape == theirs.shape, name
        difference = float(np.abs(ours - theirs).max())
        if difference > SOURCES[name].tolerance:
            differs[name] = difference
    assert differs == {}


def test_greyscale_is_shown_as_dcmtk_shows_it(outcome: Outcome, tmp_path: Path) -> None:
    shown = {name: file for name, file in outcome.files.items() if SOURCES[name].render is not None}
    assert shown
    differs = {}
    for name, file in shown.items():
        ours = from_dicom(dcmread(file), maximum_pixels=LIMIT).pixels
        theirs = rendered(file, tmp_path, *(SOURCES[name].render or ()))
        difference = float(np.abs(ours - theirs).max())
        if difference > 1 / 255:
            differs[name] = difference
    assert differs == {}
