"""Forward proxies: squid, alone or behind haproxy; what they refuse accuses no event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from genesys_eventbridge.states import State
from tests.gateways.platform import PATIENT, Worker
from tests.gateways.processes import Nginx, free_port

LOGIN = "ana:canary-proxy-password"
UNCHARGED = {(State.PENDING, 0, 0, None)}


@pytest.fixture
def tls(authority) -> dict[str, object]:
    """What makes nginx speak TLS."""
    server = authority.server()
    directives = f"ssl_certificate {server.certificate}; ssl_certificate_key {server.key};"
    return {"listen": "ssl", "server": directives}


@pytest.fixture
def api(nginx, worker, authority, tls) -> Nginx:
    """The platform by https, its login too: a proxy opens a tunnel, and sees nothing of what passes."""
    worker.settings["CA_BUNDLE"] = str(authority.root)
    server: Nginx = nginx(tls=True, **tls)
    worker.settings["LOGIN_BASE_URL"] = worker.settings["API_BASE_URL"]
    return server


@pytest.fixture(params=["with a token", "without a token"])
def by(request, api, worker) -> Callable[[Any, str], None]:
    """Sets the proxy; the worker then has its token, or has to fetch one through that proxy first."""

    def begin(server: Any, login: str = "") -> None:
        worker.settings["PROXY"] = proxy_url(server, login)
        if request.param == "with a token":
            worker.enqueue(1)
            worker.publish()
            worker.check()
            assert worker.states() == {State.DELIVERED: 1}, worker.last_texts()

    return begin


def proxy_url(server: Any, login: str = "") -> str:
    return f"http://{login}{'@' if login else ''}127.0.0.1:{server.port}"


def waiting(worker: Worker) -> set[tuple[Any, ...]]:
    """The rows of the events that the proxy stands in the way of."""
    rows = [row for row in worker.rows() if row.state != State.DELIVERED]
    return {(row.state, row.attempts, row.halts, row.in_doubt_since) for row in rows}


@pytest.mark.parametrize("login", ["", LOGIN])
@pytest.mark.usefixtures("api")
def test_events_pass_through_squid(login, squid, worker):
    worker.settings["PROXY"] = proxy_url(squid(login=login), login)
    worker.enqueue(10)

    worker.publish()
    worker.check()

    assert {row.attempts for row in worker.rows()} == {1}, worker.last_texts()
    worker.assert_all_delivered()


# ---- what a person must change -------------------------------------------------------------------


@pytest.mark.parametrize("login", ["", "ana:wrong", "eve:canary-proxy-password"])
def test_a_proxy_that_wants_a_login_accuses_no_event(login, by, squid, worker):
    """407 in answer to CONNECT."""
    server = squid()
    by(server, login)
    server.restart(login=LOGIN)
    worker.enqueue()

    worker.publish(times=5, wait=900)

    assert waiting(worker) == UNCHARGED
    assert worker.pause() == "config"
    worker.assert_texts_name("PROXY", "login")
    worker.assert_texts_leave_out("canary-proxy-password", "ana:wrong")
    worker.settings["PROXY"] = proxy_url(server, LOGIN)
    worker.drain()
    worker.assert_all_delivered()


def test_a_proxy_that_forbids_the_host_accuses_no_event(by, squid, worker):
    """403 in answer to CONNECT."""
    server = squid()
    by(server)
    server.restart(access="http_access deny all")
    worker.enqueue()

    worker.publish(times=5, wait=900)

    assert waiting(worker) == UNCHARGED
    assert worker.pause() == "config"
    worker.assert_texts_name("PROXY", "403")
    server.restart()
    worker.drain()
    worker.assert_all_delivered()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 407])
def test_a_tunnel_that_is_refused_accuses_no_event(status, by, front, worker):
    server = front()
    by(server)
    server.reload(frontend=f"http-request deny deny_status {status}")
    worker.enqueue()

    worker.publish(times=5, wait=900)

    assert waiting(worker) == UNCHARGED
    assert worker.pause() == "config"
    worker.assert_texts_name("PROXY", str(status))
    server.reload(mode="tcp")
    worker.drain()
    worker.assert_all_delivered()


# ---- trouble of the network ----------------------------------------------------------------------


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_gateway_error_in_answer_to_connect_is_trouble_of_the_network(status, by, front, worker):
    """Seconds of pause, not minutes."""
    server = front()
    by(server)
    server.reload(frontend=f"http-request deny deny_status {status}")
    worker.enqueue()

    worker.publish(times=15, wait=60)

    assert waiting(worker) == UNCHARGED
    assert worker.pause() == "network"
    worker.assert_texts_name(str(status))
    server.reload(mode="tcp")
    worker.clock.wait(60)
    worker.publish()
    assert State.ACCEPTED in worker.states(), "the pause is longer than a minute"
    worker.drain()
    worker.assert_all_delivered()


@pytest.mark.parametrize("status", [408, 429, 500])
def test_a_proxy_that_is_out_of_order_accuses_no_event(status, by, front, worker):
    """Whether a person or time helps, such a proxy does not say: the length of the pause is not tested."""
    server = front()
    by(server)
    server.reload(frontend=f"http-request deny deny_status {status}")
    worker.enqueue()

    worker.publish(times=5, wait=900)

    assert waiting(worker) == UNCHARGED
    worker.assert_texts_name(str(status))
    server.reload(mode="tcp")
    worker.drain()
    worker.assert_all_delivered()


def test_a_platform_that_the_proxy_does_not_reach_is_trouble_of_the_network(by, squid, worker, api, tls):
    """squid answers 503 to CONNECT."""
    by(squid())
    api.stop()
    worker.enqueue()

    worker.publish(times=15, wait=60)

    assert waiting(worker) == UNCHARGED
    assert worker.pause() == "network"
    worker.assert_texts_name("503")
    api.start(**tls)
    worker.drain()
    worker.assert_all_delivered()


def test_a_login_host_that_the_proxy_does_not_reach_accuses_no_event(squid, worker, api):
    worker.settings |= {"PROXY": proxy_url(squid()), "LOGIN_BASE_URL": f"https://127.0.0.1:{free_port()}"}
    worker.enqueue()

    worker.publish(times=15, wait=60)

    assert waiting(worker) == UNCHARGED
    assert worker.posts() == 0
    assert worker.pause() == "network"
    worker.assert_texts_name("token", "503")
    worker.settings["LOGIN_BASE_URL"] = worker.settings["API_BASE_URL"]
    worker.drain()
    worker.assert_all_delivered()


@pytest.mark.parametrize("rule", ["silent-drop", "reject"])
def test_a_proxy_that_hangs_up_on_connect_accuses_no_event(rule, by, front, worker):
    worker.settings |= {"REQUEST_DEADLINE": 1, "CONNECT_TIMEOUT": 1}
    server = front()
    by(server)
    server.reload(frontend=f"http-request {rule}")
    worker.enqueue()

    worker.publish(times=2, wait=900)

    assert waiting(worker) == UNCHARGED
    server.reload(mode="tcp")
    worker.settings |= PATIENT
    worker.drain()
    worker.assert_all_delivered()


def test_a_proxy_that_is_not_there_accuses_no_event(by, squid, worker):
    server = squid()
    by(server)
    server.stop()
    worker.enqueue()

    worker.publish(times=15, wait=60)

    assert waiting(worker) == UNCHARGED
    assert worker.pause() == "network"
    server.start()
    worker.drain()
    worker.assert_all_delivered()


# ---- one host of two, and a proxy that comes and goes --------------------------------------------


@pytest.mark.parametrize("trouble", ["wants a login", "forbids the host", "is not there"])
@pytest.mark.usefixtures("api")
def test_one_host_behind_a_bad_proxy_kills_no_event_that_others_could_send(trouble, squid, worker):
    values = {"wants a login": {"login": LOGIN}, "forbids the host": {"access": "http_access deny all"}}
    bad = proxy_url(squid(**values[trouble])) if trouble in values else f"http://127.0.0.1:{free_port()}"
    (unlucky,) = worker.enqueue(1)

    for _ in range(8):
        worker.publish(wait=900, PROXY=bad)
        worker.send_another(unlucky)

    worker.drain()
    worker.assert_all_delivered()


@pytest.mark.usefixtures("api")
def test_a_proxy_that_restarts_while_events_are_published_doubles_and_loses_nothing(
    squid, worker, while_publishing
):
    server = squid()
    worker.settings |= {"PROXY": proxy_url(server), "CONCURRENCY": 4, "BATCH_SIZE": 50}
    worker.enqueue(200)

    assert while_publishing(server.restart) > 0
    worker.drain()
    worker.assert_all_delivered()


# ---- https to the proxy --------------------------------------------------------------------------


@pytest.fixture
def https_proxy(front, authority):
    """squid behind a haproxy that decrypts; returns its PROXY for a login."""

    def start(**values):
        server = front(**values)
        server.reload(mode="tcp", bind=f"ssl crt {authority.server('proxy').whole}")
        return lambda login: proxy_url(server, login).replace("http://", "https://")

    return start


@pytest.mark.usefixtures("api")
def test_events_pass_through_a_proxy_by_https_with_its_login(https_proxy, worker):
    worker.settings["PROXY"] = https_proxy(login=LOGIN)(LOGIN)
    worker.enqueue(10)

    worker.publish()
    worker.check()

    assert {row.attempts for row in worker.rows()} == {1}, worker.last_texts()
    worker.assert_all_delivered()


@pytest.mark.usefixtures("api")
def test_an_https_proxy_that_refuses_the_login_accuses_no_event(https_proxy, worker):
    proxy = https_proxy(login=LOGIN)
    worker.settings["PROXY"] = proxy("ana:wrong")
    worker.enqueue()

    worker.publish(times=5, wait=900)

    assert waiting(worker) == UNCHARGED
    assert worker.pause() == "config"
    worker.assert_texts_name("PROXY", "login")
    worker.assert_texts_leave_out("ana:wrong")
    worker.settings["PROXY"] = proxy(LOGIN)
    worker.drain()
    worker.assert_all_delivered()


@pytest.mark.usefixtures("api")
def test_a_proxy_of_an_unknown_authority_names_the_setting(front, stranger, worker):
    server = front()
    server.reload(mode="tcp", bind=f"ssl crt {stranger.server('proxy').whole}")
    worker.settings["PROXY"] = proxy_url(server).replace("http://", "https://")
    worker.enqueue()

    worker.publish(times=5, wait=900)

    assert waiting(worker) == UNCHARGED
    assert worker.pause() == "config"
    worker.assert_texts_name("certificate", "CA_BUNDLE")
    worker.settings["PROXY"] = None
    worker.drain()
    worker.assert_all_delivered()


@pytest.mark.usefixtures("api")
def test_https_to_a_plain_proxy_is_no_question_of_trust(squid, worker):
    server = squid()
    worker.settings["PROXY"] = proxy_url(server).replace("http://", "https://")
    worker.enqueue()

    worker.publish(times=5, wait=900)

    assert waiting(worker) == UNCHARGED
    worker.assert_texts_name("TLS", "PROXY")
    worker.assert_texts_leave_out("is not trusted")
    worker.settings["PROXY"] = proxy_url(server)
    worker.drain()
    worker.assert_all_delivered()
