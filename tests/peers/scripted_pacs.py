"""A storage SCP that answers as a test tells it, for what a healthy PACS never does."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification

from dicom_node.settings import Peer
from dicom_node.wire import RADIOGRAPHS, RESULTS


@dataclass
class ScriptedPacs:
    """What the SCP got, and what it says next."""

    peer: Peer
    answer: Callable[[Dataset], int] = lambda _: 0x0000
    stored: list[Dataset] = field(default_factory=list)
    offered: list[str] = field(default_factory=list)
    abort: bool = False

    def uids(self) -> list[str]:
        return [str(ds.SOPInstanceUID) for ds in self.stored]


@contextmanager
def scripted_pacs(
    *, ae_title: str = "SCRIPTED", require_called: bool = True, port: int = 0, compression: Sequence[UID] = ()
) -> Iterator[ScriptedPacs]:
    """Run the SCP on a free port of the loopback address. compression: transfer syntaxes that it also takes."""
    ae = AE(ae_title=ae_title)
    ae.require_called_aet = require_called
    ae.add_supported_context(Verification)
    for sop_class in (*RADIOGRAPHS, *RESULTS):
        ae.add_supported_context(sop_class, [ExplicitVRLittleEndian, ImplicitVRLittleEndian, *compression])

    def store(event: evt.Event) -> int:
        ds = event.dataset
        pacs.offered.append(str(ds.SOPInstanceUID))
        if pacs.abort:
            event.assoc.abort()
            return 0x0110
        status = pacs.answer(ds)
        if status in (0x0000, 0xB000):
            ds.file_meta = event.file_meta
            pacs.stored.append(ds)
        return status

    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    assert server is not None
    pacs = ScriptedPacs(Peer(ae_title, "127.0.0.1", server.socket.getsockname()[1]))
    try:
        yield pacs
    finally:
        server.shutdown()
