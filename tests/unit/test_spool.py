import hashlib
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from dicom_node.errors import OutOfResources
from dicom_node.spool import Kept, Spool, Temporary

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
PREFIX = b"\0" * 128 + b"DICM"


def make(root: Path, *, minimum_free_bytes: int = 0) -> Spool:
    return Spool(root / "spool", minimum_free_bytes=minimum_free_bytes)


def receive(spool: Spool, *pieces: bytes, syntax: str = IMPLICIT) -> Temporary:
    temporary = spool.receive(transfer_syntax_uid=syntax, prefix=PREFIX)
    for piece in pieces:
        temporary.write(piece)
    return temporary


def keep(spool: Spool, *pieces: bytes, syntax: str = IMPLICIT) -> Kept:
    temporary = receive(spool, *pieces, syntax=syntax)
    kept = spool.keep(temporary)
    temporary.discard()
    return kept


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the kernel refuse to write files beyond `size`, as it does when a quota or a disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_kept_object_lies_under_the_digest_of_its_transfer_syntax_and_data_set(tmp_path: Path) -> None:
    spool = make(tmp_path)

    kept = keep(spool, b"data ", b"set")

    digest = hashlib.sha256(IMPLICIT.encode() + b"\0" + b"data set").hexdigest()
    assert kept == Kept(digest=digest, path=tmp_path / "spool" / digest[:2] / f"{digest}.dcm", size=8)
    assert kept.path.read_bytes() == PREFIX + b"data set"
    assert spool.path(digest) == kept.path
    assert list(spool.incoming.iterdir()) == []


def test_the_same_data_set_in_another_transfer_syntax_is_another_object(tmp_path: Path) -> None:
    spool = make(tmp_path)

    assert keep(spool, b"same", syntax=IMPLICIT).digest != keep(spool, b"same", syntax=EXPLICIT).digest


def test_keeping_the_same_object_twice_leaves_one_file(tmp_path: Path) -> None:
    spool = make(tmp_path)

    first = keep(spool, b"same")
    second = keep(spool, b"sa", b"me")

    assert first == second
    assert list(spool.root.glob("??/*")) == [first.path]


def test_threads_that_keep_the_same_object_at_once_all_succeed(tmp_path: Path) -> None:
    spool = make(tmp_path)

    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda _: keep(spool, b"same" * 1000), range(32)))

    assert len(set(kept)) == 1
    assert len(list(spool.root.glob("??/*"))) == 1


def test_nobody_but_the_owner_reads_what_the_spool_holds(tmp_path: Path) -> None:
    spool = make(tmp_path)
    temporary = receive(spool, b"being received")
    kept = keep(spool, b"kept")

    assert stat.S_IMODE(temporary.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (spool.root, spool.incoming, kept.path.parent)} == {0o700}
    temporary.discard()


def test_a_discarded_object_leaves_nothing_and_may_be_discarded_again(tmp_path: Path) -> None:
    spool = make(tmp_path)
    temporary = receive(spool, b"half")

    temporary.discard()
    temporary.discard()

    assert [path for path in spool.root.rglob("*") if path.is_file()] == []


def test_discarding_after_keeping_leaves_the_kept_file(tmp_path: Path) -> None:
    kept = keep(make(tmp_path), b"kept")

    assert kept.path.is_file()


def test_little_free_space_is_out_of_resources_before_a_file_is_made(tmp_path: Path) -> None:
    spool = make(tmp_path, minimum_free_bytes=2**62)

    with pytest.raises(OutOfResources, match="Disk low"):
        spool.receive(transfer_syntax_uid=IMPLICIT, prefix=PREFIX)

    assert list(spool.incoming.iterdir()) == []


def test_a_write_that_the_disk_refuses_is_out_of_resources(tmp_path: Path) -> None:
    spool = make(tmp_path)
    temporary = receive(spool)

    with largest_file(100_000), pytest.raises(OutOfResources, match="cannot take"):
        temporary.write(b"x" * 200_000)

    temporary.discard()
    assert list(spool.incoming.iterdir()) == []


def test_a_buffer_that_the_disk_refuses_in_the_end_is_out_of_resources(tmp_path: Path) -> None:
    spool = make(tmp_path)
    temporary = receive(spool, b"x" * 1000)

    with largest_file(500), pytest.raises(OutOfResources, match="cannot keep"):
        spool.keep(temporary)

    temporary.discard()
    assert [path for path in spool.root.rglob("*") if path.is_file()] == []


def test_a_spool_that_cannot_be_made_is_out_of_resources(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file is in the way")

    with pytest.raises(OutOfResources, match="cannot be made"):
        make(tmp_path)


def test_the_sweep_removes_what_a_dead_process_left_and_keeps_what_a_live_one_receives(tmp_path: Path) -> None:
    spool = make(tmp_path)
    live = receive(spool, b"live")
    program = (
        "import os, sys; from pathlib import Path; from dicom_node.spool import Spool;"
        "t = Spool(Path(sys.argv[1]), minimum_free_bytes=0).receive(transfer_syntax_uid='1.2', prefix=b'x');"
        "t.flush(); print(t.path, flush=True); os.kill(os.getpid(), 9)"
    )
    left = Path(
        subprocess.run([sys.executable, "-c", program, spool.root], capture_output=True, text=True).stdout.strip()
    )
    assert left.is_file()

    assert make(tmp_path).sweep() == 1

    assert not left.exists()
    assert live.path.is_file()
    live.discard()


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 65, "0" * 62 + "/x"])
def test_only_a_digest_names_a_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a digest"):
        make(tmp_path).path(name)
