"""Send files to a peer as a modality would: DICOM as it is, a plain image wrapped as synthetic CR."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicom_node.peers import Peer, Tls
from dicom_node.returns.returner import Sender
from dicom_node.synthetic import wrap
from dicom_node.wire import COMPUTED_RADIOGRAPHY
from pipeline.errors import UnreadableRadiograph


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of a file. `problem` is empty if the peer took it; the UID is "" if it never got so far."""

    file: Path
    sop_instance_uid: str = ""
    problem: str = ""


def files_in(paths: Sequence[Path]) -> Iterator[Path]:
    """`paths`, and the files of those that are folders, in the order of their names."""
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.is_file())
        else:
            yield path


def send_files(
    peer: Peer, files: Sequence[Path], *, calling_ae: str, timeout: float, maximum_pixels: int, tls: Tls | None = None
) -> Iterator[Sent]:
    """Send `files` on one association, and tell of each as it goes.

    maximum_pixels: of a plain image. Raises PeerUnreachable if the peer is not there, or goes away.
    """
    kinds: dict[Path, tuple[UID, UID]] = {}
    for file in dict.fromkeys(files):
        try:
            kinds[file] = _kind(file)
        except (InvalidDicomError, OSError, AttributeError, ValueError) as e:
            yield Sent(file=file, problem=f"is not a DICOM file that can be sent: {e}")
    if not kinds:
        return
    with Sender(peer, kinds.values(), calling_ae=calling_ae, timeout=timeout, tls=tls) as sender:
        for file in kinds:
            try:
                dataset = _object(file, maximum_pixels)
                answer = sender.send(dataset)
            except (UnreadableRadiograph, OSError, ValueError) as e:
                yield Sent(file=file, problem=f"was not sent: {e}")
                continue
            problem = "" if answer.delivered else f"was refused: {answer.in_words}"
            yield Sent(file=file, sop_instance_uid=str(dataset.SOPInstanceUID), problem=problem)


def _is_plain(file: Path) -> bool:
    return file.suffix.lower() in (".png", ".jpg", ".jpeg")


def _kind(file: Path) -> tuple[UID, UID]:
    if _is_plain(file):
        return COMPUTED_RADIOGRAPHY, ExplicitVRLittleEndian
    meta = dcmread(file, specific_tags=["SOPClassUID"], stop_before_pixels=True)
    return meta.SOPClassUID, meta.file_meta.TransferSyntaxUID


def _object(file: Path, maximum_pixels: int) -> Dataset:
    return wrap(file, maximum_pixels=maximum_pixels) if _is_plain(file) else dcmread(file)
