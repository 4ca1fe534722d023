"""A private certificate authority for a gateway and its clients, as files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests import certificates
from tests.gateways.processes import installed


@dataclass(frozen=True)
class Certificate:
    """PEM files: the certificate, its key, and both in one file (``whole``), as haproxy and httpx need it."""

    certificate: Path
    key: Path
    whole: Path


class Authority:
    """An authority named ``name``; ``root`` is its own certificate, for CA_BUNDLE."""

    def __init__(self, folder: Path, name: str) -> None:
        installed("openssl")
        self._folder = folder
        self._name = name
        self._authority = certificates.Authority(folder, name)
        self.root = Path(self._authority.certificate)

    def server(self, name: str = "server") -> Certificate:
        """Issue a certificate for localhost and 127.0.0.1."""
        return self._issue(name, "server")

    def client(self, name: str = "client", passphrase: str = "") -> Certificate:
        """Issue a client certificate; the passphrase, if any, encrypts its key."""
        return self._issue(name, "client", passphrase)

    def _issue(self, name: str, kind: str, passphrase: str = "") -> Certificate:
        name = f"{self._name}-{name}"
        certificate, key = map(Path, self._authority.issue(name, kind, passphrase=passphrase or None))
        whole = self._folder / f"{name}-whole.pem"
        whole.write_bytes(certificate.read_bytes() + key.read_bytes())
        return Certificate(certificate, key, whole)
