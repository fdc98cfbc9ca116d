"""Peers that are added and removed by command: a file in data_dir, which a running node takes up at once."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.audit import Kind
from dicom_node.destination import Destination
from dicom_node.errors import ConfigurationError, NodeError
from dicom_node.journey.audit_head import open_trail
from dicom_node.journey.database import open_engine, prepare
from dicom_node.journey.ledger import OPEN_STATES, ReturnRow
from dicom_node.peers import Caller
from dicom_node.settings import FILE_SUFFIX, PREFIX, Settings, load_settings
from dicom_node.site_file import as_toml, read_site_file, read_toml, site_file

_HEAD: Final = "# Written by `covid-xnet peers`. What stands here takes the place of the same key in covid-xnet.toml.\n"


class NoSuchPeer(NodeError):
    """The list does not have it, or has several of that name."""

    hint = "`covid-xnet peers list` shows them."


class ResultsWait(NodeError):
    """A destination that speaks TLS cannot be forgotten while results wait for it."""

    hint = "Wait until `covid-xnet status` shows none, or set them aside on their pages."


def add_destination(plain: str | dict[str, Any]) -> None:
    """Let a peer get results from the next reading on, or change what it gets.

    plain: as in the settings, `AET@host:port` or a table. Raises ConfigurationError if it cannot be one.
    """
    peer = Destination.model_validate({"peer": plain} if isinstance(plain, str) else {"peer": plain["peer"]}).peer

    def add(settings: Settings) -> list[Any]:
        return [*(each.plain for each in settings.destinations if each.peer != peer), plain]

    _change("destinations", add, destination=str(peer), added=True)


def remove_destination(name: str) -> str:
    """Give results of later readings to it no more; returns it.

    name: `AET@host:port`, or the AE title if there is one of that title. Raises NoSuchPeer; ResultsWait if results that
    wait for it would go there unencrypted, because nothing would say any more that it speaks TLS.
    """
    found = [d for d in load_settings().destinations if name in (str(d.peer), d.peer.ae_title)]
    if len(found) != 1:
        raise NoSuchPeer(f"{len(found) or 'No'} destinations are called {name!r}.")
    removed = str(found[0].peer)

    def remove(settings: Settings) -> list[Any]:
        if found[0].tls and (waiting := _waiting(settings, removed)):
            raise ResultsWait(f"{waiting} results wait for {removed}, and would go there without TLS.")
        return [each.plain for each in settings.destinations if str(each.peer) != removed]

    _change("destinations", remove, destination=removed, added=False)
    return removed


def _waiting(settings: Settings, destination: str) -> int:
    engine = open_engine(settings)
    with Session(engine) as session:
        of_it = sa.select(sa.func.count()).where(ReturnRow.destination == destination, ReturnRow.state.in_(OPEN_STATES))
        found = session.scalar(of_it)
    engine.dispose()
    return found or 0


def add_sender(caller: Caller) -> None:
    """Let somebody send to the node; who is on the list already stays there once."""

    def add(settings: Settings) -> list[Any]:
        return list(dict.fromkeys([*settings.calling_aes, str(caller)]))

    _change("calling_aes", add, sender=str(caller), added=True)


def remove_sender(caller: Caller, *, open_to_all: bool) -> None:
    """Let somebody send no more.

    open_to_all: whether the list may become empty, with which everybody may send.
    Raises NoSuchPeer; ConfigurationError if it is the last and `open_to_all` is not set.
    """

    def remove(settings: Settings) -> list[Any]:
        rest = [each for each in settings.calling_aes if each != str(caller)]
        if len(rest) == len(settings.calling_aes):
            raise NoSuchPeer(f"No sender is called {str(caller)!r}.")
        if not rest and not open_to_all:
            raise ConfigurationError(
                f"{caller} is the last sender on the list, and without a list everybody may send.",
                hint="Add another first, or give --open-to-all.",
            )
        return rest

    _change("calling_aes", remove, sender=str(caller), added=False)


def _change(key: str, change: Callable[[Settings], list[Any]], **what: Any) -> None:
    for variable in (PREFIX + key.upper(), PREFIX + key.upper() + FILE_SUFFIX):
        if variable in (name.upper() for name in os.environ):
            raise ConfigurationError(
                f"{variable} is set, and wins over every file.", hint="Change it there, or remove the variable."
            )
    settings = load_settings()
    prepare(settings)
    with _alone(settings.data_dir):
        site = {**read_site_file(settings.data_dir), key: change(load_settings())}
        load_settings(site=site)  # that it is one: what is wrong is said before anything is written
        _write(site_file(settings.data_dir), site)
    engine = open_engine(settings)
    trail = open_trail(settings, engine, by="operator")
    trail.record(Kind.SECURITY_ALERT, alert="Network Configuration", **what)
    trail.close()
    engine.dispose()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two who change the list at once do so one after the other. Locks the folder itself: no file is left of it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, site: dict[str, Sequence[Any]]) -> None:
    """Put the file in its place as a whole, durably, in the name of the folder's owner."""
    owner = path.parent.stat()
    descriptor, name = tempfile.mkstemp(prefix=".site-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(_HEAD + "".join(f"{key} = {as_toml(list(value))}\n" for key, value in site.items()))
            file.flush()
            if os.geteuid() == 0:  # sudo must not lock the node out of its own settings
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            os.fsync(file.fileno())
        if read_toml(temporary) != site:
            raise ConfigurationError("The list cannot be written as TOML: a name has characters that it does not know.")
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
