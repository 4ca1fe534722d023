"""The channels: e-mail, webhook and a function of the project's. Each attempt has a deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module

from django.db import connections

from genesys_eventbridge.alerts.channels.attempts import Attempt, NotSent
from genesys_eventbridge.defects import report

__all__ = ["Attempt", "NotSent", "send"]

#: Attempts that have outlived their deadline in this process, by destination and channel.
_unended: dict[tuple[str, str], threading.Thread] = {}


def send(channel: str, attempt: Attempt) -> None:
    """Send a notice by one channel, within the attempt's seconds. Raises NotSent, and nothing else.

    It runs in a thread of its own: neither a mail server nor a function of the project's can be interrupted.
    One that outlives its deadline is left to itself, and until it ends no other is begun.
    """
    if channel not in attempt.alerts.channels:
        raise NotSent("the channel is no longer in ALERTS", is_final=True)
    key = (attempt.alias, channel)
    earlier = _unended.get(key)
    if earlier is not None and earlier.is_alive():
        raise NotSent("an earlier attempt has not ended yet", _SLOW)
    failures: list[NotSent] = []
    # The webhook's module loads the HTTP client, which a process without one does not need.
    module = import_module(f"{__name__}.{channel}")
    thread = threading.Thread(
        target=_run,
        args=(lambda: module.send(attempt), failures),
        name=f"eventbridge-alert-{channel}",
        daemon=True,
    )
    thread.start()
    thread.join(attempt.seconds)
    if thread.is_alive():
        _unended[key] = thread
        raise NotSent(f"not done within {attempt.seconds:g} s", _SLOW)
    _unended.pop(key, None)
    if failures:
        raise failures[0]


_SLOW = "look why it is slow: a mail server or proxy that does not answer, or the function"


def _run(work: Callable[[], None], failures: list[NotSent]) -> None:
    try:
        work()
    except NotSent as failure:
        failures.append(failure)
    except Exception as error:  # noqa: BLE001 - code of the project's, and of its mail backend
        name = type(error).__name__
        report(error, "A channel of the alerts raised %s", name)
        failures.append(NotSent(f"it raised {name}", detail=str(error)))
    finally:
        connections.close_all()
