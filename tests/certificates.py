"""Certificate authorities for the tests, created with the openssl program."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

_SIGNS = "keyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
_EXTENSIONS = {
    "ca": f"basicConstraints=critical,CA:TRUE\n{_SIGNS}",
    "lax ca": f"basicConstraints=CA:TRUE\n{_SIGNS}",
    "server": "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n"
    "authorityKeyIdentifier=keyid\n",
    "elsewhere": "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:elsewhere.example\n"
    "authorityKeyIdentifier=keyid\n",
    "client": "extendedKeyUsage=clientAuth\nauthorityKeyIdentifier=keyid\n",
}


class Authority:
    """A certificate authority in ``folder``; ``certificate`` is the path of its PEM file."""

    def __init__(self, folder: Path, name: str = "ca", *, kind: str = "ca") -> None:
        if shutil.which("openssl") is None:
            pytest.skip("the openssl program is not installed")
        self.folder = folder
        self.name = name
        folder.mkdir(exist_ok=True)
        self.certificate, self.key = self._made(name, kind)

    def issue(
        self, name: str, kind: str = "client", *, days: int = 2, passphrase: str | None = None
    ) -> tuple[str, str]:
        """The paths of a certificate (expired if ``days`` is negative) and of its key."""
        return self._made(name, kind, days=days, passphrase=passphrase, signed_by=self.name)

    def server(self, version: ssl.TLSVersion, *, client_ca: str | None) -> ssl.SSLContext:
        """A server's context for one TLS version; requires a client certificate if ``client_ca`` is given."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(f"server-{version.name}", "server"))
        context.minimum_version = context.maximum_version = version
        if client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cafile=client_ca)
        return context

    def _made(
        self,
        name: str,
        kind: str,
        *,
        days: int = 2,
        passphrase: str | None = None,
        signed_by: str | None = None,
    ) -> tuple[str, str]:
        extensions = self.folder / f"{name}.cnf"
        extensions.write_text(_EXTENSIONS[kind])
        hidden = ["-aes256", "-pass", f"pass:{passphrase}"] if passphrase else []
        self._openssl(
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            *hidden,
            "-out",
            f"{name}.key",
        )
        unlock = ["-passin", f"pass:{passphrase}"] if passphrase else []
        self._openssl(
            "req", "-new", "-key", f"{name}.key", *unlock, "-subj", f"/CN={name}", "-out", f"{name}.csr"
        )
        signer = (
            ["-CA", f"{signed_by}.pem", "-CAkey", f"{signed_by}.key", "-CAcreateserial"]
            if signed_by
            else ["-signkey", f"{name}.key"]
        )
        self._openssl(
            "x509", "-req", "-in", f"{name}.csr", *signer, "-days", str(days),
            "-extfile", extensions.name, "-out", f"{name}.pem",
        )  # fmt: skip
        return str(self.folder / f"{name}.pem"), str(self.folder / f"{name}.key")

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True, timeout=60)
