"""haproxy before the platform: its pages, queues and time limits, one broken server of two, and reloads."""

import uuid

import pytest

from genesys_eventbridge.states import Reason, State
from tests.gateways.platform import PATIENT
from tests.gateways.processes import free_port
from tests.socket_server import SocketServer, answer, replies

#: What haproxy answers on its own -> the kind of the pause that it is.
DENIALS = {
    "deny deny_status 400": "config",
    "deny deny_status 403": "permission",
    "deny deny_status 404": "config",
    "deny deny_status 405": "config",
    "deny deny_status 407": "config",
    "deny deny_status 408": "network",
    "deny deny_status 410": "config",
    "deny deny_status 413": "config",
    "deny deny_status 429": "rate",
    "deny deny_status 500": "network",
    "deny deny_status 502": "network",
    "deny deny_status 503": "network",
    "deny deny_status 504": "network",
    "return status 431": "config",
    "return status 400 content-type text/plain string no": "config",
    'return status 400 content-type application/json string "{\\"message\\":\\"Bad Request\\"}"': "config",
    'return status 200 content-type application/json string "{\\"status\\":\\"ok\\"}"': "config",
    "redirect location https://elsewhere.invalid/": "config",
    "silent-drop": "network",
    "reject": "network",
    "tarpit": "network",
}


@pytest.mark.parametrize("rule", DENIALS)
def test_an_answer_of_haproxy_itself_pauses_and_accuses_no_event(rule, haproxy, worker):
    gateway = haproxy(frontend=f"http-request {rule}", defaults="timeout tarpit 50ms")
    if DENIALS[rule] == "network":
        worker.settings |= {"REQUEST_DEADLINE": 0.3, "CONNECT_TIMEOUT": 0.3}
    worker.enqueue()

    worker.publish()

    assert worker.posts() == 0
    assert worker.pause() == DENIALS[rule], worker.last_texts()
    worker.publish(times=4, wait=900)
    assert worker.states() == {State.PENDING: 6}, worker.last_texts()
    worker.settings |= PATIENT
    gateway.reload()
    worker.drain()
    worker.assert_all_delivered()


def test_a_payload_that_a_firewall_dislikes_ends_alone_and_stops_no_other(haproxy, worker):
    """It alone meets the 403 again and again while others are accepted."""
    haproxy(frontend="http-request wait-for-body time 1s\n    http-request deny if { req.body -m sub DROP }")
    (disliked,) = worker.enqueue(1, {"text": "DROP TABLE"})

    for _ in range(20):
        worker.enqueue(2)
        worker.publish(wait=900)

    disliked.refresh_from_db()
    assert (disliked.state, disliked.reason) == (State.DEAD, Reason.REJECTED)
    assert "403" in disliked.last_error
    worker.drain()
    worker.judge(ended_by_their_own_halts=[disliked])
    assert worker.states() == {State.DEAD: 1, State.DELIVERED: 40}


@pytest.mark.parametrize("status", [400, 403, 404, 431, 502, 503])
def test_one_broken_server_of_two_kills_no_event(status, haproxy, worker):
    """Any event may meet the broken one, again and again; none is at fault."""
    page = answer(status, "<html><h1>no</h1></html>", "Content-Type: text/html")
    with SocketServer(replies(page)) as broken:
        gateway = haproxy(backend="balance random(1)", servers=f"server second 127.0.0.1:{broken.port}")
        worker.enqueue(30)

        for _ in range(12):
            worker.publish(wait=120)
            worker.judge()

    gateway.reload()
    worker.drain()
    worker.assert_all_delivered()


def test_no_server_behind_the_gateway_ends_no_event(haproxy, worker):
    gateway = haproxy(upstream=free_port())
    worker.enqueue()

    worker.publish(times=25, wait=900)

    assert worker.states() == {State.PENDING: 6}, worker.last_texts()
    assert worker.pause() == "network"
    worker.assert_texts_name("503")
    gateway.upstream = worker.platform.port
    gateway.reload()
    worker.drain()
    worker.assert_all_delivered()


def test_no_server_behind_a_gateway_that_only_passes_bytes_ends_no_event(haproxy, worker):
    """The connection is taken and closed again: for all that is known, the request was sent."""
    gateway = haproxy(upstream=free_port(), mode="tcp")
    worker.enqueue()

    worker.publish(times=25, wait=900)

    assert worker.states() == {State.PENDING: 6}, worker.last_texts()
    assert worker.pause() == "network"
    gateway.upstream = worker.platform.port
    gateway.reload(mode="tcp")
    worker.drain()
    worker.assert_all_delivered()


def test_answers_that_come_too_late_for_haproxy_are_proved_by_the_next_try(haproxy, worker, platform):
    haproxy(server_timeout="100ms")
    worker.enqueue(3)

    with platform.holding_answers():
        worker.publish()
    assert worker.states() == {State.PENDING: 3}
    assert "504" in worker.texts[-1]
    worker.drain()

    worker.assert_all_delivered()
    assert platform.sandbox.ledger()["requests"]["publish POST 409"] == 3


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nBad Header\r\n\r\n",
        b"\x16\x03\x01",
    ],
    ids=["no status", "negative length", "no colon", "TLS"],
)
def test_an_upstream_that_speaks_no_http_ends_no_event(garbage, haproxy, worker):
    """502: haproxy answers in its place."""

    def script(talk):
        talk.read_request()
        talk.send(garbage)

    with SocketServer(script) as broken:
        gateway = haproxy(upstream=broken.port)
        worker.enqueue()
        worker.publish(times=4, wait=120)

    assert worker.states() == {State.PENDING: 6}
    assert worker.pause() == "network"
    worker.assert_texts_name("502")
    gateway.upstream = worker.platform.port
    gateway.reload()
    worker.drain()
    worker.assert_all_delivered()


@pytest.mark.parametrize("status", [429, 503])
def test_what_haproxys_rate_limit_refuses_is_sent_later(status, haproxy, worker):
    gateway = haproxy(
        frontend="stick-table type ip size 10 expire 60s store http_req_rate(60s)\n"
        "    http-request track-sc0 src\n"
        f"    http-request deny deny_status {status} if {{ sc_http_req_rate(0) gt 4 }}"
    )
    worker.enqueue(12)

    worker.publish(times=4, wait=60)

    worker.judge()
    assert worker.states() == {State.ACCEPTED: 4, State.PENDING: 8}
    assert worker.pause() == ("rate" if status == 429 else "network")
    gateway.reload()
    worker.drain()
    worker.assert_all_delivered()


def test_headers_too_large_for_haproxy_kill_nothing(haproxy, worker, platform):
    gateway = haproxy(**{"global": "tune.bufsize 8192"})
    platform.token_padding = "x" * 9000
    worker.enqueue()

    worker.publish(times=3, wait=900)

    worker.assert_uncharged()
    worker.assert_texts_name("gateway", "400")
    gateway.reload()
    worker.drain()
    worker.assert_all_delivered()


@pytest.mark.parametrize(
    "options",
    [
        {"defaults": "option httpclose"},
        {"defaults": "option http-server-close"},
        {"defaults": "http-reuse always"},
        {"frontend": "http-after-response set-header Connection close"},
        {"mode": "tcp"},
    ],
    ids=lambda options: next(iter(options.values())),
)
def test_events_pass_in_one_try_however_haproxy_keeps_its_connections(options, haproxy, worker):
    haproxy(**options)
    with worker.kept_connections():
        for _ in range(3):
            worker.enqueue(7)
            worker.publish()
        worker.check()

    assert {row.attempts for row in worker.rows()} == {1}, worker.last_texts()
    worker.assert_all_delivered()


def test_connections_that_the_gateway_closes_while_they_are_idle_double_and_lose_nothing(haproxy, worker):
    haproxy(defaults="timeout http-keep-alive 1ms")
    with worker.kept_connections():
        for _ in range(10):
            worker.enqueue(4)
            worker.publish()

    worker.drain()
    worker.assert_all_delivered()


def test_reloads_of_haproxy_while_events_are_published_double_and_lose_nothing(
    haproxy, worker, while_publishing
):
    gateway = haproxy()
    worker.settings |= {"CONCURRENCY": 4, "BATCH_SIZE": 50}
    worker.enqueue(300)

    assert while_publishing(gateway.reload) > 1
    worker.drain()
    worker.assert_all_delivered()


@pytest.mark.parametrize("ending", [b"", b"Connection: close\r\n"], ids=["silent", "announced"])
def test_an_upstream_that_speaks_http_1_0_is_understood(ending, haproxy, worker):
    """Its answer ends where the connection does."""

    def script(talk):
        if talk.read_request():
            body = f'{{"id": "evt-{uuid.uuid4()}", "status": "delivered"}}'.encode()
            talk.send(
                b"HTTP/1.0 202 Accepted\r\nContent-Type: application/json\r\n" + ending + b"\r\n" + body
            )

    with SocketServer(script) as old:
        haproxy(upstream=old.port)
        worker.enqueue(5)
        worker.publish()

    assert worker.states() == {State.DELIVERED: 5}, worker.last_texts()
