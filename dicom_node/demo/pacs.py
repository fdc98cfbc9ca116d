"""A PACS for the demonstration: Debian's Orthanc where it is installed, else a storage SCP of our own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from pydicom import Dataset, dcmread
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification

from dicom_node.demo import orthanc
from dicom_node.peers import Peer
from dicom_node.wire import RESULTS

AE_TITLE: Final = "PACS"


class Pacs(Protocol):
    """Where results go, and where they can be looked at."""

    @property
    def name(self) -> str:
        """What it is, for people."""

    @property
    def peer(self) -> Peer:
        """Where it listens."""

    def objects(self) -> list[Dataset]:
        """All that it has stored."""


class EmbeddedPacs:
    """A storage SCP that keeps what it gets as files."""

    name = "an embedded storage SCP, for Orthanc is not installed"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        entity = AE(ae_title=AE_TITLE)
        entity.add_supported_context(Verification)
        for sop_class in RESULTS:
            entity.add_supported_context(sop_class)
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        self.peer = Peer(AE_TITLE, "127.0.0.1", self.server.server_address[1])

    def _store(self, event: evt.Event) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        # Numbered, not named by the UID: an object that came twice must be seen twice.
        dataset.save_as(self._folder / f"{len(list(self._folder.iterdir())):04}.dcm", enforce_file_format=True)
        return 0x0000

    def objects(self) -> list[Dataset]:
        """All that it has stored, each as often as it came."""
        return [dcmread(path) for path in sorted(self._folder.iterdir())]


@contextmanager
def running_pacs(folder: Path, node: Peer) -> Iterator[Pacs]:
    """Run a PACS on free ports of the loopback address; its files and its log go into `folder`.

    node: to which it may report storage commitment.
    """
    if orthanc.program() is not None:
        with orthanc.running_orthanc(folder, ae_title=AE_TITLE, modalities=[node]) as pacs:
            yield pacs
    else:
        embedded = EmbeddedPacs(folder / "objects")
        try:
            yield embedded
        finally:
            embedded.server.shutdown()
