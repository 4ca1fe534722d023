"""Long work shows how far it is: a bar on a terminal, a line every 10 s elsewhere, nothing with ``-v 0``."""

import io
import threading

import pytest

from genesys_eventbridge.management.progress import Progress
from genesys_eventbridge.platform.outcomes import Outcome, Verdict
from genesys_eventbridge.relay.senders import Report
from tests.prompt import Terminal


class Hand:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Hand()


def shown(stream, clock, *, total=None, verbosity=1, steps=35, every=1.0, good=True):
    with Progress("Published", total, stream=stream, verbosity=verbosity, clock=clock) as progress:
        for _ in range(steps):
            clock.now += every
            progress.add(good=good)
    return stream.getvalue()


def test_without_a_terminal_a_line_comes_every_10_seconds(clock):
    lines = shown(io.StringIO(), clock, total=100).splitlines()

    assert lines == [
        "Published: 10 of 100, 1/s, about 90 s left",
        "Published: 20 of 100, 1/s, about 80 s left",
        "Published: 30 of 100, 1/s, about 70 s left",
    ]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("I/O on closed file")])
@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_a_stream_that_cannot_be_written_does_not_stop_the_work(clock, monkeypatch, kind, error):
    def write(_text):
        raise error

    stream = kind()
    monkeypatch.setattr(stream, "write", write)

    with Progress("Published", 100, stream=stream, verbosity=1, clock=clock) as progress:
        for _ in range(35):
            clock.now += 1
            progress.add()

    assert progress.done == 35


def test_what_failed_is_counted_and_an_unknown_end_is_not_guessed(clock):
    lines = shown(io.StringIO(), clock, steps=10, good=False).splitlines()

    assert lines == ["Published: 10, 10 not accepted, 1/s"]


def test_a_worker_that_was_idle_shows_its_rate_since_the_last_line_if_there_is_one_to_show(clock):
    stream = io.StringIO()
    with Progress("Published", None, stream=stream, verbosity=1, clock=clock) as progress:
        clock.now += 3600
        progress.add()
        clock.now += 10
        progress.add(500)
        clock.now += 3600
        progress.add(2)

    assert stream.getvalue().splitlines() == ["Published: 1", "Published: 501, 50/s", "Published: 503"]


def test_short_work_says_nothing_without_a_terminal(clock):
    assert shown(io.StringIO(), clock, steps=5) == ""


def test_on_a_terminal_there_is_one_bar_with_rate_and_total(clock):
    text = shown(Terminal(), clock, total=35)

    assert "\r" in text
    assert "35/35" in text
    assert text.endswith("\n")


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_nothing_is_shown_where_nothing_was_asked_for(stream, clock):
    assert shown(stream(), clock, total=35, verbosity=0) == ""


class Shy(Progress):
    """Lets another thread in between reading the count and writing it."""

    @property
    def done(self):
        seen = vars(self)["_done"]
        threading.Event().wait(0.001)
        return seen

    @done.setter
    def done(self, count):
        vars(self)["_done"] = count


def test_many_threads_count_right(clock):
    progress = Shy("Published", None, stream=io.StringIO(), verbosity=0, clock=clock)
    threads = [threading.Thread(target=progress.add) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert progress.done == 30


@pytest.mark.parametrize(
    ("verdict", "done", "failed"),
    [
        (Verdict.ACCEPTED, 1, 0),
        (Verdict.DELIVERED, 1, 0),
        (Verdict.NOT_YET, 1, 0),
        (Verdict.REJECTED, 1, 1),
        (Verdict.UNKNOWN, 1, 1),
        (Verdict.HALTED, 1, 1),
        (None, 0, 0),
    ],
)
def test_each_report_of_a_sender_is_counted(verdict, done, failed, clock):
    progress = Progress("Published", None, stream=io.StringIO(), verbosity=0, clock=clock)

    progress.saw(Report(claimed=None, outcome=Outcome(verdict) if verdict else None))  # type: ignore[arg-type]

    assert (progress.done, progress.failed) == (done, failed)
