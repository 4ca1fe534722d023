"""T17, T19, T20: what a hostile platform or caller sends costs bounded memory and time, and one log line."""

import functools
import io
import json
import logging
import os
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest

from genesys_eventbridge import relay
from genesys_eventbridge.client import auth
from genesys_eventbridge.errors import InvalidEvent
from genesys_eventbridge.models import Destination, OutboxEvent
from genesys_eventbridge.outbox import enqueue, enqueue_many
from tests import warm
from tests.outbox_rows import accepted, event
from tests.parsers import parser  # noqa: F401 - each test runs with both
from tests.socket_server import SocketServer

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _fresh_process():
    auth._process.begin()
    yield
    auth._process.begin()


# ---------------------------------------------------------------------------------------- T17: log lines

EVIL = {
    "line feed": "a\nERROR forged",
    "carriage return": "a\rERROR forged",
    "both": "a\r\nERROR forged",
    "vertical tab": "a\x0bERROR forged",
    "form feed": "a\x0cERROR forged",
    "next line": "a\x85ERROR forged",
    "line separator": "a\u2028ERROR forged",
    "paragraph separator": "a\u2029ERROR forged",
    "separators of files, groups, records": "a\x1cERROR\x1dforged\x1e",
    "colours": "\x1b[31mred\x1b[0m\x1b]0;title\x07\x9b31m",
    "clear screen": "\x1b[2J\x1b[H",
    "backspaces": "genuine\x08\x08\x08\x08\x08\x08\x08forged",
    "turned round": "\u202egpj.exe\u2066\u2069",
    "unseen": "a\u200bb\u2060c\ufeffd",
    "nul": "a\x00b",
    "half a character": "a\ud800b",
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", EVIL)
def test_whatever_the_platform_says_a_record_is_one_line_that_changes_nothing_on_a_terminal(settings, name):
    """T17: at every level down to DEBUG, of every logger, with publish, check and token trouble."""
    evil = EVIL[name]

    def script(talk):
        while request := talk.read_request():
            said = dict.fromkeys(
                ("message", "code", "error", "error_description", "contextId", "status"), evil
            )
            if request.target == "/oauth/token" and len(talk.server.requests) > 1:
                talk.answer(400, said)
            elif request.target == "/oauth/token":
                talk.answer(
                    200, {**said, "access_token": "t0ken", "token_type": "bearer", "expires_in": evil}
                )
            else:
                talk.answer(400 if request.method == "POST" else 200, said)

    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    counted = Counted()
    root = logging.getLogger()
    level = root.level
    for one in (handler, counted):
        root.addHandler(one)
    root.setLevel(logging.DEBUG)
    try:
        with SocketServer(script) as server:
            settings.GENESYS_EVENTBRIDGE = {
                "default": {
                    **settings.GENESYS_EVENTBRIDGE["default"],
                    "API_BASE_URL": server.url,
                    "LOGIN_BASE_URL": server.url,
                    "CHECK_DELAYS": [0.01],
                }
            }
            event(), accepted()
            relay.publish_due()
            relay.check_accepted()
            auth._process.begin()
            event()
            relay.publish_due()
    finally:
        root.setLevel(level)
        for one in (handler, counted):
            root.removeHandler(one)

    text = heard.getvalue()
    assert "forged" in text or name not in ("line feed", "both")
    assert len(text.splitlines()) == counted.records > 3
    assert all(character.isprintable() or character == "\n" for character in text)
    stored = [
        *OutboxEvent.objects.values_list("last_error", flat=True),
        Destination.objects.get().paused_reason,
    ]
    assert all(one.isprintable() and len(one) <= 500 for one in stored)


class Counted(logging.Handler):
    """How many records there were."""

    records = 0

    def emit(self, record):
        self.records += 1


# ------------------------------------------------------------------------------ T19: bombs, floods, drips

HEAD = b"HTTP/1.1 202 X\r\nContent-Type: application/json\r\n"


@functools.cache
def bomb():
    """200 MB of spaces in 200 KB, as an endless number of such pieces."""
    packer = zlib.compressobj(9, wbits=31)
    return packer.compress(b" " * 200_000_000) + packer.flush()


def compressed(talk):
    data = bomb()
    talk.flood(
        HEAD + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"%x\r\n%s\r\n" % (len(data), data),
    )


#: Sent without end, or without hurry: what is read is bounded.
ENDLESS = {
    "a body without end": lambda talk: talk.flood(
        HEAD + b"Content-Length: 99999999999\r\n\r\n", b"x" * 65536
    ),
    "chunks without end": lambda talk: talk.flood(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 9999
    ),
    "a chunk that never ends": lambda talk: talk.flood(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n", b"x" * 65536
    ),
    "a compressed bomb": compressed,
    "headers without end": lambda talk: talk.flood(HEAD, b"X-A: " + b"x" * 60_000 + b"\r\n"),
    "one header without end": lambda talk: talk.flood(HEAD + b"X-A: ", b"x" * 65536),
    "a status line without end": lambda talk: talk.flood(b"HTTP/1.1 202 ", b"x" * 65536),
    "interim answers without end": lambda talk: talk.flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 999),
    "a body that drips": lambda talk: talk.drip(HEAD + b"Content-Length: 9999\r\n\r\n", b" "),
    "headers that drip": lambda talk: talk.drip(HEAD, b"X"),
    "silence": lambda talk: talk.stall(),
}

#: Within the limit of 1 MiB, and costly for who reads it.
LARGE = {
    "a million brackets": lambda talk: talk.answer(202, b"[" * 1_000_000),
    "a million lists": lambda talk: talk.answer(202, b'{"id":[' + b"[]," * 340_000 + b"[]]}"),
    "a million lists to mask": lambda talk: talk.answer(202, b'{"secret":[' + b"[]," * 340_000 + b"[]]}"),
    "a million members to mask": lambda talk: talk.answer(
        400, b'{"secret":[' + b'{"":0},' * 140_000 + b"{}]}"
    ),
    "a bomb in a message": lambda talk: talk.answer(
        400, {"message": '{"secret":[' + "[]," * 330_000 + "[]]}"}
    ),
    "a number of a million digits": lambda talk: talk.answer(202, b'{"id":' + b"9" * 1_000_000 + b"}"),
    "a message of a million escapes": lambda talk: talk.answer(
        400, json.dumps({"message": "\x00" * 160_000})
    ),
    "a million words like secrets": lambda talk: talk.answer(400, b"Bearer secret=password: " * 43_000),
}

ATTACKS = {**ENDLESS, **LARGE}

CHILD = """
import json, re, resource, sys, threading
from pathlib import Path
from genesys_eventbridge.client import EventBridgeClient
from genesys_eventbridge.cloudevents import build_event
from genesys_eventbridge.errors import EventBridgeError

def publish(url, deadline):
    with EventBridgeClient(api_base_url=url, login_base_url=sys.argv[1], client_id="an-id",
                           client_secret="a-secret-0123", request_deadline=deadline) as one:
        try:
            one.publish(build_event("order.created", {}, source="shop").encode(), "a-key")
            said.append("taken")
        except EventBridgeError as error:
            said.append(type(error).__name__)

def peak():                               # ru_maxrss would be that of the process that started this one
    status = Path("/proc/self/status").read_text().expandtabs(1)
    return int(re.search("VmHWM: *([0-9]+) kB", status)[1]) / 1024

resource.setrlimit(resource.RLIMIT_CPU, (60, 60))  # seconds of CPU, the same on a machine that is busy
said = []
publish(sys.argv[1], 20)                      # what a first request loads is no attacker's doing
before = peak()
threads = [threading.Thread(target=publish, args=[sys.argv[2], 1]) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps([said, peak() - before]))
"""


def good(talk):
    while request := talk.read_request():
        if request.target == "/oauth/token":
            talk.answer(200, {"access_token": "t0ken", "token_type": "bearer", "expires_in": 60})
        else:
            talk.answer(202, {"id": "evt-1", "status": "accepted"})


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", ATTACKS)
def test_no_answer_costs_much_memory_or_more_time_than_its_deadline(name):
    """T19: sixteen senders meet it at once; a process of its own, so that its peak is this answer's."""

    def script(talk):
        while talk.read_request():
            ATTACKS[name](talk)

    with SocketServer(good) as fine, SocketServer(script) as hostile:
        done = warm.run(
            *("-c", CHILD, fine.url, hostile.url),
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            timeout=300,  # for what does not end; what it costs is judged by CPU time, in the child
        )

    assert done.returncode == 0, done.stderr
    said, grown = json.loads(done.stdout)
    assert said[0] == "taken"
    assert set(said[1:]) <= {"OutcomeUnknown", "Rejected", "Halted"}
    assert len(said) == 17
    assert grown < (50 if name in ENDLESS else 80)  # MB; LARGE: sixteen times 1 MiB, and one of them parsed


# ------------------------------------------------------------------------------------- T20: at enqueue()


def deep(levels):
    value: object = "bottom"
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def laughs():
    value: list[object] = ["ha"] * 10
    for _ in range(9):
        value = [value] * 10
    return value


GREEDY = {
    "a billion laughs": laughs,
    "10 MB of text": lambda: "x" * 10_000_000,
    "10 MB of small texts": lambda: ["x" * 10] * 1_000_000,
    "depth 10,000": lambda: deep(10_000),
    "depth 1,000,000": lambda: deep(1_000_000),
    "a key of 10 MB": lambda: {"x" * 10_000_000: 1},
    "10 MB of bytes": lambda: b"x" * 10_000_000,
    "an endless generator": lambda: iter(int, 1),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", GREEDY)
def test_what_a_caller_passes_is_refused_before_it_costs_anything(name):
    """T20: by size and depth, in the caller, without a row and without a copy of it."""
    data = GREEDY[name]()
    tracemalloc.start()
    try:
        with pytest.raises(InvalidEvent):
            enqueue("order.created", data, standalone=True)
        with pytest.raises(InvalidEvent):
            enqueue_many([{"type": "order.created", "data": data}], standalone=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 25_000_000
    assert not OutboxEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["type", "subject", "source", "ordering_key", "idempotency_key", "event_id"])
def test_a_text_of_ten_megabytes_is_refused_or_hashed(name):
    given: dict[str, Any] = {"source": "s", name: "x" * 10_000_000}
    kind = given.pop("type", "order.created")

    if name == "idempotency_key":  # becomes a UUID
        enqueue(kind, {}, standalone=True, **given)
    else:
        with pytest.raises(InvalidEvent):
            enqueue(kind, {}, standalone=True, **given)

    assert OutboxEvent.objects.count() == (name == "idempotency_key")
