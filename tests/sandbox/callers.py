"""Clients of the sandbox, in process or on a socket, and what they send."""

import json
import socket

import httpx

from genesys_eventbridge.sandbox import WEBHOOK_TOKEN

TOKEN_PATH = "/oauth/token"
EVENTS_PATH = "/api/v2/eventbridge/events"
CANARY = "secret-canary-4711"


def webhook_path(token=WEBHOOK_TOKEN):
    return f"/api/v2/integrations/webhooks/{token}/events"


class Clock:
    """Monotonic seconds that move only when told."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


class Caller:
    """A client of the sandbox that holds one token; in process, or at the address of a server."""

    def __init__(self, sandbox, base_url=None):
        transport = None if base_url else httpx.WSGITransport(app=sandbox)
        self.http = httpx.Client(transport=transport, base_url=base_url or "http://sandbox", trust_env=False)
        self.bearer = ""

    def token(self, **changes):
        request = {"auth": ("client", CANARY), "data": {"grant_type": "client_credentials"}, **changes}
        return self.http.post(TOKEN_PATH, **request)

    def login(self):
        self.bearer = self.token().json()["access_token"]
        return self

    def publish(self, event, key="key-1", **headers):
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        known = {
            "Authorization": f"Bearer {self.bearer}",
            "Content-Type": "application/cloudevents+json",
            "Idempotency-Key": key,
        }
        sent = {name: value for name, value in {**known, **headers}.items() if value is not None}
        return self.http.post(EVENTS_PATH, content=body, headers=sent)

    def invoke(self, body, token=WEBHOOK_TOKEN, **headers):
        """Sends ``body`` to the webhook with this token."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Content-Type": "application/json", **given}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.post(webhook_path(token), content=content, headers=sent)

    def status(self, remote_id):
        return self.http.get(f"{EVENTS_PATH}/{remote_id}", headers={"Authorization": f"Bearer {self.bearer}"})

    def control(self, **fields):
        return self.http.post("/_control", json=fields)


def event(number=1, /, **changes):
    members = {
        "specversion": "1.0",
        "id": f"event-{number}",
        "source": "com.example.tests",
        "type": "order.created",
        "subject": f"ORD-{number}",
        "time": "2026-11-23T10:00:00.000Z",
        "data": {"number": number},
        **changes,
    }
    return {name: value for name, value in members.items() if value is not ...}


def outcome(request, *arguments):
    """The status of an answer, or the name of the error that httpx makes of it."""
    try:
        return request(*arguments).status_code
    except httpx.HTTPError as error:
        return type(error).__name__


def exchange(server, request, *, finish=True):
    """What the server writes to one connection after these bytes, until it closes.

    Raises ConnectionError where the server closed before it had read all of them.
    """
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(request)
        if finish:
            try:
                connection.shutdown(socket.SHUT_WR)
            except OSError as error:  # ENOTCONN has no class of its own
                raise ConnectionResetError(*error.args) from error
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer
