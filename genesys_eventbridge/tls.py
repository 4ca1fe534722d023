"""TLS contexts: trusted certificates and our client certificate, both reloaded when their files change."""

from __future__ import annotations

import errno
import logging
import os
import re
import ssl
import stat
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from genesys_eventbridge.errors import Halted

logger = logging.getLogger("genesys_eventbridge")

#: Files are checked at most once in this many seconds, and only when a connection is opened.
LOOK_SECONDS = 1.0
#: A changed file that could not be loaded is tried again after this many seconds even if it stays the same:
#: the passphrase may come later, or this process may have been out of file descriptors.
RETRY_SECONDS = 60.0
#: For how many pairs of CA_BUNDLE and CLIENT_CERT a process keeps contexts.
REMEMBERED_CONTEXTS = 16
#: The host is out of some resource; the file or address is not at fault.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
#: TLS alerts about a client certificate (RFC 8446, section 6.2), in OpenSSL's words.
_CERTIFICATE_ALERT = re.compile(
    r"alert (certificate required|no certificate|bad certificate|unsupported certificate|certificate expired"
    r"|certificate revoked|certificate unknown|unknown ca|access denied)"
)

Passphrase = str | Callable[[], str]
#: Differs once a file has changed.
_Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True, repr=False)
class ClientCertificate:
    """CLIENT_CERT: the PEM files of our certificate (with its chain) and its key, and the key's passphrase.

    Without ``key``, the first file contains both. A callable passphrase is called each time the files are
    loaded.
    """

    certificate: str
    key: str | None = None
    passphrase: Passphrase | None = None

    @classmethod
    def of(cls, value: object) -> ClientCertificate | None:
        """From the setting: None, a path, or (certificate, key, passphrase) with the last two optional.

        Raises ValueError("what it must be"), without the value. Does not open the files.
        """
        if value is None or isinstance(value, cls):
            return value
        parts = tuple(value) if isinstance(value, (tuple, list)) else (value,)
        if not 1 <= len(parts) <= 3:
            raise ValueError(_SHAPE)
        certificate, key, passphrase = (*parts, None, None)[:3]
        if (
            passphrase is not None
            and not callable(passphrase)
            and not (isinstance(passphrase, str) and passphrase)
        ):
            raise ValueError(f"{_SHAPE}; the passphrase is non-empty text, or a callable that returns it")
        return cls(_path(certificate), None if key is None else _path(key), passphrase)

    def __repr__(self) -> str:
        return f"ClientCertificate({self.certificate!r}, {self.key!r})"

    @property
    def files(self) -> tuple[str, ...]:
        return (self.certificate,) if self.key is None else (self.certificate, self.key)

    def load_into(self, context: ssl.SSLContext) -> None:
        """Load both into ``context``. Raises Halted (config, or network if no file descriptor is free),
        naming CLIENT_CERT and the fix. Never prompts at the terminal; no message contains the passphrase."""
        passphrase = _PassphraseCallback(self.passphrase)
        try:
            for path in self.files:
                Path(path).open("rb").close()  # OpenSSL's error would not name the file
            context.load_cert_chain(self.certificate, self.key, passphrase)
        except (OSError, ValueError, TypeError) as error:
            failure = self._failure(error, passphrase)
        else:
            return
        raise failure  # raised here: its context has no error of a callable, which may contain the passphrase

    def _failure(self, error: Exception, passphrase: _PassphraseCallback) -> Halted:
        where = f"CLIENT_CERT {' and '.join(self.files)}"
        if not isinstance(error, (OSError, ssl.SSLError)) and not passphrase.asked:
            return Halted(f"{where}: {type(error).__name__}; use PEM files", kind="config")
        if passphrase.problem:
            return Halted(f"{where}: {passphrase.problem}", kind="config")
        if passphrase.asked:
            return Halted(f"{where}: the passphrase does not open the key; correct it", kind="config")
        if not isinstance(error, ssl.SSLError):
            return _unreadable(where, error, "check the path and its permissions")
        if error.reason == "KEY_VALUES_MISMATCH":
            return Halted(f"{where}: the key does not belong to this certificate; use its own", kind="config")
        return Halted(
            f"{where}: no certificate with its private key in PEM form ({error.reason or 'not PEM'}); use "
            "one file that contains both, or (certificate, key, passphrase)",
            kind="config",
        )


_SHAPE = (
    "the path of a PEM file with certificate and key, or (certificate, key, passphrase) with None for what "
    "is not needed"
)


def _path(value: object) -> str:
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(path, str) or not path or "\0" in path:
        raise ValueError(_SHAPE)
    return path


class _PassphraseCallback:
    """OpenSSL's passphrase callback; without one, OpenSSL would prompt and a worker would hang."""

    def __init__(self, passphrase: Passphrase | None) -> None:
        self._passphrase = passphrase
        self.asked = False
        self.problem = ""

    def __call__(self) -> str:
        self.asked = True
        value, self.problem = self._read()
        if self.problem:
            raise ValueError(self.problem)
        return value

    def _read(self) -> tuple[str, str]:
        """The passphrase and, if there is none, why; never a callable's own message, which may contain it."""
        if self._passphrase is None:
            return "", "the key is encrypted; give its passphrase as the third part of CLIENT_CERT"
        try:
            value = self._passphrase() if callable(self._passphrase) else self._passphrase
        except Exception as error:  # noqa: BLE001 - the code is the user's
            return "", f"the callable for the passphrase raised {type(error).__name__}"
        if not value or not isinstance(value, str):
            return "", "the callable for the passphrase must return non-empty text"
        return value, ""


def load_trust(context: ssl.SSLContext, ca_bundle: str) -> None:
    """Trust a PEM file or folder. Raises Halted: config, or network if no file descriptor is free."""
    try:
        if Path(ca_bundle).is_dir():
            context.load_verify_locations(capath=ca_bundle)
        else:
            context.load_verify_locations(cafile=ca_bundle)
    except (OSError, ValueError) as error:
        raise _unreadable(f"CA_BUNDLE {ca_bundle}", error, "use a PEM file or folder, or omit it") from error


def _unreadable(what: str, error: Exception, remedy: str) -> Halted:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno in EXHAUSTED:
        shortage = f"{what} cannot be read now: {error.strerror}; raise the limit (ulimit -n, LimitNOFILE)"
        return Halted(shortage, kind="network")
    return Halted(f"{what} cannot be read ({error}); {remedy}", kind="config")


def new_context(ca_bundle: str | None, client_cert: ClientCertificate | None = None) -> ssl.SSLContext:
    """A context that verifies chain and host name, with TLS 1.2 or later, as strict as Python's default.

    Trusts ``ca_bundle`` or else the certificates of certifi. Raises Halted, naming the setting that cannot
    be loaded.
    """
    # ssl.create_default_context would write the session keys to the file named by SSLKEYLOGFILE.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python before 3.11.4 sets it (gh-95494), Debian 12's too: a connection cut on its way would look as if
    # the platform had closed it. Absent with OpenSSL 1.1.1, which always reports this.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    if sys.version_info >= (3, 13):
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    load_trust(context, _bundle(ca_bundle))
    if client_cert is not None:
        client_cert.load_into(context)
    return context


def _bundle(ca_bundle: str | None) -> str:
    if ca_bundle is not None:
        return ca_bundle
    import certifi

    return certifi.where()


class Contexts:
    """One context for all connections with the same files, because building one takes 40 ms.

    A changed file applies to connections opened afterwards. If it cannot be loaded, the old context stays in
    use, with one warning in the log. ``clock`` is monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[tuple[str | None, ClientCertificate | None], _Held] = {}
        self.begin()

    def begin(self) -> None:
        """A forked child must not wait for a thread of its parent."""
        self._lock = threading.Lock()

    def get(self, ca_bundle: str | None, client_cert: ClientCertificate | None = None) -> ssl.SSLContext:
        """The context for these files. Raises Halted if they cannot be loaded and never could."""
        key = (ca_bundle, client_cert)
        with self._lock:
            now = self._clock()
            held = self._held.pop(key, None)
            if held is None:
                state = _state(*key)  # before loading: a change meanwhile is seen at the next check
                held = _Held(new_context(*key), state, now + LOOK_SECONDS)
            elif now >= held.look_at:
                held.look_at = now + LOOK_SECONDS
                _reload(held, key, now)
            self._held[key] = held  # the most recently used comes last
            if len(self._held) > REMEMBERED_CONTEXTS:
                del self._held[next(iter(self._held))]
            return held.context


@dataclass(slots=True)
class _Held:
    context: ssl.SSLContext
    state: tuple[_Stamp, ...]
    look_at: float
    #: The state that could not be loaded, and when to try again.
    failed: tuple[_Stamp, ...] = ()
    retry_at: float = 0.0


def _reload(held: _Held, key: tuple[str | None, ClientCertificate | None], now: float) -> None:
    state = _state(*key)
    if state == held.state:
        held.failed = ()
        return
    if state == held.failed and now < held.retry_at:
        return
    try:
        held.context = new_context(*key)
    except Halted as error:
        if state != held.failed:
            logger.warning("%s. The version loaded before stays in use until the file changes again.", error)
        held.failed, held.retry_at = state, now + RETRY_SECONDS
    else:
        held.state, held.failed = state, ()


def _state(ca_bundle: str | None, client_cert: ClientCertificate | None) -> tuple[_Stamp, ...]:
    return tuple(map(_stamp, (_bundle(ca_bundle), *(client_cert.files if client_cert else ()))))


def _stamp(path: str) -> _Stamp:
    """Time, size and inode of a file, or of a folder and its entries; if missing, the number of the error."""
    try:
        found = Path(path).stat()
        if not stat.S_ISDIR(found.st_mode):
            return found.st_mtime_ns, found.st_size, found.st_ino
        entries = [entry for inner in Path(path).iterdir() if (entry := _entry(inner))]
    except (OSError, ValueError) as error:
        return (getattr(error, "errno", None) or -1,)
    newest = max((entry.st_mtime_ns for entry in entries), default=0)
    return found.st_mtime_ns, len(entries), sum(entry.st_size for entry in entries), newest


def _entry(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:  # a link to a missing file
        return None


def certificate_alert(error: ssl.SSLError) -> str:
    """The peer's alert about our client certificate ("unknown ca"); "" for other errors."""
    found = _CERTIFICATE_ALERT.search(str(error).lower())
    return found[1] if found else ""


contexts = Contexts()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=contexts.begin)
