"""Who may enter, and who makes room when the house is full. Pure: no sockets, no clock."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address, ip_address
from typing import Final, Protocol, TypeVar

from dicom_node.peers import Caller
from dicom_node.settings import Settings

LONGEST_UNDISTURBED_PAUSE: Final = 1.0
"""Seconds without a message after which an association may have to make room for one that waits."""


class Rejection(Enum):
    """Result, source and reason of an A-ASSOCIATE-RJ. Source: PS3.8 table 9-21."""

    CALLING_AE = (1, 1, 3)
    CALLED_AE = (1, 1, 7)
    LOCAL_LIMIT = (2, 3, 2)

    @property
    def in_words(self) -> str:
        """For the log and the audit trail."""
        return {
            Rejection.CALLING_AE: "calling AE title not recognised",
            Rejection.CALLED_AE: "called AE title not recognised",
            Rejection.LOCAL_LIMIT: "local limit exceeded",
        }[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an A-ASSOCIATE-RQ says, and where it comes from; address as `plain_address` writes it."""

    called_ae: str
    calling_ae: str
    address: str


class Inside(Protocol):
    """What has to be known of a peer that is served, or wants to be."""

    address: str
    known: bool

    @property
    def idle(self) -> float:
        """Seconds since its last message ended; 0 in the middle of one that comes as it should."""


_Peer = TypeVar("_Peer", bound=Inside)


def plain_address(address: str) -> str:
    """An IP address in one way of writing; an IPv4 one in IPv6 clothes becomes itself."""
    parsed = ip_address(address.partition("%")[0])
    return str(parsed.ipv4_mapped or parsed) if isinstance(parsed, IPv6Address) else str(parsed)


class Admission:
    """The rules of the door."""

    def __init__(self, settings: Settings, *, addresses_of_destinations: frozenset[str]) -> None:
        """addresses_of_destinations: IP addresses of peers that get results; they are known."""
        self._ae_title = settings.ae_title
        listed = tuple(Caller.parse(text) for text in settings.calling_aes)
        titles = {caller.ae_title for caller in listed}
        # Destinations report storage commitment, so they may call, too; but not if the list has them elsewhere.
        reporters = {peer.ae_title for destination in settings.destinations for peer in destination.peers} - titles
        self._callers = (*listed, *map(Caller, sorted(reporters))) if listed else ()
        self._destinations = addresses_of_destinations
        self._maximum = settings.maximum_associations
        self._for_one_address = settings.maximum_associations_per_address
        can_be_known = bool(self._callers or self._destinations)
        self._for_strangers = max(1, self._maximum - settings.reserved_associations) if can_be_known else self._maximum

    def judge(self, request: Request) -> Rejection | None:
        """Why `request` is rejected, whatever the room; None if it may enter. Source: PS3.8 9.3.4."""
        if request.called_ae != self._ae_title:
            return Rejection.CALLED_AE
        if self._callers and not self._on_the_list(request):
            return Rejection.CALLING_AE
        return None

    def knows(self, request: Request) -> bool:
        """Whether places are kept for this peer."""
        return request.address in self._destinations or self._on_the_list(request)

    def _on_the_list(self, request: Request) -> bool:
        return any(
            caller.ae_title == request.calling_ae and caller.may_be_at(request.address) for caller in self._callers
        )

    def has_room(self, newcomer: Inside, inside: Sequence[Inside]) -> bool:
        """Whether `newcomer` can be served beside `inside`."""
        if newcomer.known:
            return len(inside) < self._maximum
        strangers = sum(not other.known for other in inside)
        from_there = sum(other.address == newcomer.address for other in inside)
        return len(inside) < self._maximum and strangers < self._for_strangers and from_there < self._for_one_address

    def who_makes_room(self, newcomer: Inside, inside: Sequence[_Peer]) -> _Peer | None:
        """Whom of `inside` to hang up on, so that `newcomer` can be served; None if everybody is at work.

        Nobody in the middle of a message or shortly after one; for a stranger, no known peer; first of the address
        that has the most associations, then who has been idle longest.
        """
        crowd = Counter(other.address for other in inside)
        from_there = [other for other in inside if other.address == newcomer.address]
        if not newcomer.known and len(from_there) >= self._for_one_address:
            inside = from_there
        candidates = [
            other for other in inside if other.idle >= LONGEST_UNDISTURBED_PAUSE and (newcomer.known or not other.known)
        ]
        return max(candidates, key=lambda other: (not other.known, crowd[other.address], other.idle), default=None)
