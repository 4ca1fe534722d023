"""TLS by real gateways: versions, private authorities, files that change, and client certificates."""

import shutil

import pytest

from genesys_eventbridge.states import State
from tests.gateways.processes import wait_until


def nginx_tls(certificate, more=""):
    """What makes nginx speak TLS; further directives for the server in ``more``."""
    return {
        "tls": True,
        "listen": "ssl",
        "server": f"ssl_certificate {certificate.certificate}; ssl_certificate_key {certificate.key}; {more}",
    }


def without_tls_argument(values):
    return {name: value for name, value in values.items() if name != "tls"}


def haproxy_tls(certificate, more=""):
    return {"tls": True, "bind": f"ssl crt {certificate.whole} {more}"}


@pytest.fixture
def trusted(authority, worker):
    """The worker trusts the private authority."""
    worker.settings["CA_BUNDLE"] = str(authority.root)
    return authority


# ---- versions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocols", ["TLSv1.2", "TLSv1.3", "TLSv1.2 TLSv1.3"])
def test_events_pass_by_tls(protocols, nginx, worker, trusted):
    nginx(protocols=protocols, **nginx_tls(trusted.server()))
    worker.enqueue(10)

    worker.publish()
    worker.check()

    assert {row.attempts for row in worker.rows()} == {1}, worker.last_texts()
    worker.assert_all_delivered()


def test_a_gateway_that_knows_only_old_tls_takes_no_event(nginx, worker, trusted):
    """The text is about the version: another CA_BUNDLE would change nothing."""
    old = nginx_tls(trusted.server(), "ssl_ciphers ALL:@SECLEVEL=0;")
    gateway = nginx(protocols="TLSv1.1", **old)
    worker.enqueue()

    worker.publish(times=5, wait=900)

    worker.assert_uncharged()
    worker.assert_texts_name("TLS", "version")
    worker.assert_texts_leave_out("CA_BUNDLE", "is not trusted")
    gateway.reload(**without_tls_argument(nginx_tls(trusted.server())))
    worker.drain()
    worker.assert_all_delivered()


def test_https_to_a_plain_port_is_no_question_of_trust(nginx, worker, trusted):
    gateway = nginx()
    worker.settings["API_BASE_URL"] = f"https://127.0.0.1:{gateway.port}"
    worker.enqueue()

    worker.publish(times=5, wait=900)

    worker.assert_uncharged()
    worker.assert_texts_name("TLS", "https")
    worker.assert_texts_leave_out("CA_BUNDLE", "is not trusted")
    worker.settings["API_BASE_URL"] = gateway.url
    worker.drain()
    worker.assert_all_delivered()


def test_http_to_a_tls_port_accuses_no_event(nginx, worker, authority):
    """nginx answers 400, "The plain HTTP request was sent to HTTPS port"."""
    gateway = nginx(**nginx_tls(authority.server()))
    worker.settings["API_BASE_URL"] = gateway.url
    worker.enqueue()

    worker.publish(times=5, wait=900)

    worker.assert_uncharged()
    worker.assert_texts_name("gateway", "plain HTTP request")
    gateway.reload()
    worker.drain()
    worker.assert_all_delivered()


def test_ciphers_that_do_not_match_are_no_question_of_trust(haproxy, worker, trusted):
    """The server offers RSA ciphers only, and its key is not RSA."""
    gateway = haproxy(**haproxy_tls(trusted.server(), "ssl-max-ver TLSv1.2 ciphers AES128-GCM-SHA256"))
    worker.enqueue()

    worker.publish(times=5, wait=900)

    worker.assert_uncharged()
    worker.assert_texts_name("TLS", "handshake")
    worker.assert_texts_leave_out("CA_BUNDLE", "is not trusted")
    gateway.reload(bind=haproxy_tls(trusted.server())["bind"])
    worker.drain()
    worker.assert_all_delivered()


# ---- private authorities -------------------------------------------------------------------------


@pytest.mark.parametrize("bundle", ["certifi", "another authority"])
def test_a_certificate_of_an_unknown_authority_names_the_setting(bundle, nginx, worker, authority, stranger):
    nginx(**nginx_tls(authority.server()))
    worker.settings["CA_BUNDLE"] = None if bundle == "certifi" else str(stranger.root)
    worker.enqueue()

    worker.publish(times=5, wait=900)

    worker.assert_uncharged()
    assert worker.pause() == "config"
    worker.assert_texts_name("certificate", "CA_BUNDLE")
    worker.settings["CA_BUNDLE"] = str(authority.root)
    worker.drain()
    worker.assert_all_delivered()


def test_one_host_without_the_authority_kills_no_event_that_others_could_send(
    nginx, worker, trusted, stranger
):
    nginx(**nginx_tls(trusted.server()))
    (unlucky,) = worker.enqueue(1)

    for _ in range(8):
        worker.publish(wait=900, CA_BUNDLE=str(stranger.root))
        worker.send_another(unlucky)

    worker.drain()
    worker.assert_all_delivered()


def test_a_ca_bundle_that_is_replaced_counts_without_a_restart(nginx, worker, authority, stranger, tmp_path):
    """The same process and the same senders; a file is looked at once a second at most."""
    bundle = tmp_path / "bundle.pem"
    shutil.copy(stranger.root, bundle)
    worker.settings["CA_BUNDLE"] = str(bundle)
    nginx(**nginx_tls(authority.server()))
    worker.enqueue()
    with worker.kept_connections():
        worker.publish(times=3, wait=900)
        worker.assert_uncharged()

        replacement = tmp_path / "replacement.pem"
        replacement.write_bytes(stranger.root.read_bytes() + authority.root.read_bytes())
        replacement.replace(bundle)

        def accepted():
            worker.publish(wait=900)
            return State.ACCEPTED in worker.states()

        wait_until(accepted, lambda: f"the new CA_BUNDLE is not used: {worker.last_texts()}")
        worker.drain()
    worker.assert_all_delivered()


def test_a_server_certificate_that_is_renewed_changes_nothing(nginx, worker, trusted):
    gateway = nginx(**nginx_tls(trusted.server()))
    with worker.kept_connections():
        worker.enqueue(4)
        worker.publish()
        gateway.reload(**without_tls_argument(nginx_tls(trusted.server("renewed"))))
        worker.enqueue(4)
        worker.publish()
        worker.drain()

    worker.assert_all_delivered()


# ---- client certificates -------------------------------------------------------------------------

#: nginx asks for one and answers a page (400) without; haproxy ends TLS with an alert.
VERSIONS = ["TLSv1.2", "TLSv1.3"]
WRONG = ["none", "another authority's"]


@pytest.fixture(params=VERSIONS)
def nginx_mutual(request, nginx, trusted):
    """Starts nginx, which wants a client certificate; returns how to make it want none."""

    def start():
        wanting = f"ssl_client_certificate {trusted.root}; ssl_verify_client on;"
        gateway = nginx(protocols=request.param, **nginx_tls(trusted.server(), wanting))
        return lambda: gateway.reload(**without_tls_argument(nginx_tls(trusted.server())))

    return start


@pytest.fixture(params=VERSIONS)
def haproxy_mutual(request, haproxy, trusted):
    """As ``nginx_mutual``."""

    def start():
        version = f"ssl-min-ver {request.param} ssl-max-ver {request.param}"
        wanting = f"{version} ca-file {trusted.root} verify required"
        gateway = haproxy(**haproxy_tls(trusted.server(), wanting))
        return lambda: gateway.reload(bind=haproxy_tls(trusted.server())["bind"])

    return start


def wrong_certificate(which, worker, stranger):
    if which != "none":
        worker.settings["CLIENT_CERT"] = str(stranger.client().whole)


@pytest.mark.parametrize("which", WRONG)
def test_nginx_that_misses_a_client_certificate_accuses_no_event(which, nginx_mutual, worker, stranger):
    lift = nginx_mutual()
    wrong_certificate(which, worker, stranger)
    worker.enqueue(20)

    worker.publish(times=5, wait=900)

    worker.assert_uncharged()
    assert worker.pause() == "config"
    worker.assert_texts_name("gateway", "SSL certificate")
    lift()
    worker.drain()
    worker.assert_all_delivered()


@pytest.mark.parametrize("which", WRONG)
def test_an_alert_about_the_client_certificate_accuses_no_event(which, haproxy_mutual, worker, stranger):
    """With TLS 1.3 it arrives with the first read, after the request was written."""
    lift = haproxy_mutual()
    wrong_certificate(which, worker, stranger)
    worker.enqueue(20)

    worker.publish(times=15, wait=900)

    worker.assert_uncharged()
    assert worker.pause() == "config"
    worker.assert_texts_name("client certificate", "CLIENT_CERT")
    lift()
    worker.drain()
    worker.assert_all_delivered()


@pytest.mark.parametrize("form", ["path", "pair", "with a passphrase"])
@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_events_pass_with_a_client_certificate(form, kind, request, worker, trusted):
    passphrase = "correct horse" if form == "with a passphrase" else None
    client = trusted.client(f"client-{form.replace(' ', '-')}", passphrase or "")
    files = str(client.certificate), str(client.key)
    worker.settings["CLIENT_CERT"] = str(client.whole) if form == "path" else (*files, passphrase)
    if kind == "nginx":
        wanting = f"ssl_client_certificate {trusted.root}; ssl_verify_client on;"
        request.getfixturevalue("nginx")(**nginx_tls(trusted.server(), wanting))
    else:
        request.getfixturevalue("haproxy")(
            **haproxy_tls(trusted.server(), f"ca-file {trusted.root} verify required")
        )
    worker.enqueue(10)

    worker.publish()
    worker.check()

    assert {row.attempts for row in worker.rows()} == {1}, worker.last_texts()
    worker.assert_all_delivered()
    worker.assert_texts_leave_out("correct horse")


def test_a_client_certificate_that_is_replaced_counts_without_a_restart(
    haproxy, worker, trusted, stranger, tmp_path
):
    file = tmp_path / "client.pem"
    shutil.copy(stranger.client().whole, file)
    worker.settings["CLIENT_CERT"] = str(file)
    haproxy(**haproxy_tls(trusted.server(), f"ca-file {trusted.root} verify required"))
    worker.enqueue()
    with worker.kept_connections():
        worker.publish(times=3, wait=900)
        worker.assert_uncharged()

        replacement = tmp_path / "replacement.pem"
        shutil.copy(trusted.client().whole, replacement)
        replacement.replace(file)

        def accepted():
            worker.publish(wait=900)
            return State.ACCEPTED in worker.states()

        wait_until(accepted, lambda: f"the new CLIENT_CERT is not used: {worker.last_texts()}")
        worker.drain()
    worker.assert_all_delivered()
