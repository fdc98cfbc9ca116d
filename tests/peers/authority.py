"""A certificate authority, made with OpenSSL for a test."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates for peers on the loopback address. `ca` is the PEM file that trusts it."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.ca, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        _openssl("req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "2", "-subj", f"/CN={name}",
                 "-keyout", self._key, "-out", self.ca)  # fmt: skip

    def sign(self, name: str, *, address: str = "127.0.0.1") -> Certificate:
        """A certificate for `address`."""
        made = Certificate(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        asked, more = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        more.write_text(f"subjectAltName=IP:{address}\n")
        _openssl("req", "-newkey", "rsa:2048", "-noenc", "-subj", f"/CN={name}", "-keyout", made.key, "-out", asked)
        _openssl("x509", "-req", "-in", asked, "-CA", self.ca, "-CAkey", self._key, "-CAcreateserial", "-days", "2",
                 "-extfile", more, "-out", made.certificate)  # fmt: skip
        return made


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
