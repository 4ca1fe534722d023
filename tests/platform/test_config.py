"""A Platform that exists can be talked to: what can never work is refused, and named, when it is made."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from genesys_eventbridge.client.login import Basic, ask_for_token
from genesys_eventbridge.client.sockets import Deadline
from genesys_eventbridge.errors import Halted
from genesys_eventbridge.platform.config import Platform
from genesys_eventbridge.platform.wire import RESERVED_HEADERS

GOOD: dict[str, Any] = {
    "api_base_url": "https://api.mypurecloud.com",
    "login_base_url": "https://login.mypurecloud.com",
    "client_id": "some-client",
    "client_secret": "canary-secret",
}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("API_BASE_URL", "http://api.mypurecloud.com"),
        ("API_BASE_URL", "https://api.x@evil.example"),
        ("API_BASE_URL", "//evil.example"),
        ("API_BASE_URL", "https://api.example.com/\r\nX-Evil: 1"),
        ("API_BASE_URL", "https://api.example.com/?x=1"),
        ("API_BASE_URL", "ftp://api.example.com"),
        ("API_BASE_URL", ""),
        ("LOGIN_BASE_URL", "http://192.168.0.1"),
        ("LOGIN_BASE_URL", "https://login.example.com#x"),
        ("CLIENT_ID", ""),
        ("CLIENT_ID", "a:b"),
        ("CLIENT_ID", "a\n"),
        ("CLIENT_ID", "ä"),
        ("CLIENT_ID", None),
        ("CLIENT_SECRET", ""),
        ("CLIENT_SECRET", "canary-secret\n"),
        ("CLIENT_SECRET", "canary-\x00"),
        ("CLIENT_SECRET", "canary-ü"),
        ("CLIENT_SECRET", 5),
        ("SCOPES", "eventbridge:event:publish"),
        ("SCOPES", ["a\nb"]),
        ("SCOPES", [5]),
        ("SCOPES", [""]),
        ("TOKEN_PATH", "oauth/token"),
        ("TOKEN_PATH", "/oauth/token?x=1"),
        ("EVENTS_PATH", "/a/../b"),
        ("EVENTS_PATH", "/a b"),
        ("EVENTS_PATH", "//evil.example"),
        ("EVENTS_PATH", "/a\r\nX-Evil: 1"),
        ("EVENTS_PATH", None),
        ("EVENTS_PATH", "/a/%2e%2E/b"),
        ("EVENTS_PATH", "/a%zz"),
        ("IDEMPOTENCY_HEADER", "Idempotency Key"),
        ("IDEMPOTENCY_HEADER", "X\r\nY"),
        ("IDEMPOTENCY_HEADER", ""),
        ("CONTENT_TYPE", "a\r\nb"),
        ("CONTENT_TYPE", " a"),
        ("CONTENT_TYPE", "json"),
        ("CONTENT_TYPE", "application/json; charset"),
        *(("IDEMPOTENCY_HEADER", name.title()) for name in sorted(RESERVED_HEADERS)),
        ("EXTRA_HEADERS", ["X"]),
        ("EXTRA_HEADERS", {"X Y": "1"}),
        ("EXTRA_HEADERS", {"X\r\nY": "1"}),
        ("EXTRA_HEADERS", {5: "1"}),
        ("EXTRA_HEADERS", {"X": "canary-1\r\nEvil: 1"}),
        ("EXTRA_HEADERS", {"X": "canary-\x00"}),
        ("EXTRA_HEADERS", {"X": "canary-ü"}),
        ("EXTRA_HEADERS", {"X": 5}),
        ("EXTRA_HEADERS", {"authorization": "canary-"}),
        ("EXTRA_HEADERS", {"Host": "evil.example"}),
        ("EXTRA_HEADERS", {"Content-Length": "0"}),
        ("EXTRA_HEADERS", {"Transfer-Encoding": "chunked"}),
        ("EXTRA_HEADERS", {"Accept-Encoding": "gzip"}),
        ("EXTRA_HEADERS", {"idempotency-key": "1"}),
        ("CONNECT_TIMEOUT", 0),
        ("CONNECT_TIMEOUT", True),
        ("REQUEST_DEADLINE", float("inf")),
        ("REQUEST_DEADLINE", float("nan")),
        ("REQUEST_DEADLINE", "20"),
        ("CA_BUNDLE", False),
        ("CA_BUNDLE", ""),
        ("PROXY", "proxy.example.com:3128"),
        ("PROXY", "socks5://proxy.example.com"),
        ("PROXY", "http://"),
        ("PROXY", "http://user:canary-@[::1"),
        ("PROXY", ""),
        ("PROXY", 5),
        ("PROXY", "http://10.0.0.256:3128"),
        ("PROXY", "http://0x7f.1:3128"),
        ("PROXY", "http://a..b"),
        ("PROXY", "http://proxy.example.com:65536"),
        ("PROXY", "http://proxy.example.com/path"),
        ("PROXY", "http://proxy.example.com?q"),
        ("PROXY", "http://[fe80::1%25eth0]:3128"),
        ("PROXY", "http://canary-%3Auser:canary-password@proxy.example.com"),
    ],
)
def test_a_value_that_can_never_work_is_refused_by_its_name_without_its_secret(setting, value):
    with pytest.raises(ValueError, match=setting) as caught:
        Platform(**GOOD | {setting.lower(): value})

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api_base_url", "http://localhost:8900"),
        ("api_base_url", "http://[::1]:8900"),
        ("login_base_url", "https://gateway.example.com:8443/genesys/login"),
        ("client_id", lambda: "later"),
        ("client_secret", lambda: "later"),
        ("client_secret", "with space and : colon"),
        ("scopes", ()),
        ("scopes", []),
        ("idempotency_header", "X-Idempotency"),
        ("extra_headers", {"X-Gateway-Key": "abc def"}),
        ("ca_bundle", "/etc/ssl/ca.pem"),
        ("proxy", "http://user:p%40ss@proxy.example.com:3128"),
        ("proxy", "https://proxy.example.com"),
        ("proxy", "http://[::1]:3128/"),
        ("proxy", "http://user:pass:word@10.0.0.7"),
        ("content_type", 'application/cloudevents+json; charset="utf-8"'),
        ("events_path", "/a%20b/events"),
        ("connect_timeout", 1),
    ],
)
def test_what_can_work_is_taken(name, value):
    Platform(**GOOD | {name: value})


@pytest.mark.parametrize(
    "changes",
    [
        {"api_base_url": "http://localhost:8900"},
        {"login_base_url": "http://127.0.0.1"},
        {"api_base_url": "http://[::1]", "login_base_url": "http://[::1]"},
    ],
)
def test_a_proxy_that_could_read_the_secret_is_refused(changes):
    """What is asked over http is not tunnelled: the proxy itself receives the header with the secret."""
    with pytest.raises(ValueError, match=r"^PROXY would read CLIENT_SECRET.*Use https there") as caught:
        Platform(**GOOD | changes, proxy="http://user:canary-proxy@proxy.example.com:3128")

    assert {setting.upper() for setting in changes} == {
        word for word in ("API_BASE_URL", "LOGIN_BASE_URL") if word in str(caught.value)
    }
    assert "canary" not in str(caught.value)


def test_events_and_tokens_at_one_address_are_refused():
    gateway = {"api_base_url": "https://gateway.example/api", "login_base_url": "https://gateway.example"}

    with pytest.raises(ValueError, match="EVENTS_PATH and TOKEN_PATH are the same URL"):
        Platform(**GOOD | gateway, events_path="/token", token_path="/api/token")
    Platform(**GOOD, events_path="/token", token_path="/token")


def test_urls_are_normalised_and_joined():
    platform = Platform(
        **GOOD | {"api_base_url": "HTTPS://Api.Example.com:443/gateway/", "events_path": "/v3/events"}
    )

    assert platform.api_base_url == "https://api.example.com/gateway"
    assert platform.token_url == "https://login.mypurecloud.com/oauth/token"


@pytest.mark.parametrize(
    ("remote_id", "segment"),
    [
        ("evt-1", "evt-1"),
        ("a/../b", "a%2F..%2Fb"),
        ("a?b#c", "a%3Fb%23c"),
        ("a%2Fb", "a%252Fb"),
        ("ü b", "%C3%BC%20b"),
        (".a", ".a"),
        ("a:b~c", "a%3Ab~c"),
    ],
)
def test_an_id_is_exactly_one_segment(remote_id, segment):
    platform = Platform(**GOOD)

    request = platform.protocol.status_request(platform, remote_id)

    assert (request.method, request.path) == ("GET", f"{platform.events_path}/{segment}")


def test_it_is_frozen_also_in_its_headers_and_compares_by_value():
    headers = {"X-A": "1"}
    platform = Platform(**GOOD, extra_headers=headers)
    headers["X-A"] = "2"

    assert platform.extra_headers == {"X-A": "1"}
    assert platform == Platform(**GOOD, extra_headers={"X-A": "1"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        platform.proxy = "http://127.0.0.1:1"  # type: ignore[misc]
    with pytest.raises(TypeError):
        platform.extra_headers["X-A"] = "3"  # type: ignore[index]


def test_its_repr_holds_no_secret():
    platform = Platform(
        **GOOD, proxy="http://user:canary-proxy@127.0.0.1:1", extra_headers={"X-Key": "canary-header"}
    )

    assert "canary" not in repr(platform)
    assert "canary" not in f"{platform}"
    assert "https://api.mypurecloud.com" in repr(platform)


def test_a_host_that_only_looks_like_an_international_name_can_be_asked():
    """httpx would decode it, which is impossible, and the worker reported a defect."""
    platform = Platform(**GOOD | {"login_base_url": "https://xn--a.example.invalid"})

    with pytest.raises(Halted, match=r"No token from xn--a\.example\.invalid") as caught:
        ask_for_token(platform, Basic.of(platform), Deadline(5.0), transport=None)

    assert caught.value.kind == "network"
