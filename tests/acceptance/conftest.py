"""Listeners on free ports."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dicom_node.journey.database import prepare
from dicom_node.journey.queue import JourneyQueue
from dicom_node.reception.listener import Listener
from dicom_node.spool import Spool
from tests.listening import Node, settings_in


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an empty database, made once, for the migrations take longer than the tests."""
    folder = tmp_path_factory.mktemp("prepared")
    prepare(settings_in(folder))
    return folder / "data"


@pytest.fixture
def start(tmp_path: Path, prepared: Path) -> Iterator[Any]:
    running: list[tuple[Listener, JourneyQueue]] = []

    def begin(**changes: Any) -> Node:
        settings = settings_in(tmp_path, **changes)
        shutil.copytree(prepared, settings.data_dir)
        spool = Spool(settings.spool_dir, minimum_free_bytes=int(settings.minimum_free_megabytes * 1e6))
        queue = JourneyQueue(settings)
        listener = Listener(settings, queue, spool)
        listener.__enter__()
        running.append((listener, queue))
        return Node(settings=settings, port=listener.port, spool=spool)

    yield begin
    for listener, queue in running:
        listener.__exit__(None, None, None)
        queue.close()
