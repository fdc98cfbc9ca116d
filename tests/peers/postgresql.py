"""A PostgreSQL server of the test's own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dicom_node.demo.orthanc import free_port


@contextmanager
def running_postgresql() -> Iterator[str]:
    """Run a server with an empty database on a free port of the loopback address; returns the SQLAlchemy URL."""
    programs = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
    assert programs is not None, "PostgreSQL is missing: install the Debian package postgresql"
    # It refuses to be root; the package brings a user for it.
    user = "postgres" if os.geteuid() == 0 else None
    folder, port = Path(tempfile.mkdtemp(prefix="postgresql-")), free_port()
    if user:
        shutil.chown(folder, user)

    def run(program: str, *arguments: str) -> None:
        subprocess.run([programs / program, *arguments], user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    control = ("pg_ctl", "--pgdata", str(folder / "data"), "--wait")
    try:
        run("initdb", "--pgdata", str(folder / "data"), "--auth", "trust", "--username", "node")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        run(*control, "--log", str(folder / "log"), "--options", options, "start")
        run("createdb", "--host", "127.0.0.1", "--port", str(port), "--username", "node", "journeys")
        yield f"postgresql+psycopg://node@127.0.0.1:{port}/journeys"
    finally:
        run(*control, "--mode", "immediate", "stop")
        shutil.rmtree(folder)
