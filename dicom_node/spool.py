"""Where received objects lie: written once, named by their digest, never by what a peer says, never changed.

root/incoming/*.part     being received; locked by the listener that writes it
root/<aa>/<digest>.dcm   durable: the file and its folder entry are on disk
"""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

from dicom_node.errors import OutOfResources
from dicom_node.faultpoints import Point, reach


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A durable object. digest: 64 lower-case hexadecimal digits; size: bytes of its data set."""

    digest: str
    path: Path
    size: int


class Temporary:
    """A DICOM file that grows in the spool's incoming folder, hashed as it grows.

    It is locked as long as this process holds it, so that the sweep of another listener leaves it alone.
    """

    def __init__(self, folder: Path, *, transfer_syntax_uid: str, prefix: bytes) -> None:
        """Begin a file with `prefix`: preamble and file meta information, no part of the digest.

        Raises OutOfResources if the disk cannot take it.
        """
        # The same data set in another transfer syntax is other content: its pixels may differ.
        self._hash = hashlib.sha256(transfer_syntax_uid.encode() + b"\0")
        self.size = 0
        try:
            descriptor, name = tempfile.mkstemp(suffix=".part", dir=folder)
            self.path = Path(name)
            self._file = os.fdopen(descriptor, "wb")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._file.write(prefix)
        except OSError as e:
            raise OutOfResources(f"The spool cannot take the object: {e.strerror}.") from e

    @property
    def digest(self) -> str:
        """SHA-256 of the transfer syntax UID and the data set so far, in hexadecimal."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Append a piece of the data set; raises OutOfResources if the disk cannot take it."""
        try:
            self._file.write(data)
        except OSError as e:
            raise OutOfResources(f"The spool cannot take the object: {e.strerror}.") from e
        self._hash.update(data)
        self.size += len(data)
        reach(Point.OBJECT_BEGUN)

    def flush(self) -> None:
        """Let others who open `path` see all that was written; raises OutOfResources if the disk cannot take it."""
        try:
            self._file.flush()
        except OSError as e:
            raise OutOfResources(f"The spool cannot take the object: {e.strerror}.") from e

    def sync(self) -> None:
        """Bring the file to the disk; raises OSError."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def discard(self) -> None:
        """Remove the file unless it was kept, and close it; a second call does nothing."""
        if not self._file.closed:
            # Kept files have left the incoming folder. What cannot be removed now, the next sweep removes.
            with suppress(OSError):
                self.path.unlink()
            with suppress(OSError):
                self._file.close()


class Spool:
    """The folder of received objects; many processes may use one at the same time."""

    def __init__(self, root: Path, *, minimum_free_bytes: int) -> None:
        """Make the folders below `root` that are missing, all at once.

        So no object ever waits for the fsync of a new folder, and none can lose its folder in a crash.
        Raises OutOfResources if they cannot be made.
        """
        self.root = root
        self.incoming = root / "incoming"
        self._minimum_free_bytes = minimum_free_bytes
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.incoming, *(root / f"{number:02x}" for number in range(256))):
                folder.mkdir(mode=0o700, exist_ok=True)
            _fsync_folder(root)
            _fsync_folder(root.parent)
        except OSError as e:
            raise OutOfResources(f"The spool {root} cannot be made: {e.strerror}.") from e

    def require_room(self) -> None:
        """Raise OutOfResources if less than the minimum is free on the file system of the spool."""
        try:
            disk = os.statvfs(self.root)
        except OSError as e:
            raise OutOfResources(f"The spool cannot be reached: {e.strerror}.") from e
        free = disk.f_bavail * disk.f_frsize
        if free < self._minimum_free_bytes:
            raise OutOfResources(f"Disk low: {free // 2**20} MiB free, {self._minimum_free_bytes // 2**20} wanted.")

    def receive(self, *, transfer_syntax_uid: str, prefix: bytes) -> Temporary:
        """Begin to receive an object; raises OutOfResources if the disk cannot take it or is low."""
        self.require_room()
        return Temporary(self.incoming, transfer_syntax_uid=transfer_syntax_uid, prefix=prefix)

    def keep(self, temporary: Temporary) -> Kept:
        """Make a received object durable: file, name and folder are on disk when this returns.

        The same object kept twice is one file. Raises OutOfResources if the disk cannot take it.
        """
        digest, size = temporary.digest, temporary.size
        path = self.path(digest)
        try:
            temporary.sync()
            reach(Point.SPOOL_SYNCED)
            # Replaces a file of the same content at most; who reads the old one keeps reading it.
            temporary.path.rename(path)
            reach(Point.SPOOL_RENAMED)
            _fsync_folder(path.parent)
        except OSError as e:
            raise OutOfResources(f"The spool cannot keep the object: {e.strerror}.") from e
        return Kept(digest=digest, path=path, size=size)

    def path(self, digest: str) -> Path:
        """Where the object with this digest lies, or would lie; raises ValueError if it is no digest."""
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise ValueError("not a digest: 64 lower-case hexadecimal digits")
        return self.root / digest[:2] / f"{digest}.dcm"

    def remove(self, kept: Kept) -> None:
        """Let go of an object that the ledger did not take. What cannot be removed stays, and is nobody's."""
        with suppress(OSError):
            kept.path.unlink()

    def folders(self) -> Iterator[list[Path]]:
        """What is kept, one folder after the other; what is kept meanwhile may be among it or not."""
        for number in range(256):
            yield sorted((self.root / f"{number:02x}").glob("*.dcm"))

    def sweep(self) -> int:
        """Remove what listeners that no longer live were receiving when they ended; returns how many files."""
        removed = 0
        for path in self.incoming.iterdir():
            with suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                removed += 1
        return removed


def fingerprint(path: Path) -> tuple[str, int]:
    """Read a kept object: digest and size of its data set. They differ from its name and its row if a bit has rotted.

    Raises OSError if it cannot be read, ValueError if it does not begin as a DICOM file.
    """
    try:
        meta = read_file_meta_info(path)
        digest = hashlib.sha256(str(meta.TransferSyntaxUID).encode() + b"\0")
        begin = 132 + 12 + int(meta.FileMetaInformationGroupLength)  # preamble, and the element of the length itself
    except (InvalidDicomError, AttributeError, TypeError, NotImplementedError) as e:
        raise ValueError("no file meta information") from e
    size = 0
    with path.open("rb") as file:
        file.seek(begin)
        while piece := file.read(2**20):
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size


def is_being_kept(path: Path) -> bool:
    """Whether a listener still works on the object: it has its name, and its row may follow."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
