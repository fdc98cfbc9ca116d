"""A modality that does what PS3.4 asks of it: it keeps an object until the node has acknowledged it."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydicom import Dataset
from pynetdicom import AE

from dicom_node.peers import Peer


@dataclass
class Modality:
    """What it sent, and how often it had to."""

    peer: Peer
    acknowledged: list[str] = field(default_factory=list)
    attempts: int = 0
    patience: float = 120.0
    """Seconds that it goes on with the objects of one `send`."""

    def send(self, objects: Sequence[Dataset]) -> None:
        """Send each object on an association of its own, again and again until it is acknowledged."""
        deadline = time.monotonic() + self.patience
        for dataset in objects:
            while not self._stored(dataset):
                assert time.monotonic() < deadline, "the node takes nothing any more"
                time.sleep(0.1)
            self.acknowledged.append(str(dataset.SOPInstanceUID))

    def send_in_background(self, objects: Sequence[Dataset]) -> threading.Thread:
        """Like `send`, while the test goes on."""
        thread = threading.Thread(target=self.send, args=(objects,), daemon=True)
        thread.start()
        return thread

    def _stored(self, dataset: Dataset) -> bool:
        self.attempts += 1
        entity = AE(ae_title="MODALITY")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = 10
        entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
        association = entity.associate(self.peer.host, self.peer.port, ae_title=self.peer.ae_title)
        if not association.is_established:
            return False
        try:
            answer = association.send_c_store(dataset)
        except RuntimeError:  # aborted meanwhile
            return False
        finally:
            if association.is_established:
                association.release()
        return "Status" in answer and answer.Status == 0x0000
