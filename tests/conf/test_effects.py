"""Each setting changes what it is for: seen at the border, in the row, or in what a function returns."""

import json
import random
from collections.abc import Callable
from typing import Any

import certifi
import httpx
import pytest
from django.db.models import F
from opentelemetry.context import attach, detach
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from genesys_eventbridge import conf, relay, tasks, wake
from genesys_eventbridge.alerts.evaluation import configured, evaluate
from genesys_eventbridge.client import auth, login, sender
from genesys_eventbridge.db.clock import DatabaseNow, shifted
from genesys_eventbridge.errors import InvalidEvent, NotInTransaction
from genesys_eventbridge.models import Alert, DeliveryAttempt, Destination, OutboxEvent
from genesys_eventbridge.outbox import claim as claims
from genesys_eventbridge.outbox import destinations, enqueue, retention
from genesys_eventbridge.states import AttemptKind, State
from tests.outbox_rows import accepted, claim, ended, event

pytestmark = pytest.mark.django_db

BASE: dict[str, Any] = {
    "REGION": "us-east-1",
    "CLIENT_ID": "an-id",
    "CLIENT_SECRET": "a-secret-0123",
    "SOURCE": "com.example.tests",
}
HOUR, DAY = 3600, 86_400


class World:
    """A platform that answers by a script, and what a pass said to it."""

    def __init__(self, monkeypatch):
        self.monkeypatch = monkeypatch
        self.logins: list[httpx.Request] = []
        self.requests: list[httpx.Request] = []
        self.transports: list[dict[str, Any]] = []
        self.answer: Any = None
        for module in (login, sender):
            monkeypatch.setattr(module, "DirectTransport", self._transport)

    @property
    def request(self) -> httpx.Request:
        return self.requests[0]

    @property
    def row(self) -> OutboxEvent:
        return OutboxEvent.objects.annotate(now=DatabaseNow()).order_by("id")[0]

    @property
    def due_in(self) -> float:
        row: Any = self.row
        return float((row.due_at - row.now).total_seconds())

    @property
    def paused_for(self) -> float:
        left = (
            Destination.objects.annotate(left=F("paused_until")).values_list("paused_until", flat=True).get()
        )
        now = Destination.objects.annotate(now=DatabaseNow()).values_list("now", flat=True).get()
        assert left is not None
        return float((left - now).total_seconds())

    def send(self, code: Any = 202, body: Any = None, *, headers=None, row=None) -> "World":
        """One event, and a pass that publishes."""
        event(data={"number": "ORD-7777"}, row=row)
        return self.publish(code, body, headers=headers)

    def publish(self, code: Any = 202, body: Any = None, *, headers=None) -> "World":
        self._will_answer(code, {"id": "evt-1"} if body is None else body, headers)
        relay.publish_due()
        return self

    def ask(self, code: int, body: Any, *, ago: float) -> "World":
        """One accepted event, and a pass that asks about it."""
        accepted(remote_id="evt-1", accepted_at=DatabaseNow(-ago))
        self._will_answer(code, body, None)
        relay.check_accepted()
        return self

    def _will_answer(self, code, body, headers):
        def answer(request):
            if isinstance(code, Exception):
                raise code
            return httpx.Response(code, json=body, headers=headers)

        self.answer = answer

    def _transport(self, **keywords):
        self.transports.append(keywords)
        return httpx.MockTransport(self._handle)

    def _handle(self, request):
        request.read()
        if request.headers.get("Authorization", "").startswith("Basic"):
            self.logins.append(request)
            token = {"access_token": "token-canary", "token_type": "bearer", "expires_in": 3600}
            return httpx.Response(200, json=token)
        self.requests.append(request)
        return self.answer(request)


def refuses(kind: type[Exception], data: Any = None, **keywords: Any) -> bool:
    try:
        enqueue("order.created", data, **keywords)
    except kind:
        return True
    return False


def carries_a_trace(world: World) -> bool:
    traced = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    token = attach(TraceContextTextMapPropagator().extract(traced))
    try:
        return "traceparent" in enqueue("order.created", 1, standalone=True).body
    finally:
        detach(token)


def paused_twice(world: World) -> float:
    world.send(httpx.ConnectError("refused"))
    with shifted(30):
        world.publish(httpx.ConnectError("refused"))
    return Destination.objects.get().pause_seconds


def batches(world: World) -> int:
    """The most rows that were claimed at once."""
    found = []
    original = claims.claim

    def claimed(*arguments, **keywords):
        batch = original(*arguments, **keywords)
        found.append(len(batch.rows))
        return batch

    world.monkeypatch.setattr(claims, "claim", claimed)
    for _ in range(9):
        event()
    world.publish()
    return max(found)


def behind_a_dead_one(world: World) -> int:
    event(ordering_key="k", row=ended(State.DEAD, "rejected"))
    event(ordering_key="k")
    return len(claim().rows)


def prune_seconds(world: World) -> float:
    asked: list[float] = []

    def prune(settings, *, max_seconds):
        asked.append(max_seconds)
        return retention.Pruned()

    world.monkeypatch.setattr(retention, "prune", prune)
    tasks.prune("default")
    return asked[0]


def passes(world: World) -> int:
    world.monkeypatch.setattr(tasks, "BATCHES_A_PASS", 1)
    world.monkeypatch.setattr(tasks, "_has_one_writer", lambda: False)
    for _ in range(9):
        event()
    return tasks._passes(conf.destination().changed(batch_size=1))


def wakes(world: World) -> int:
    queued: list[Any] = []
    world.monkeypatch.setattr("django_q.tasks.async_task", lambda *task, **_how: queued.append(task))
    wake.forget()
    wake.wake("default")
    wake.forget()
    return len(queued)


def pruned(world: World) -> tuple[int, int]:
    ten_days_ago = DatabaseNow(-10 * DAY)
    event(row=ended(State.DELIVERED, finished_at=ten_days_ago, created_at=ten_days_ago))
    done = retention.prune(conf.destination())
    return done.rows, done.blanked


def alerted(world: World) -> int:
    event(row=ended(State.DEAD, "rejected"))
    with shifted(600):
        return len(evaluate(configured(), by_worker=False))


def claimed_until(world: World) -> bool:
    event()
    claim()
    return world.due_in > 100


def allowed(world: World) -> int:
    gate = destinations.gate(AttemptKind.PUBLISH, "default", "tests")
    return destinations.allowed(AttemptKind.PUBLISH, conf.destination(), gate, 10).tokens


def doubtful(world: World) -> str:
    return world.send(503, row={"attempts": 1, "in_doubt_since": DatabaseNow(-2 * HOUR)}).row.state


def crew(world: World) -> int:
    with relay._senders_for(conf.destination(), None, None, None) as senders:
        return senders.count


Observe = Callable[[World], Any]
#: A value, and what shows it.
EFFECTS: dict[str, tuple[Any, Observe]] = {
    "REGION": ("eu-west-1", lambda world: world.send().request.url.host),
    "API_BASE_URL": ("https://api.example.com", lambda world: world.send().request.url.host),
    "LOGIN_BASE_URL": ("https://sso.example.com", lambda world: world.send().logins[0].url.host),
    "CLIENT_ID": ("another", lambda world: world.send().logins[0].headers["Authorization"]),
    "CLIENT_SECRET": ("another", lambda world: world.send().logins[0].headers["Authorization"]),
    "SOURCE": ("com.example.other", lambda world: json.loads(world.send().request.content)["source"]),
    "SCOPES": (["a"], lambda world: world.send().logins[0].content),
    "TOKEN_PATH": ("/token", lambda world: world.send().logins[0].url.path),
    "EVENTS_PATH": ("/events", lambda world: world.send().request.url.path),
    "IDEMPOTENCY_HEADER": ("X-Key", lambda world: "X-Key" in world.send().request.headers),
    "CONTENT_TYPE": ("a/b", lambda world: world.send().request.headers["Content-Type"]),
    "EXTRA_HEADERS": ({"X-Gateway": "1"}, lambda world: world.send().request.headers.get("X-Gateway")),
    "CONNECT_TIMEOUT": (1, lambda world: world.send().request.extensions["timeout"]["connect"]),
    "REQUEST_DEADLINE": (7, lambda world: world.send().request.extensions["timeout"]["read"]),
    "CA_BUNDLE": (certifi.where(), lambda world: world.send().transports[-1]["ca_bundle"]),
    "CLIENT_CERT": ("/client.pem", lambda world: world.send().transports[-1]["client_cert"]),
    "PROXY": ("http://proxy.example.com", lambda world: world.send().transports[-1]["proxy"]),
    "ACCEPTED_CODES": ([203], lambda world: world.send(203).row.state),
    "DUPLICATE_CODES": ([208], lambda world: world.send(208).row.state),
    "DELIVERED_STATUSES": (
        ["Done"],
        lambda world: world.ask(200, {"id": "evt-1", "status": "done"}, ago=9).row.state,
    ),
    "FAILED_STATUSES": (
        ["Lost"],
        lambda world: world.ask(200, {"id": "evt-1", "status": "lost"}, ago=9).row.state,
    ),
    "NOT_FOUND_GRACE": (1, lambda world: world.ask(404, {"message": "x", "status": 404}, ago=99).row.state),
    "CONFIRM_FOR": (60, lambda world: world.ask(200, {"id": "evt-1", "status": "queued"}, ago=999).row.state),
    "RETRY_AFTER_DEFAULT": (500, lambda world: world.send(429).paused_for > 400),
    "RETRY_AFTER_CAP": (
        60,
        lambda world: world.send(429, headers={"Retry-After": "9000"}).paused_for > 400,
    ),
    "REDACT_KEYS": (
        ["note"],
        lambda world: (
            "c4n4ry" in _excerpt(world.send(400, {"message": "no", "status": 400, "note": "c4n4ry"}))
        ),
    ),
    "IDEMPOTENCY_WINDOW": (2 * HOUR, doubtful),
    "IDEMPOTENCY_MARGIN": (23 * HOUR, doubtful),
    "MAX_EVENT_BYTES": (400, lambda world: refuses(InvalidEvent, "x" * 400, standalone=True)),
    "CONFIRM": (False, lambda world: world.send().row.state),
    "CHECK_DELAYS": ([500], lambda world: world.send().due_in > 400),
    "MAX_ATTEMPTS": (1, lambda world: world.send(503).row.state),
    "MAX_AGE": (60, lambda world: world.send(423, row={"created_at": DatabaseNow(-HOUR)}).row.state),
    "PAUSE_BASE": (50, lambda world: world.send(httpx.ConnectError("refused")).paused_for > 40),
    "PAUSE_CAP": (5, paused_twice),
    "BACKOFF_BASE": (1000, lambda world: world.send(423).due_in > 100),
    "BACKOFF_CAP": (6, lambda world: world.send(423, row={"attempts": 9}).due_in > 100),
    "RATE_PER_MINUTE": (60, allowed),
    "CONCURRENCY": (3, crew),
    "BATCH_SIZE": (2, batches),
    "LEASE_SECONDS": (500, claimed_until),
    "PASS_SECONDS": (30, prune_seconds),
    "PARALLEL_PASSES": (2, passes),
    "BLOCK_KEY_ON_DEAD": (False, behind_a_dead_one),
    "WAKE": ("django_q", wakes),
    "REQUIRE_TRANSACTION": (False, lambda world: refuses(NotInTransaction)),
    "TRACING": (False, carries_a_trace),
    "SCHEMAS": (
        {"order.created": {"type": "integer"}},
        lambda world: refuses(InvalidEvent, {"a": 1}, standalone=True),
    ),
    "RETENTION_DAYS": (5, pruned),
    "PAYLOAD_RETENTION_DAYS": (5, pruned),
    "ALERTS": ("tests.alerts.receive", alerted),
    "PROTOCOL": ("webhook", lambda world: world.send().request.url.path),
    "WEBHOOK_TOKEN": ("another-0123", lambda world: world.send().request.url.path),
    "WEBHOOK_BODY": ("data", lambda world: "ce-type" in world.send().request.headers),
    "ON_DOUBT": ("resend", lambda world: world.send(500).row.state),
}
_WEBHOOK = {"PROTOCOL": "webhook", "WEBHOOK_TOKEN": "a-token-0123"}
#: What else must be set for these settings to have an effect.
BESIDE: dict[str, dict[str, Any]] = {
    "PROTOCOL": {"WEBHOOK_TOKEN": "a-token-0123"},
    **dict.fromkeys(["WEBHOOK_TOKEN", "WEBHOOK_BODY", "ON_DOUBT"], _WEBHOOK),
}


def _excerpt(world: World) -> str:
    attempt = DeliveryAttempt.objects.order_by("-id")[0]
    return f"{attempt.response_excerpt} {attempt.error} {world.row.last_error}"


@pytest.fixture
def observe(settings, monkeypatch):
    """What is seen under these settings, in a world of its own."""

    def seen(key: str, **changes: Any) -> Any:
        auth.forget()
        for model in (DeliveryAttempt, OutboxEvent, Destination, Alert):
            model.objects.all().delete()
        random.seed(1)
        settings.GENESYS_EVENTBRIDGE = {"default": {**BASE, **BESIDE.get(key, {}), **changes}}
        assert [
            problem for problem in conf.problems() if problem.is_error and problem.key != "CLIENT_CERT"
        ] == []
        with monkeypatch.context() as patches:
            return EFFECTS[key][1](World(patches))

    return seen


def test_each_setting_has_its_effect_here():
    """A new setting needs an entry."""
    assert set(EFFECTS) == {"REGION", *conf.DEFAULTS}


@pytest.mark.parametrize("key", EFFECTS)
def test_a_setting_has_an_effect(key, observe):
    before = observe(key)

    after = observe(key, **{key: EFFECTS[key][0]})

    assert before != after
    assert before == observe(key)


#: What the checks take at most; a pass must take it too.
LARGEST = [
    *(key for key, default in conf.DEFAULTS.items() if type(default) in (int, float)),
    *("MAX_AGE", "RATE_PER_MINUTE", "PAYLOAD_RETENTION_DAYS", "CHECK_DELAYS"),
]


@pytest.mark.parametrize("key", LARGEST)
@pytest.mark.parametrize("answer", [202, 429, 503])
def test_the_largest_number_that_the_checks_take_is_taken_by_a_pass(key, answer, settings, monkeypatch):
    """Dates, intervals and timers of databases and systems end somewhere."""
    for value in (1_000_000_000_000, 3_153_600_000, 1_000_000_000, 86_400, 36_500, 5000, 1000, 59, 22, 20):
        given = {key: [value] if key == "CHECK_DELAYS" else value}
        settings.GENESYS_EVENTBRIDGE = {"default": {**BASE, **given}}
        if not any(problem.is_error for problem in conf.problems()):
            break
    else:
        pytest.fail("no value is taken")

    world = World(monkeypatch).send(answer)
    OutboxEvent.objects.filter(state=State.ACCEPTED).update(due_at=DatabaseNow(-1))
    relay.check_accepted()
    retention.prune(conf.destination())

    assert len(world.requests) >= 1
