"""Who the node talks to: AE titles, and where they are."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, Self

_PEER: Final = re.compile(r"(?P<ae_title>[^@]+)@(?P<host>\[[^\]]+\]|[^:@\s]+):(?P<port>\d{1,5})")


def parse_ae_title(text: str) -> str:
    """Check an application entity title.

    Returns `text` without the spaces around it.
    Raises ValueError unless it has 1 to 16 printable ASCII characters and no backslash (PS3.5 table 6.2-1, AE).
    """
    stripped = text.strip(" ")
    if not 1 <= len(stripped) <= 16 or not stripped.isascii() or not stripped.isprintable() or "\\" in stripped:
        raise ValueError(f"{text!r} is not an AE title: 1 to 16 ASCII characters, no backslash")
    return stripped


@dataclass(frozen=True, slots=True)
class Peer:
    """A DICOM peer, written `AET@host:port`, such as `PACS@10.1.2.3:104` or `PACS@[::1]:4242`."""

    ae_title: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read `AET@host:port`; raises ValueError that says what is wrong."""
        if isinstance(text, cls):
            return text
        match = _PEER.fullmatch(text.strip()) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"{text!r} is not a peer: write it AET@host:port, such as PACS@10.1.2.3:104")
        port = int(match["port"])
        if not 1 <= port <= 65535:
            raise ValueError(f"{text!r} has no valid port: 1 to 65535")
        return cls(parse_ae_title(match["ae_title"]), match["host"].strip("[]"), port)

    def __str__(self) -> str:
        return f"{self.ae_title}@{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who may send to the node, written `AET`, or `AET@address` where it is bound to an address or a network."""

    ae_title: str
    network: IPv4Network | IPv6Network | None = None

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read `AET`, `AET@10.1.2.3` or `AET@10.1.2.0/24`; raises ValueError that says what is wrong."""
        if not isinstance(text, str):
            raise ValueError(f"{text!r} is not an AE title")
        title, at, address = text.strip().rpartition("@") if "@" in text else (text, "", "")
        if not at:
            return cls(parse_ae_title(title))
        try:
            return cls(parse_ae_title(title), ip_network(address.strip("[]")))
        except ValueError:
            raise ValueError(
                f"{text!r} is not AET@address: write CT1@10.1.2.3, or CT1@10.1.2.0/24 for a network"
            ) from None

    def may_be_at(self, address: str) -> bool:
        """Whether it may call from this IP address."""
        return self.network is None or ip_address(address) in self.network

    def __str__(self) -> str:
        if self.network is None:
            return self.ae_title
        one = self.network.num_addresses == 1
        return f"{self.ae_title}@{self.network.network_address if one else self.network}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """PEM files: the node's own certificate and key, and the authorities that peers' certificates come from."""

    certificate: str = ""
    key: str = ""
    ca: str = ""
    check_host: bool = True
