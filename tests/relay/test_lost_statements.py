"""Any one statement of a worker may fail between an answer and its outcome: no outcome is lost."""

import threading
from contextlib import suppress

import httpx
import pytest
from django.db import OperationalError, connection

from genesys_eventbridge import relay, signals
from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.states import State
from tests.outbox_rows import accepted, event
from tests.scripted import ScriptedPlatform

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = httpx.Response(403, html="<html>blocked</html>")
#: More statements than a pass makes after its first answer.
MOST = 45


class Fails:
    """The n-th statement of this thread after ``begin()`` loses its connection."""

    def __init__(self, number):
        self.number, self.seen, self.begun = number, 0, threading.Event()
        self.sql = ""

    def __call__(self, execute, sql, params, many, context):
        if self.begun.is_set():
            self.seen += 1
            if self.seen == self.number:
                self.sql = sql
                raise OperationalError("server closed the connection unexpectedly")
        return execute(sql, params, many, context)


def run(number, serve, platform):
    """The n-th statement after the first answer fails; whether there was one."""
    fails = Fails(number)
    answer = platform._answer

    def answered(request):
        response = answer(request)
        if "oauth" not in request.url.path:
            fails.begun.set()
        return response

    platform._answer = answered
    # Where nothing is in its hands a pass may end by it: the next one continues from the rows.
    with connection.execute_wrapper(fails), suppress(OperationalError):
        serve(transport=platform.transport)
    return fails


@pytest.mark.parametrize("number", range(1, MOST))
def test_of_a_pass_that_publishes(number):
    """With a page, a refusal and an acceptance, which differ in what the worker reads before it writes."""
    rows = [event() for _ in range(4)]
    platform = ScriptedPlatform(202, PAGE, 404, 202)
    heard: list[object] = []
    signals.event_accepted.connect(heard.append, weak=False, dispatch_uid="lost")

    try:
        fails = run(number, relay.publish_due, platform)
    finally:
        signals.event_accepted.disconnect(dispatch_uid="lost")

    found = OutboxEvent.objects.filter(pk__in=[row.pk for row in rows])
    assert not found.in_flight().exists(), fails.sql
    assert found.filter(state=State.ACCEPTED).count() == 2, fails.sql
    assert len(platform.published) == len({*platform.keys}), fails.sql


@pytest.mark.parametrize("number", range(1, MOST))
def test_of_a_pass_that_checks(number):
    rows = [accepted() for _ in range(3)]
    platform = ScriptedPlatform(check=[200, httpx.Response(404, json={"message": "no"}), PAGE])

    fails = run(number, relay.check_accepted, platform)

    found = OutboxEvent.objects.filter(pk__in=[row.pk for row in rows])
    assert not found.in_flight().exists(), fails.sql
    assert found.filter(state=State.DELIVERED).count() == 1, fails.sql


def test_all_statements_were_tried():
    for _ in range(4):
        event()

    assert not run(MOST - 1, relay.publish_due, ScriptedPlatform(202, PAGE, 404, 202)).sql
