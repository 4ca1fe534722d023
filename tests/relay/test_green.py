"""Under gevent and eventlet, which replace threads, queues and sockets, commands do what they do without."""

import importlib.util

import pytest

from genesys_eventbridge.models import OutboxEvent
from genesys_eventbridge.states import State
from tests.outbox_rows import accepted, event
from tests.prompt import sandboxed, start_by
from tests.test_qcluster import delivered, until

pytestmark = pytest.mark.django_db(transaction=True)

PATCHES = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
RUN = "import sys; from django.core.management import execute_from_command_line as run; run(sys.argv)"
EVENTS = 40


@pytest.fixture(params=PATCHES)
def program(request):
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return "-W", "ignore", "-c", f"{PATCHES[request.param]}; {RUN}"


def finished(program, *arguments):
    with start_by(program, *arguments) as process:
        try:
            out, err = process.communicate(timeout=40)
        finally:
            process.kill()
    assert process.returncode == 0, err
    return out


def test_publish_and_poll_read_each_outcome(program):
    with sandboxed() as sandbox:
        for _ in range(EVENTS):
            event()

        finished(program, "eventbridge_publish")
        OutboxEvent.objects.filter(state=State.ACCEPTED).update(due_at="2020-01-01T00:00Z")
        finished(program, "eventbridge_poll")

    assert len(sandbox.received) == EVENTS
    assert set(OutboxEvent.objects.values_list("state", flat=True)) == {State.DELIVERED}


def test_retry_reads_each_outcome(program):
    with sandboxed() as sandbox:
        for _ in range(EVENTS):
            event(row={"attempts": 1, "due_at": "2999-01-01T00:00Z"})

        finished(program, "eventbridge_retry")

    assert len(sandbox.received) == EVENTS
    assert not OutboxEvent.objects.filter(state=State.PENDING).exists()


def test_the_loop_serves_until_it_is_told_to_stop(program):
    with sandboxed():
        for _ in range(EVENTS):
            event()
        accepted(state=State.PENDING, remote_id="", accepted_at=None)
        with start_by(program, "eventbridge_publish", "--loop") as process:
            try:
                until(delivered(EVENTS + 1), process)
                process.terminate()
                process.communicate(timeout=30)
            finally:
                process.kill()

    assert process.returncode == 0
