"""Storage commitment, C-FIND and neither, with a real Orthanc."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dicom_node.demo.orthanc import Orthanc, free_port, running_orthanc
from dicom_node.journey.ledger import ReturnRow, ReturnState
from dicom_node.peers import Peer
from dicom_node.reception.listener import Listener
from dicom_node.spool import Spool
from tests.returning import Ward


@contextmanager
def ward_and_orthanc(
    folder: Path, *, modalities: Callable[[Peer], Sequence[Peer]], **options: Any
) -> Iterator[tuple[Ward, Orthanc]]:
    node = Peer("COVIDXNET", "127.0.0.1", free_port())
    with running_orthanc(folder / "pacs", ae_title="PACS", modalities=modalities(node), **options) as orthanc:
        ward = Ward(folder, orthanc.peer, port=node.port, network_timeout=20.0)
        ward.add_reading()
        with Listener(ward.settings, ward.queue, Spool(ward.settings.spool_dir, minimum_free_bytes=0)):
            yield ward, orthanc
        ward.close()


def wait_for(ward: Ward, states: list[str]) -> None:
    deadline = time.monotonic() + 60
    while ward.states() != states:
        assert time.monotonic() < deadline, f"{ward.states()}, not {states}"
        time.sleep(0.1)


def test_orthanc_commits_itself_on_an_association_of_its_own(tmp_path: Path) -> None:
    with ward_and_orthanc(tmp_path, modalities=lambda node: [node]) as (ward, orthanc):
        ward.visit()
        wait_for(ward, [ReturnState.DELIVERED] * 2)
        assert ward.proofs() == ["storage commitment"] * 2
        assert ward.circuit().reports_apart
        assert len(orthanc.instances()) == 2


def test_what_orthanc_has_lost_is_sent_again(tmp_path: Path) -> None:
    with ward_and_orthanc(tmp_path, modalities=lambda node: [node]) as (ward, orthanc):
        lost = ward.rows()[0]
        with ward.queue.engine.begin() as connection:  # as if Orthanc had taken it and then lost its disk
            connection.execute(sa.update(ReturnRow).where(ReturnRow.id == lost.id).values(state=ReturnState.STORED))
        ward.visit()
        wait_for(ward, [ReturnState.WAITING, ReturnState.DELIVERED])
        assert ward.rows()[0].failure_reason == 0x0112
        assert len(orthanc.instances()) == 1
        ward.visit()
        wait_for(ward, [ReturnState.DELIVERED] * 2)
        assert ward.proofs() == ["storage commitment"] * 2
        assert len(orthanc.instances()) == 2


@pytest.mark.parametrize(("find", "proof"), [(True, "C-FIND"), (False, "C-STORE status")])
def test_an_orthanc_that_does_not_know_the_node_proves_as_much_as_it_allows(
    tmp_path: Path, find: bool, proof: str
) -> None:
    with ward_and_orthanc(tmp_path, modalities=lambda _: [], DicomAlwaysAllowFind=find) as (ward, orthanc):
        ward.visit()
        assert ward.proofs() == [proof] * 2
        assert len(orthanc.instances()) == 2
