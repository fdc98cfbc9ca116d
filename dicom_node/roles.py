"""A process of the node: listener, worker, returner or pages. `python -m dicom_node.roles ROLE NAME [SUPERVISOR]`.

Started by `covid-xnet run`, or in place of `covid-xnet listen|work|return`, so that a role carries nothing of the
command line. It expects a database that is prepared.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from enum import StrEnum
from types import ModuleType
from typing import Final, NoReturn

_PR_SET_PDEATHSIG: Final = 1

ONE_THREAD: Final[Mapping[str, str]] = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)
"""Environment of each role: a process is one core, and arenas for more threads would only cost memory."""

_NOT_FOR_THE_LISTENER: Final = (
    "numpy",
    "PIL",
    "pylibjpeg",
    "libjpeg",
    "openjpeg",
    "rle",
    "jpeg_ls",
    "requests",
    "rich",
    "tqdm",
)

_NOT_FOR_A_WORKER: Final = ("openvino.tools.ovc", "openvino_telemetry")
"""Converts networks, and counts who does; a worker runs those that were converted."""


class Role(StrEnum):
    """What a process of the node does."""

    LISTEN = "listen"
    WORK = "work"
    RETURN = "return"
    WEB = "web"


def command_line(role: Role, name: str, *, supervisor: int | None = None) -> list[str]:
    """The command that becomes `role`; with the process id of a supervisor, it ends when that one does."""
    return [sys.executable, "-m", "dicom_node.roles", role, name, *([] if supervisor is None else [str(supervisor)])]


def become(role: Role, name: str) -> NoReturn:
    """Turn this process into `role`."""
    os.execve(sys.executable, command_line(role, name), {**os.environ, **ONE_THREAD})


def _end_with(supervisor: int) -> None:
    # However the supervisor dies, the kernel then ends this process, too: nobody else would. At once, for what matters
    # is durable, and the next supervisor needs the port and the locks.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it died before we asked
        os._exit(1)


def main() -> None:
    """Be the role that the command line names, until SIGTERM; an error of the node is one line and exit code 1 or 2."""
    role, name = Role(sys.argv[1]), sys.argv[2]
    if len(sys.argv) > 3:
        _end_with(supervisor=int(sys.argv[3]))
    if role is Role.LISTEN:
        # The listener never touches a pixel: without numpy and the decoders it is small, and no bug can make it decode.
        sys.modules.update(dict.fromkeys(_NOT_FOR_THE_LISTENER))  # type: ignore[arg-type]
        # Nor does it care for the names of private elements, which are two megabytes.
        names = ModuleType("pydicom._private_dict")
        names.__dict__["private_dictionaries"] = {}
        sys.modules[names.__name__] = names

    if role is Role.WORK:
        sys.modules.update(dict.fromkeys(_NOT_FOR_A_WORKER))  # type: ignore[arg-type]

    from dicom_node import logs
    from dicom_node.errors import ConfigurationError, NodeError
    from dicom_node.settings import load_settings

    os.umask(0o077)  # what a role writes is for its own eyes
    code = 0
    try:
        settings = load_settings()
        logs.set_up(settings.log_format)
        match role:
            case Role.LISTEN:
                from dicom_node.reception.listener import serve

                serve(settings)
            case Role.WORK:
                # Where cores are scarce, who waits for an answer comes first.
                os.nice(5)
                from dicom_node.journey.work import read_journeys

                read_journeys(settings, name)
            case Role.RETURN:
                from dicom_node.journey.work import return_journeys

                if settings.alert_urls:
                    from dicom_node.alerts.watchman import watch_in_background

                    watch_in_background(settings)
                return_journeys(settings, name)
            case Role.WEB:
                from dicom_node.web.server import serve as serve_pages

                serve_pages(settings)
    except NodeError as e:
        sys.stderr.write(f"covid-xnet {role}: {e}\n")
        code = 2 if isinstance(e, ConfigurationError) else 1
    sys.stderr.flush()
    # Without waiting for idle threads of the libraries: everything that matters is committed.
    os._exit(code)


if __name__ == "__main__":
    main()
