"""The way of one event: which functions of the package run, in order, from the save until it is delivered.

    python -m tests.trace_event            the files and functions in order, then the figures
    python -m tests.trace_event --figures  only the figures
    python -m tests.trace_event --calls    every call, not only each function's first
    python -m tests.trace_event --cold     the first event of a process, which also reads the settings and
                                           fetches a token; without it, the second event is traced

One instance of a registered model is saved in a SQLite database in memory, published to the sandbox, and
checked until it is delivered. The figures:

- *files*, *functions*, *calls*: how many different ones are entered, and how often; of all packages, then of
  those that an event passes: model_events, outbox, relay, client. The others are asked on the way, such as
  the clock of the database and the rules of CloudEvents.
- *package changes*: through the files in the order in which they are first entered, how often the package or
  root module is another than that of the file before. (Before the modules were packages, each is its own.)
- *returns*: how often a file is entered that was left before: for a reader, who reads each function the first
  time it is called, and for all calls.

The number of calls differs a little from run to run: a busy machine makes a pass look once more. The calls of
a sender thread stand where the pass starts the thread, because the pass then waits for it. A generator is
entered when it begins, not each time it continues. Left out are the sandbox, code that runs while a module
loads, and code without a name of its own: comprehensions, lambdas, class bodies.

The script imports public names only, so that it measures other commits, too:
``PYTHONPATH=path/to/worktree python -P tests/trace_event.py --figures``.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from operator import attrgetter
from pathlib import Path
from types import CodeType, FrameType

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import CharField, DecimalField, Model

import genesys_eventbridge

PACKAGE = f"{Path(genesys_eventbridge.__file__).parent}/"
SANDBOX = f"{PACKAGE}sandbox/"
#: Seconds from accepted to delivered, and to the first check; 0 would deliver with the answer to the POST.
CHECK_AFTER = 0.05
PASSED = {"model_events", "outbox", "relay", "client"}
MADE_BY_PYTHON = {"<module>", "<lambda>", "<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}


@dataclass(frozen=True, slots=True)
class Step:
    """One function: its file, relative to the package, and its name."""

    file: str
    function: str

    @property
    def package(self) -> str:
        """The package, or the root module."""
        return self.file.partition("/")[0].removesuffix(".py")


@dataclass(slots=True)
class Trace:
    """The calls of each thread that the package started, and of the thread that records."""

    calls: dict[threading.Thread, list[Step | threading.Thread]] = field(default_factory=dict)
    """By thread: its calls in order, and another thread where it starts that one."""
    _began_at: dict[CodeType, int] = field(default_factory=dict)

    @contextmanager
    def recording(self) -> Iterator[None]:
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def in_order(self, thread: threading.Thread | None = None) -> Iterator[Step]:
        """The calls of a thread, the present one by default, and at their places those it started."""
        for call in self.calls.get(thread or threading.current_thread(), []):
            if isinstance(call, Step):
                yield call
            else:
                yield from self.in_order(call)

    def _profile(self, frame: FrameType, event: str, _argument: object) -> None:
        if event != "call":
            return
        code = frame.f_code
        if code is threading.Thread.start.__code__ and _is_counted(frame.f_back):
            self._note(frame.f_locals["self"])
        elif _is_counted(frame) and self._begins(frame):
            self._note(Step(code.co_filename.removeprefix(PACKAGE), code.co_qualname))

    def _begins(self, frame: FrameType) -> bool:
        """Whether the function begins here; a generator is also entered where it goes on."""
        code = frame.f_code
        if not code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE):
            return True
        return self._began_at.setdefault(code, frame.f_lasti) == frame.f_lasti

    def _note(self, call: Step | threading.Thread) -> None:
        self.calls.setdefault(threading.current_thread(), []).append(call)


def _is_counted(frame: FrameType | None) -> bool:
    """Whether a person wrote this function, and in the package: class bodies are no functions."""
    if frame is None:
        return False
    code = frame.f_code
    return (
        code.co_filename.startswith(PACKAGE)
        and not code.co_filename.startswith(SANDBOX)
        and code.co_name not in MADE_BY_PYTHON
        and bool(code.co_flags & inspect.CO_OPTIMIZED)
    )


def package_changes(steps: Iterable[Step]) -> int:
    opened = {step.file: step.package for step in steps}
    return sum(one != other for one, other in pairwise(opened.values()))


def returns(steps: Iterable[Step]) -> int:
    seen: set[str] = set()
    found = 0
    for one, other in pairwise(steps):
        seen.add(one.file)
        found += other.file != one.file and other.file in seen
    return found


def trace_event(*, cold: bool = False) -> list[Step]:
    """Every call on the way of one event. It sets Django up, so a process can do it once."""
    from genesys_eventbridge.sandbox import Sandbox, serve

    with serve(Sandbox(deliver_after=CHECK_AFTER)) as platform:
        _set_up(platform.url)
        model = _registered_model()
        if not cold:
            _save_to_delivered(model)
        trace = Trace()
        with trace.recording():
            _save_to_delivered(model)
        return list(trace.in_order())


def _set_up(url: str) -> None:
    from genesys_eventbridge.sandbox import CLIENT_ID, CLIENT_SECRET

    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "genesys_eventbridge"],
        USE_TZ=True,
        GENESYS_EVENTBRIDGE={
            "default": {
                "API_BASE_URL": url,
                "LOGIN_BASE_URL": url,
                "CLIENT_ID": CLIENT_ID,
                "CLIENT_SECRET": CLIENT_SECRET,
                "SOURCE": "com.example.shop",
                "CHECK_DELAYS": [CHECK_AFTER],
            }
        },
    )
    django.setup()
    call_command("migrate", verbosity=0)


def _registered_model() -> type[Model]:
    from genesys_eventbridge.model_events import publishes

    @publishes(created="order.created", fields=["number", "amount"], subject="number", ordering_key="number")
    class Order(Model):
        number = CharField(max_length=20)
        amount = DecimalField(max_digits=8, decimal_places=2)

        class Meta:
            app_label = "traced"

        def __str__(self) -> str:
            return self.number

    with connection.schema_editor() as editor:
        editor.create_model(Order)
    return Order


def _save_to_delivered(model: type[Model]) -> None:
    from genesys_eventbridge.models import OutboxEvent
    from genesys_eventbridge.relay import check_accepted, publish_due

    with transaction.atomic():
        model(number="ORD-7", amount="49.90").save()
    publish_due()
    threading.Event().wait(2 * CHECK_AFTER)
    check_accepted()
    state = OutboxEvent.objects.order_by("id").values_list("state", flat=True).last()
    if state != "delivered":
        raise SystemExit(f"The event is {state}, not delivered: the trace shows another way.")


def lines(steps: Sequence[Step]) -> Iterator[str]:
    """One line per file, with the functions in it until the way leaves it; ``<`` marks a return."""
    seen: set[str] = set()
    for file, group in groupby(steps, key=attrgetter("file")):
        yield f"{'<' if file in seen else ' '} {file:36} {', '.join(step.function for step in group)}"
        seen.add(file)


def figures(of: str, calls: Sequence[Step]) -> Iterator[str]:
    steps = list(dict.fromkeys(calls))
    yield f"{of}: {len({step.file for step in steps})} files, {package_changes(steps)} package changes"
    yield f"  {len(steps)} functions, {returns(steps)} returns"
    yield f"  {len(calls)} calls, {returns(calls)} returns"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--figures", action="store_true", help="only the figures")
    parser.add_argument("--calls", action="store_true", help="list each call, not only each function's first")
    parser.add_argument("--cold", action="store_true", help="the first event of a process")
    options = parser.parse_args()
    calls = trace_event(cold=options.cold)
    listed = calls if options.calls else list(dict.fromkeys(calls))
    shown = [] if options.figures else [*lines(listed), ""]
    shown += figures("all packages", calls)
    passed = [call for call in calls if call.package in PASSED]
    shown += figures("model_events, outbox, relay, client", passed)
    sys.stdout.write("\n".join([*shown, ""]))


if __name__ == "__main__":
    main()
