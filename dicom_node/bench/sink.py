"""The floor of a durable receive: TCP into a file, fsync of file and folder, one byte of answer.

`python -m dicom_node.bench.sink FOLDER` prints its port. Each object comes as its length, 8 bytes big-endian, and its
bytes; it is answered when it would survive a loss of power.
"""

import os
import socket
import struct
import sys
import threading
from itertools import count
from pathlib import Path

_LENGTH = struct.Struct(">Q")
_numbers = count()


def _serve(connection: socket.socket, folder: Path) -> None:
    buffer = memoryview(bytearray(2**20))
    entry = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    with connection:
        while header := connection.recv(_LENGTH.size, socket.MSG_WAITALL):
            (remaining,) = _LENGTH.unpack(header)
            with (folder / f"{next(_numbers)}").open("wb", buffering=0) as file:
                while remaining:
                    read = connection.recv_into(buffer[: min(remaining, len(buffer))])
                    if not read:
                        return
                    file.write(buffer[:read])
                    remaining -= read
                os.fsync(file.fileno())
            os.fsync(entry)
            connection.sendall(b"k")


def send(host: str, port: int, files: list[Path]) -> None:
    """Send `files` on one connection. Raises ConnectionError if the sink does not take one."""
    with socket.create_connection((host, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for path in files:
            with path.open("rb") as file:
                connection.sendall(_LENGTH.pack(path.stat().st_size))
                connection.sendfile(file)
            if connection.recv(1) != b"k":
                raise ConnectionError("the sink went away")


def main() -> None:
    """Serve until the end of the process."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=_serve, args=(connection, Path(sys.argv[1])), daemon=True).start()


if __name__ == "__main__":
    main()
