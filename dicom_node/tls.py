"""TLS for associations, by the BCP 195 profile: TLS 1.2 or 1.3, authenticated encryption with forward secrecy alone.

Source: PS3.15 B.12 (BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile).
"""

import ssl
import time
from pathlib import Path
from typing import Final

from dicom_node.errors import ConfigurationError
from dicom_node.logs import log
from dicom_node.peers import Tls

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"
"""Of TLS 1.2. RFC 9325, section 4.2; those of TLS 1.3 are all of this kind."""

_LOOK_AGAIN_SECONDS: Final = 1.0


def client_context(tls: Tls) -> ssl.SSLContext:
    """For associations that the node opens; shows the node's certificate, if there is one, to a peer that asks.

    The peer's certificate must come from `tls.ca`, or without one from an authority that the system trusts.
    Raises ConfigurationError if a file cannot be used.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, tls)
    context.check_hostname = tls.check_host
    if not tls.ca:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def server_context(tls: Tls) -> ssl.SSLContext:
    """For associations that peers open; with `tls.ca` they must show a certificate of it.

    Raises ConfigurationError if a file cannot be used.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, tls)
    if tls.ca:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _context(protocol: int, tls: Tls) -> ssl.SSLContext:
    if bool(tls.certificate) != bool(tls.key):
        raise ConfigurationError("tls_certificate and tls_key belong together: one of them is missing.")
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    try:
        if tls.certificate:
            # Without the callback OpenSSL would ask at the terminal for the password of a key that has one.
            context.load_cert_chain(tls.certificate, tls.key, password=lambda: "")
        if tls.ca:
            context.load_verify_locations(tls.ca)
    except OSError as e:  # an ssl.SSLError is one
        raise ConfigurationError(
            f"The TLS files cannot be used: {getattr(e, 'reason', None) or e.strerror or type(e).__name__}.",
            hint="Check tls_certificate, tls_key (PEM, no password) and tls_ca, and that the node may read them.",
        ) from None
    return context


class RenewedContext:
    """The context of the listener, made anew when one of its files has changed."""

    def __init__(self, tls: Tls) -> None:
        """Raises ConfigurationError if a file cannot be used."""
        self._tls = tls
        self._seen = self._state()
        self._context = server_context(tls)
        self._looked = time.monotonic()

    def current(self) -> ssl.SSLContext:
        """The context for the next connection; with the old files as long as the new ones cannot be used."""
        now = time.monotonic()
        if now - self._looked < _LOOK_AGAIN_SECONDS:
            return self._context
        self._looked = now
        state = self._state()
        if state != self._seen:
            self._seen = state
            try:
                self._context = server_context(self._tls)
                log.info("certificate reloaded")
            except ConfigurationError as e:
                log.error("certificate not reloaded", reason=e.args[0])
        return self._context

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(Path(file)) for file in (self._tls.certificate, self._tls.key, self._tls.ca) if file)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
