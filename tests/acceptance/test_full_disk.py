"""The disk is low, or full, at whichever write it happens: nothing acknowledged is lost, and all goes on by itself."""

import os
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from pydicom import Dataset
from pynetdicom import AE

from dicom_node.demo.node import RunningNode, running_node
from dicom_node.demo.orthanc import free_port, running_orthanc
from dicom_node.journey.database import check_integrity
from dicom_node.peers import Peer
from dicom_node.settings import Settings
from tests.listening import wait_until
from tests.peers.modality import Modality
from tests.peers.pacs import ONE_OF_EACH, results_of, wait_for
from tests.phantom import make_cr

LEFT: Final = [0, 30_000, 250_000, 700_000, 1_500_000, 3_000_000]
"""Bytes that are left: less than the log of the database takes, than an object, than an overlay, than all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A small file system of its own; where the machine lets nobody mount one, the kernel's limit to files instead."""

    folder: Path
    mounted: bool

    def fill(self, node: RunningNode, *, leave: int) -> None:
        """Leave so many bytes; without a file system of its own, no file can be written beyond them."""
        if not self.mounted:
            self._limit(node, leave)
            return
        disk = os.statvfs(self.folder)
        with (self.folder / "filler").open("ab", buffering=0) as filler:
            with suppress(OSError):
                os.posix_fallocate(filler.fileno(), 0, max(1, disk.f_bavail * disk.f_frsize - leave))
            while leave == 0:  # to the last block
                try:
                    filler.write(bytes(4096))
                except OSError:
                    break

    def release(self, node: RunningNode) -> None:
        if self.mounted:
            (self.folder / "filler").unlink()
        else:
            self._limit(node, resource.RLIM_INFINITY)

    def _limit(self, node: RunningNode, size: int) -> None:
        supervisor = psutil.Process(node.process.pid)
        for process in (supervisor, *supervisor.children()):
            with suppress(psutil.NoSuchProcess):
                process.rlimit(psutil.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96m,mode=0700", "none", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    print("on a small file system" if mounted else "mount is not permitted: with RLIMIT_FSIZE")
    yield Disk(folder=folder, mounted=mounted)
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def settings(**changes: Any) -> dict[str, Any]:
    return {"ae_title": "COVIDXNET", "port": free_port(), "workers": 1, "retry_seconds": 0.5, **changes}


def answer(peer: Peer, dataset: Dataset) -> Dataset:
    entity = AE(ae_title="MODALITY")
    entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = entity.associate(peer.host, peer.port, ae_title=peer.ae_title)
    assert association.is_established
    said: Dataset = association.send_c_store(dataset)
    association.release()
    return said


def test_below_the_mark_objects_are_sent_back_and_above_it_taken_again(disk: Disk, tmp_path: Path) -> None:
    mark = 40 if disk.mounted else 10**12
    with running_node(disk.folder, settings(minimum_free_megabytes=mark), role=("listen",)) as node:
        if disk.mounted:
            assert answer(node.peer, make_cr()).Status == 0x0000
            disk.fill(node, leave=30_000_000)
        said = answer(node.peer, make_cr(seed=1))
        assert (said.Status, said.ErrorComment[:9]) == (0xA700, "Disk low:")
        if disk.mounted:
            disk.release(node)
            assert answer(node.peer, make_cr(seed=1)).Status == 0x0000


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_disk_that_is_full_at_any_write_delays_and_loses_nothing(disk: Disk, tmp_path: Path) -> None:
    objects = [make_cr(seed=seed % 8) for seed in range(2 * len(LEFT) + 1)]
    expected = {str(ds.SOPInstanceUID): ONE_OF_EACH for ds in objects}
    with running_orthanc(tmp_path / "pacs", ae_title="PACS") as pacs:
        to_pacs = settings(destinations=[str(pacs.peer)], minimum_free_megabytes=0)
        with running_node(disk.folder, to_pacs) as node:
            modality = Modality(node.peer)
            modality.send(objects[:1])
            for number, leave in enumerate(LEFT):
                mine = objects[1 + 2 * number : 3 + 2 * number]
                if number % 2:
                    modality.send(mine[:1])  # it meets the full disk in the worker or at the returner
                disk.fill(node, leave=leave)
                sending = modality.send_in_background(
                    [ds for ds in mine if ds.SOPInstanceUID not in modality.acknowledged]
                )
                time.sleep(8)
                disk.release(node)
                sending.join()
            assert node.process.poll() is None
            results = results_of(wait_for(pacs, 2 * len(objects), seconds=300))
            assert results == expected
            wait_until(lambda: node.status()["counts"]["returned"] == 2 * len(objects), seconds=60)
            assert node.status()["counts"]["failed"] == 0
        data = Settings().model_copy(update={"data_dir": disk.folder / "data"})
        check_integrity(data)
        assert list(data.spool_dir.rglob("*.part")) == []
        assert list(data.results_dir.rglob("*.part")) == []
        assert len(list(data.spool_dir.rglob("*.dcm"))) == len(objects)
