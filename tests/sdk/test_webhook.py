"""The official SDK invokes the sandbox's webhook: it gets what it expects, and the ledger has the event."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from genesys_eventbridge.sandbox import WEBHOOK_TOKEN, Sandbox, serve
from tests.sandbox.callers import event
from tests.sandbox.invocations import OFFICIAL, Recorder

INVOKE = Path(__file__).with_name("invoke.py")


@pytest.fixture
def sandbox():
    return Sandbox()


@pytest.fixture
def recorder(sandbox):
    return Recorder(sandbox, WEBHOOK_TOKEN)


@pytest.fixture
def invoke(recorder, tmp_path):
    """Sends a body by the SDK, in a process of its environment; returns what the SDK returned or raised."""
    python = os.environ["SDK_PYTHON"]  # `make sdk` sets it

    def run(body, token=WEBHOOK_TOKEN):
        done = subprocess.run(
            [python, INVOKE, server.url, token],
            input=json.dumps(body),
            env={"HOME": str(tmp_path)},  # the SDK reads a configuration there
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    with serve(recorder) as server:
        yield run


@pytest.mark.parametrize("body", [event(), {"any": "object"}, [1, "two"]], ids=["event", "object", "array"])
def test_the_sdk_gets_the_invocation_id_that_the_ledger_has(sandbox, invoke, body):
    answer = invoke(body)

    attempt = sandbox.ledger()["attempts"][-1]
    assert answer == {"type": "WebhookInvocationResponse", "invocation_id": attempt["remote_id"]}
    assert (attempt["endpoint"], attempt["accepted"], attempt["status"]) == ("webhook", True, "200")
    assert sandbox.received == [body]


def test_the_ledger_knows_the_event_that_the_sdk_sent(sandbox, invoke):
    invoke(event())

    assert sandbox.ledger()["accepts"] == {"com.example.tests event-1": 1}


def test_the_sdk_reads_an_unknown_token_as_the_platform_s_404(sandbox, invoke):
    raised = invoke(event(), "nobody")

    assert (raised["status"], raised["body"]["code"]) == (404, "not.found")
    assert raised["body"]["contextId"] == raised["headers"]["inin-correlation-id"]
    assert sandbox.received == []


def test_the_sdk_obeys_retry_after_and_reads_a_429_without_it(sandbox, invoke):
    sandbox.fail_next(429, times=2, on="webhook", retry_after=0)
    accepted = invoke(event())
    sandbox.fail_next(429, on="webhook", retry_after="")
    raised = invoke(event())

    assert accepted["invocation_id"] == sandbox.ledger()["attempts"][2]["remote_id"]
    assert (raised["status"], raised["body"]["code"]) == (429, "too.many.requests.retry.after")
    assert sandbox.ledger()["requests"] == {"webhook POST 429": 3, "webhook POST 200": 1}


def test_the_sdk_sends_an_event_again_whose_answer_was_lost_and_each_is_accepted(sandbox, invoke):
    """The endpoint honours no key, and the SDK repeats POSTs by itself: 269.0.0 sends this one 11 times."""
    sandbox.scenario = "lost-response"
    raised = invoke(event())

    assert raised == {"raised": "MaxRetryError"}
    assert sandbox.ledger()["accepts"]["com.example.tests event-1"] > 1


def test_the_request_of_the_sdk_is_the_one_that_ours_is_compared_with(recorder, invoke):
    """A newer SDK that sends another request fails here: then OFFICIAL, and perhaps our own, must change."""
    invoke(event())

    assert recorder.received == [OFFICIAL]
