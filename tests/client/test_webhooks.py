"""A POST to a webhook other than the platform's; tests/alerts/test_channels.py tests what it sends."""

import pytest

from genesys_eventbridge.client.webhooks import post
from tests.socket_server import SocketServer, answer, replies


@pytest.mark.parametrize(
    "script",
    [
        lambda talk: talk.stall(),
        lambda talk: talk.drip(b"HTTP/1.1 204 ", b"A"),
        lambda talk: talk.drip(b"HTTP/1.1 204 No Content\r\nX-Long: ", b"a"),
    ],
    ids=["says nothing", "drips its status", "drips headers"],
)
def test_the_whole_request_has_one_deadline(script):
    with SocketServer(script) as server:
        status, failure = post(server.url, b"{}", {}, seconds=0.2)

    assert status is None
    assert "Timeout" in failure


def test_an_answer_whose_body_breaks_off_counts_by_its_status():
    def broken_off(talk):
        talk.read_request()
        talk.send(answer(200, b"long")[:-2])

    with SocketServer(broken_off) as server:
        assert post(server.url, b"{}", {}, seconds=5) == (200, "")


def test_a_host_without_an_address_is_a_failure_and_no_error():
    status, failure = post("https://alerts.invalid/hook", b"{}", {}, seconds=5)

    assert status is None
    assert failure.startswith("ConnectError: ")


def test_a_proxy_that_refuses_is_a_failure():
    with SocketServer(replies(answer(403))) as server:
        status, failure = post("https://127.0.0.1:1/hook", b"{}", {}, seconds=5, proxy=server.url)

    assert status is None
    assert failure.startswith("ProxyError: ")


def test_certificates_that_cannot_be_loaded_are_a_failure(tmp_path):
    status, failure = post("https://127.0.0.1:1", b"{}", {}, seconds=5, ca_bundle=str(tmp_path / "none.pem"))

    assert status is None
    assert "none.pem" in failure
