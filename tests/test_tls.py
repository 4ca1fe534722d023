"""What is trusted and which certificate we show; both are read again when their files change."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import ssl
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import httpcore
import httpx
import pytest

from genesys_eventbridge import conf, tls
from genesys_eventbridge.client import Platform, Sender
from genesys_eventbridge.client.auth import credentials_for
from genesys_eventbridge.client.responses.exceptions import failure_outcome
from genesys_eventbridge.client.sockets import Deadline, DeadlineNetwork
from genesys_eventbridge.client.transport import DirectTransport
from genesys_eventbridge.errors import Halted
from genesys_eventbridge.platform.outcomes import Halt, Sent, Verdict
from genesys_eventbridge.tls import ClientCertificate, Contexts, new_context
from tests.certificates import Authority
from tests.client.test_transport import stream_of
from tests.parsers import parser  # noqa: F401 - each test runs with both
from tests.socket_server import HANG, Conversation, SocketServer, answer, proxy, replies

CANARY = "canary-passphrase-0123"
TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs servers and clients."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def other_ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other"), "other-ca")


@pytest.fixture(scope="module")
def client(ca: Authority) -> tuple[str, str]:
    return ca.issue("client")


@pytest.fixture(scope="module")
def locked(ca: Authority) -> tuple[str, str]:
    """A certificate whose key is encrypted with CANARY."""
    return ca.issue("locked", passphrase=CANARY)


def post(url: str, transport: DirectTransport) -> httpx.Response:
    return transport.handle_request(
        httpx.Request("POST", url, content=b"{}", extensions={"deadline": Deadline(HANG)})
    )


def verdict_of(url: str, transport: DirectTransport) -> tuple[Verdict, Halt | None, str]:
    """What a failure of this request means."""
    with pytest.raises((httpx.TransportError, Halted)) as caught:
        post(url, transport)
    outcome = failure_outcome(caught.value)
    return outcome.verdict, outcome.halt, outcome.error


# ------------------------------------------------------------------------------------------- the contexts


def test_every_context_verifies_like_the_default_of_python_and_is_built_once(ca, tmp_path, monkeypatch):
    """From 3.13 on Python is stricter; we are neither stricter nor laxer, but for a fault of old ones."""
    monkeypatch.delenv("SSLKEYLOGFILE", raising=False)
    theirs = ssl.create_default_context()
    theirs.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    contexts = Contexts()
    for bundle in (None, ca.certificate, str(tmp_path)):
        context = contexts.get(bundle)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is TLS12
        assert (context.verify_flags, context.options) == (theirs.verify_flags, theirs.options)
        assert contexts.get(bundle) is context


def test_no_session_key_is_written_to_the_file_of_sslkeylogfile(ca, tmp_path):
    """In a process of its own, which has the variable from its start."""
    log = tmp_path / "keys.log"
    with SocketServer(replies(answer(202, b"{}")), tls=ca.server(TLS13, client_ca=None)) as server:
        code = (
            "from genesys_eventbridge.client.http import httpx;"
            "from genesys_eventbridge.client.transport import DirectTransport;"
            f"DirectTransport(ca_bundle={ca.certificate!r})"
            f".handle_request(httpx.Request('POST', {server.url!r}, content=b'{{}}'))"
        )
        environment = {**os.environ, "SSLKEYLOGFILE": str(log)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, timeout=HANG, check=False
        )

        assert done.returncode == 0, done.stderr
        assert len(server.requests) == 1
        assert not log.exists()


def test_out_of_file_descriptors_a_ca_bundle_is_not_called_wrong(ca, monkeypatch):
    def exhausted(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", exhausted)
    with pytest.raises(Halted) as caught:
        new_context(ca.certificate)

    assert caught.value.kind == "network"
    assert "Too many open files; raise the limit" in str(caught.value)


# ----------------------------------------------------------------------------------------- read again


class Store:
    """Contexts with a clock of the test's own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.contexts = Contexts(lambda: self.now)

    def after(
        self, seconds: float, bundle: object, certificate: ClientCertificate | None = None
    ) -> ssl.SSLContext:
        self.now += seconds
        return self.contexts.get(str(bundle), certificate)


def subjects(context: ssl.SSLContext) -> set[str]:
    return {str(found["subject"]).split("'")[3] for found in context.get_ca_certs()}


def test_a_changed_ca_bundle_counts_from_the_next_connection_on(ca, other_ca, tmp_path, monkeypatch):
    """Without a restart: over a transport that was refused before."""
    bundle = tmp_path / "ca.pem"
    shutil.copy(other_ca.certificate, bundle)
    with (
        SocketServer(replies(answer(202, b"{}")), tls=ca.server(TLS13, client_ca=None)) as server,
        DirectTransport(ca_bundle=str(bundle)) as transport,
    ):
        assert verdict_of(server.url, transport)[1] is Halt.CONFIG
        shutil.copy(ca.certificate, bundle)
        monkeypatch.setattr(tls.contexts, "_clock", lambda: time.monotonic() + tls.LOOK_SECONDS)

        assert post(server.url, transport).status_code == 202


def test_files_are_looked_at_once_a_second(ca, other_ca, tmp_path):
    bundle = tmp_path / "ca.pem"
    shutil.copy(ca.certificate, bundle)
    store = Store()
    first = store.after(0, bundle)
    shutil.copy(other_ca.certificate, bundle)

    assert store.after(tls.LOOK_SECONDS - 0.01, bundle) is first
    assert subjects(store.after(0.01, bundle)) == {"other-ca"}


def test_an_unchanged_file_is_not_loaded_again(ca):
    store = Store()
    first = store.after(0, ca.certificate)

    assert all(store.after(60, ca.certificate) is first for _ in range(3))


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("-----BEGIN CERT")])
def test_a_bundle_that_vanished_or_is_half_written_keeps_the_old_one_and_warns_once(
    ca, tmp_path, caplog, harm
):
    bundle = tmp_path / "ca.pem"
    shutil.copy(ca.certificate, bundle)
    store = Store()
    first = store.after(0, bundle)
    harm(bundle)

    assert all(store.after(seconds, bundle) is first for seconds in (2, 2, tls.RETRY_SECONDS, 2))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"CA_BUNDLE {bundle}" in record.getMessage()

    shutil.copy(ca.certificate, bundle)
    assert store.after(2, bundle) is not first
    assert len(caplog.records) == 1


def test_a_folder_is_read_again_when_an_entry_changes(ca, other_ca, tmp_path):
    entry = tmp_path / "one.pem"
    shutil.copy(ca.certificate, entry)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    store = Store()
    first = store.after(0, tmp_path)
    assert store.after(2, tmp_path) is first
    shutil.copy(other_ca.certificate, entry)
    second = store.after(2, tmp_path)
    os.utime(entry, ns=(0, 2**60))

    assert second is not first
    assert store.after(2, tmp_path) is not second


def test_a_rotated_client_certificate_is_used_once_both_files_are_there(ca, tmp_path, caplog):
    """Certificate and key are two files: between the two writes they do not fit together."""
    old, new = ca.issue("old"), ca.issue("new")
    certificate, key = tmp_path / "client.pem", tmp_path / "client.key"
    shutil.copy(old[0], certificate)
    shutil.copy(old[1], key)
    pair = ClientCertificate(str(certificate), str(key))
    store = Store()
    first = store.after(0, ca.certificate, pair)
    shutil.copy(new[0], certificate)
    assert store.after(2, ca.certificate, pair) is first
    shutil.copy(new[1], key)

    assert store.after(2, ca.certificate, pair) is not first
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "the key does not belong to this certificate" in caplog.text


def test_a_passphrase_that_comes_later_than_its_key_is_asked_for_again(ca, locked, tmp_path):
    certificate, key = tmp_path / "client.pem", tmp_path / "client.key"
    for source, target in zip(ca.issue("plain"), (certificate, key), strict=True):
        shutil.copy(source, target)
    words = ["not yet known"]
    pair = ClientCertificate(str(certificate), str(key), lambda: words[0])
    store = Store()
    first = store.after(0, ca.certificate, pair)
    for source, target in zip(locked, (certificate, key), strict=True):
        shutil.copy(source, target)
    assert store.after(2, ca.certificate, pair) is first
    words[0] = CANARY

    assert store.after(2, ca.certificate, pair) is first
    assert store.after(tls.RETRY_SECONDS, ca.certificate, pair) is not first


def test_contexts_of_settings_that_are_gone_are_forgotten(ca):
    store = Store()
    for number in range(tls.REMEMBERED_CONTEXTS + 5):
        store.after(0, ca.certificate, None if number == 0 else ClientCertificate(*_copy(ca, number)))

    assert len(store.contexts._held) == tls.REMEMBERED_CONTEXTS


def _copy(ca: Authority, number: int) -> tuple[str, str]:
    made = ca.issue("many") if not (ca.folder / "many.pem").exists() else None
    source = made or (str(ca.folder / "many.pem"), str(ca.folder / "many.key"))
    target = ca.folder / f"many-{number}.pem"
    shutil.copy(source[0], target)
    return str(target), source[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent(ca):
    with tls.contexts._lock:
        child = os.fork()
        if child == 0:
            tls.contexts.get(ca.certificate)
            os._exit(0)

    assert os.waitpid(child, 0)[1] == 0


# --------------------------------------------------------------------------------- the client certificate


@pytest.mark.parametrize(
    "value",
    [
        "", b"/a.pem", 1, True, (), ("/a", "/b", "c", "d"), (None, "/b"), ("/a", ""), ("/a", "/b", ""),
        ("/a", "/b", 1), "/a\0b", ("/a", 5), {"certificate": "/a"},
    ],
)  # fmt: skip
def test_a_value_of_another_shape_is_refused_by_settings_and_client_alike(settings, value):
    settings.GENESYS_EVENTBRIDGE = {
        "default": {**settings.GENESYS_EVENTBRIDGE["default"], "CLIENT_CERT": value}
    }
    (problem,) = conf.problems()
    assert (problem.id, problem.key) == ("E004", "CLIENT_CERT")
    assert (
        "the path of a PEM file with certificate and key, or (certificate, key, passphrase)"
        in problem.message
    )

    with pytest.raises(ValueError, match="CLIENT_CERT must be the path of a PEM file"):
        made_platform("https://127.0.0.1", client_cert=value)


def test_it_is_a_path_or_a_tuple(tmp_path):
    one = ClientCertificate("/a.pem")
    assert (
        ClientCertificate.of("/a.pem")
        == ClientCertificate.of(Path("/a.pem"))
        == ClientCertificate.of(one)
        == one
    )
    assert ClientCertificate.of(("/a.pem", None, "x")) == ClientCertificate("/a.pem", None, "x")
    assert ClientCertificate.of(["/a.pem", "/b.key"]) == ClientCertificate("/a.pem", "/b.key")
    assert ClientCertificate.of(None) is None


def broken(why: str) -> Callable[[], str]:
    def passphrase() -> str:
        raise RuntimeError(why)

    return passphrase


@pytest.fixture(
    params=[
        "no such file", "no such key", "not PEM", "no key in the file", "another's key", "no passphrase",
        "wrong passphrase", "callable raises", "callable returns nothing", "overlong passphrase",
    ]
)  # fmt: skip
def unloadable(request, ca, client, locked, tmp_path) -> tuple[tuple[object, ...], str]:
    """A CLIENT_CERT that cannot be loaded, and words of the remedy."""
    text = tmp_path / "text.pem"
    text.write_text("hello")
    cases: dict[str, tuple[tuple[object, ...], str]] = {
        "no such file": ((str(tmp_path / "none.pem"),), "none.pem"),
        "no such key": ((client[0], str(tmp_path / "none.key")), "none.key"),
        "not PEM": ((str(text),), "no certificate with its private key in PEM form"),
        "no key in the file": ((client[0],), "no certificate with its private key in PEM form"),
        "another's key": ((client[0], ca.key), "the key does not belong to this certificate"),
        "no passphrase": (locked, "give its passphrase as the third part"),
        "wrong passphrase": ((*locked, f"wrong-{CANARY}"), "the passphrase does not open the key"),
        "callable raises": ((*locked, broken(CANARY)), "the callable for the passphrase raised RuntimeError"),
        "callable returns nothing": ((*locked, lambda: ""), "must return non-empty text"),
        "overlong passphrase": ((*locked, CANARY * 100), "the passphrase does not open the key"),
    }
    return cases[request.param]


def test_one_that_cannot_be_loaded_is_an_error_of_the_checks_and_a_halt_of_the_relay(
    settings, unloadable, capfd
):
    """It stops no process that only writes events: a web process may not even read the key."""
    value, words = unloadable
    settings.GENESYS_EVENTBRIDGE = {
        "default": {**settings.GENESYS_EVENTBRIDGE["default"], "CLIENT_CERT": value}
    }
    (problem,) = conf.problems()
    assert (problem.id, problem.key) == ("E004", "CLIENT_CERT")
    assert words in problem.message

    with DirectTransport(client_cert=conf.destination().platform.client_cert) as transport:
        verdict, halt, line = verdict_of("https://127.0.0.1:1", transport)
    assert (verdict, halt) == (Verdict.HALTED, Halt.CONFIG)
    assert "CLIENT_CERT" in line
    assert CANARY not in f"{problem} {line} {capfd.readouterr()}"


def test_a_ca_bundle_that_is_no_pem_file_is_an_error_of_the_checks(settings, tmp_path):
    bundle = tmp_path / "ca.pem"
    bundle.write_text("hello")
    settings.GENESYS_EVENTBRIDGE = {
        "default": {**settings.GENESYS_EVENTBRIDGE["default"], "CA_BUNDLE": str(bundle)}
    }

    assert [(problem.id, problem.key) for problem in conf.problems()] == [("E004", "CA_BUNDLE")]


def test_an_encrypted_key_never_asks_at_the_terminal(locked):
    """OpenSSL would, and a worker would hang: here a terminal stands by, and no one types."""
    code = (
        "import ssl, sys; from genesys_eventbridge.tls import ClientCertificate\n"
        f"try: ClientCertificate(*{locked!r}).load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))\n"
        "except Exception as error: sys.exit(7)"
    )
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            timeout=HANG,
            check=False,
            start_new_session=True,
        )

        assert done.returncode == 7
    finally:
        os.close(ours)
        os.close(theirs)


def made_platform(url: str, **changes: object) -> Platform:
    return Platform(
        api_base_url=url,
        login_base_url=url,
        client_id="an-id",
        client_secret="a-secret-0123",
        **changes,  # type: ignore[arg-type]
    )


def test_its_passphrase_is_in_no_repr(locked, settings):
    platform = made_platform("https://127.0.0.1", client_cert=(*locked, CANARY))
    settings.GENESYS_EVENTBRIDGE = {
        "default": {**settings.GENESYS_EVENTBRIDGE["default"], "CLIENT_CERT": (*locked, CANARY)}
    }

    assert CANARY not in f"{platform!r} {platform.client_cert!r} {conf.destination()!r}"
    assert conf.destination().platform.client_cert == platform.client_cert


def test_another_client_certificate_gets_a_token_of_its_own(client, locked):
    """A gateway may bind a token to the certificate it was issued to (RFC 8705)."""
    values = [None, client, (*locked, CANARY), (*locked, "another"), locked]
    credentials = [credentials_for(made_platform("https://127.0.0.1", client_cert=value)) for value in values]

    assert len(set(map(id, credentials))) == len(values)
    assert credentials_for(made_platform("https://127.0.0.1", client_cert=client)) is credentials[1]


# --------------------------------------------------------------------- a gateway with mutual TLS, as it is


def platform_script(talk: Conversation) -> None:
    while request := talk.read_request():
        if request.target == "/oauth/token":
            talk.answer(
                200, {"access_token": "t0ken-of-the-test", "token_type": "bearer", "expires_in": 3600}
            )
        else:
            talk.answer(202, {"id": "evt-1", "status": "accepted"})


@pytest.mark.parametrize("through", ["nothing", "http proxy", "https proxy"])
@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_a_gateway_with_mutual_tls_takes_token_request_and_event(ca, locked, version, through):
    """The proxy is not the gateway: it asks for no certificate, and would get none."""
    shown: list[object] = []

    def noting(talk: Conversation) -> None:
        assert isinstance(talk.sock, ssl.SSLSocket)
        shown.append(talk.sock.getpeercert())
        proxy(talk)

    curious = ca.server(TLS13, client_ca=ca.certificate)
    curious.verify_mode = ssl.CERT_OPTIONAL
    secure = through == "https proxy"
    with (
        SocketServer(platform_script, tls=ca.server(version, client_ca=ca.certificate)) as server,
        SocketServer(noting if secure else proxy, tls=curious if secure else None) as middle,
    ):
        platform = made_platform(
            server.url,
            ca_bundle=ca.certificate,
            client_cert=(*locked, lambda: CANARY),
            proxy=None if through == "nothing" else middle.url,
        )
        sender = Sender(platform, credentials_for(platform))
        outcome = sender.publish("{}", "a-key", Sent("1", "s", "t"))
        sender.close()

        assert (outcome.verdict, outcome.remote_id) == (Verdict.ACCEPTED, "evt-1")
        assert [request.target for request in server.requests] == ["/oauth/token", platform.events_path]
        assert shown == ([None, None] if secure else [])


def combined(certificate: str, key: str, target: Path) -> str:
    target.write_text(Path(certificate).read_text() + Path(key).read_text())
    return str(target)


def test_one_file_may_hold_certificate_and_key(ca, client, tmp_path):
    path = combined(client[0], client[1], tmp_path / "both.pem")
    with (
        SocketServer(replies(answer(202, b"{}")), tls=ca.server(TLS13, client_ca=ca.certificate)) as server,
        DirectTransport(ca_bundle=ca.certificate, client_cert=ClientCertificate.of(path)) as transport,
    ):
        assert post(server.url, transport).status_code == 202


@pytest.fixture(params=["none", "another authority's", "expired", "a server's"])
def refused(request, ca, other_ca) -> tuple[ClientCertificate | None, str]:
    """A client certificate that the server refuses, and words of the remedy with TLS 1.3."""
    cases = {
        "none": (None, "Set CLIENT_CERT"),
        "another authority's": (other_ca.issue("stranger"), "does not trust the authority"),
        "expired": (ca.issue("expired", days=-1), "has expired"),
        "a server's": (ca.issue("no-client", "server"), "Check CLIENT_CERT"),
    }
    pair, words = cases[request.param]
    return ClientCertificate.of(pair), words


@pytest.mark.parametrize("through", ["nothing", "http proxy", "https proxy"])
@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_a_refused_client_certificate_is_configuration_and_nothing_was_sent(ca, refused, version, through):
    """With TLS 1.3 the refusal comes with the first read, when the request has left. The server, which hangs
    up with the alert, has read none of it."""
    certificate, words = refused
    with (
        SocketServer(replies(answer(202, b"{}")), tls=ca.server(version, client_ca=ca.certificate)) as server,
        SocketServer(
            proxy, tls=ca.server(TLS13, client_ca=None) if through == "https proxy" else None
        ) as middle,
        DirectTransport(
            ca_bundle=ca.certificate,
            client_cert=certificate,
            proxy=None if through == "nothing" else middle.url,
        ) as transport,
    ):
        for _ in range(2):
            verdict, halt, line = verdict_of(server.url, transport)

            assert (verdict, halt) == (Verdict.HALTED, Halt.CONFIG)
            assert "Nothing was sent" in line
            assert words in line or version is TLS12
            assert "CLIENT_CERT" in line
        assert server.requests == []


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_an_alert_is_read_also_where_the_connection_breaks_behind_it(ca, reset):
    """The kernel keeps what came before the RST; a large request is then still being written."""
    context = ca.server(TLS13, client_ca=ca.certificate)

    def script(talk: Conversation) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        engine = context.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                engine.do_handshake()
            except ssl.SSLWantReadError:
                talk.send(outgoing.read())
                incoming.write(talk.sock.recv(65536))
            except ssl.SSLError:
                break
        talk.send(outgoing.read())
        if reset:
            talk.reset()

    with SocketServer(script) as server, DirectTransport(ca_bundle=ca.certificate) as transport:
        url = server.url.replace("http:", "https:")
        with pytest.raises(httpx.ConnectError) as caught:
            transport.handle_request(
                httpx.Request("POST", url, content=b"a" * 5_000_000, extensions={"deadline": Deadline(HANG)})
            )

        assert failure_outcome(caught.value).halt is Halt.CONFIG


def test_an_alert_after_an_answer_leaves_the_next_request_in_doubt(ca, monkeypatch):
    """The server has read requests on this connection: it may have read this one."""
    alert = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required")
    with (
        SocketServer(replies(answer(202, b"{}")), tls=ca.server(TLS13, client_ca=None)) as server,
        DirectTransport(ca_bundle=ca.certificate) as transport,
    ):
        assert post(server.url, transport).status_code == 202
        stream = stream_of(transport)
        run = stream._run

        def refusing(step: Callable[[], object], timeout: float | None) -> object:
            if step.func.__name__ == "read":  # type: ignore[attr-defined]
                stream.flush(timeout)
                raise alert
            return run(step, timeout)

        monkeypatch.setattr(stream, "_run", refusing)
        verdict, halt, _ = verdict_of(server.url, transport)

    assert (verdict, halt) == (Verdict.UNKNOWN, None)


ALERTS = {
    "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required": "Set CLIENT_CERT",
    "[SSL: SSLV3_ALERT_BAD_CERTIFICATE] sslv3 alert bad certificate": "or requires one",
    "[SSL: SSLV3_ALERT_UNSUPPORTED_CERTIFICATE] sslv3 alert unsupported certificate": "purpose",
    "[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca": "intermediate",
    "[SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] sslv3 alert certificate expired": "has expired",
    "[SSL: SSLV3_ALERT_CERTIFICATE_REVOKED] sslv3 alert certificate revoked": "has been revoked",
    "[SSL: SSLV3_ALERT_CERTIFICATE_UNKNOWN] sslv3 alert certificate unknown": "refuses our client",
    "[SSL: TLSV1_ALERT_ACCESS_DENIED] tlsv1 alert access denied": "denies access to our client certificate",
}


@pytest.mark.parametrize(("text", "words"), ALERTS.items(), ids=ALERTS.keys())
def test_every_alert_about_the_client_certificate_names_the_setting(text, words):
    error = httpcore.ConnectError("no TLS connection")
    error.__cause__ = ssl.SSLError(1, f"{text} (_ssl.c:2580)")
    failed = httpx.ConnectError("no TLS connection")
    failed.__cause__ = error
    outcome = failure_outcome(failed)

    assert (outcome.verdict, outcome.halt) == (Verdict.HALTED, Halt.CONFIG)
    assert words in outcome.error
    assert "CLIENT_CERT" in outcome.error


# ------------------------------------------------------------------------- why there is no TLS, in its words


def test_a_plain_port_is_not_called_a_matter_of_trust(ca):
    """Also one that a proxy leads to, and a proxy that is spoken to in the wrong scheme."""

    def plain(talk: Conversation) -> None:
        talk.sock.recv(65536)
        talk.answer(400, b"The plain HTTP request was sent to HTTPS port")

    with SocketServer(plain) as server, SocketServer(proxy) as middle:
        url = server.url.replace("http:", "https:")
        for through in (None, middle.url, url):
            with DirectTransport(ca_bundle=ca.certificate, proxy=through) as transport:
                verdict, halt, line = verdict_of(url, transport)

            assert (verdict, halt) == (Verdict.HALTED, Halt.CONFIG)
            assert "a port that does not support TLS" in line
            assert "scheme of PROXY" in line


def test_versions_and_ciphers_that_do_not_meet_are_named(ca):
    ciphers = ca.server(TLS12, client_ca=None)
    ciphers.set_ciphers("DHE-RSA-AES128-SHA")  # its certificate is for ECDSA
    for context, words in ((ciphers, "no cipher in common"), (old(ca), "no TLS version in common")):
        with (
            SocketServer(replies(answer(202, b"{}")), tls=context) as server,
            DirectTransport(ca_bundle=ca.certificate) as transport,
        ):
            verdict, halt, line = verdict_of(server.url, transport)

        assert (verdict, halt) == (Verdict.HALTED, Halt.CONFIG)
        assert words in line


def old(ca: Authority) -> ssl.SSLContext:
    context = ca.server(TLS12, client_ca=None)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    return context


def test_a_certificate_that_is_not_to_be_trusted_says_why(ca, other_ca):
    for pair, bundle, words in (
        (ca.issue("expired-server", "server", days=-1), ca.certificate, "has expired"),
        (ca.issue("elsewhere", "elsewhere"), ca.certificate, "for another host name"),
        (ca.issue("good-server", "server"), other_ca.certificate, "is not trusted. Set CA_BUNDLE"),
    ):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        with (
            SocketServer(replies(answer(202, b"{}")), tls=context) as server,
            DirectTransport(ca_bundle=bundle) as transport,
        ):
            verdict, halt, line = verdict_of(server.url, transport)

            assert (verdict, halt, server.requests) == (Verdict.HALTED, Halt.CONFIG, [])
            assert words in line


def test_an_authority_that_breaks_a_strict_rule_gets_its_remedy(tmp_path):
    """As Python 3.13 and newer check it: here the flag is set by hand."""
    lax = Authority(tmp_path / "lax", "lax-ca", kind="lax ca")
    context = new_context(lax.certificate)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    backend = DeadlineNetwork()
    backend.deadline = Deadline(HANG)
    with SocketServer(replies(answer(202)), tls=lax.server(TLS13, client_ca=None)) as server:
        stream = backend.connect_tcp("127.0.0.1", server.port)
        with pytest.raises(httpcore.ConnectError) as caught:
            stream.start_tls(context, "127.0.0.1")
    failed = httpx.ConnectError(str(caught.value))
    failed.__cause__ = caught.value
    outcome = failure_outcome(failed)

    assert "Basic Constraints of CA cert not marked critical" in str(caught.value)
    assert outcome.halt is Halt.CONFIG
    assert "RFC 5280" in outcome.error
    assert "reissued with critical basicConstraints" in outcome.error
