"""A listener in this process, or as one of its own, and a peer that associates with it."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pydicom import Dataset
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
)
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification

from dicom_node.settings import Settings
from dicom_node.spool import Spool
from dicom_node.wire import RADIOGRAPHS, RESULTS
from tests.phantom import make_cr


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    settings: Settings
    port: int
    spool: Spool

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.settings.data_dir / "covid-xnet.sqlite") as database:
            return database.execute(query).fetchall()

    @property
    def files(self) -> list[Path]:
        """All that lies in the spool, kept or on its way."""
        return [path for path in self.spool.root.rglob("*") if path.is_file()]


def settings_in(folder: Path, **changes: Any) -> Settings:
    return Settings(
        **{"data_dir": folder / "data", "port": 0, "minimum_free_megabytes": 0, "network_timeout": 5, **changes}
    )


def associate(
    node: Node, *, calling: str = "MODALITY", called: str = "COVIDXNET", syntax: UID = ExplicitVRLittleEndian
) -> Association:
    entity = AE(ae_title=calling)
    entity.add_requested_context(Verification)
    for sop_class in (*RADIOGRAPHS, *RESULTS):
        entity.add_requested_context(sop_class, syntax)
    return entity.associate("127.0.0.1", node.port, ae_title=called)


def send(node: Node, dataset: Dataset) -> Dataset:
    association = associate(node, syntax=dataset.file_meta.TransferSyntaxUID)
    assert association.is_established
    answer: Dataset = association.send_c_store(dataset)
    association.release()
    return answer


def assert_serves(node: Node) -> None:
    assert send(node, make_cr()).Status == 0x0000


def wait_until(condition: Any, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def run_listener(
    settings: Settings, *, stderr: int | IO[str] = subprocess.PIPE, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dicom_node.roles", "listen", "listener"],
        env={
            "PATH": "/usr/bin:/bin",
            "COVIDXNET_PORT": str(settings.port),
            "COVIDXNET_DATA_DIR": str(settings.data_dir),
            **(environment or {}),
        },
        stderr=stderr,
        text=True,
    )
