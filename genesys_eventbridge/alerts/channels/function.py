"""A function of the project's, called with the notice."""

from __future__ import annotations

from django.utils.module_loading import import_string

from genesys_eventbridge.alerts.channels.attempts import Attempt, NotSent


def send(attempt: Attempt) -> None:
    """Call it. Whatever it raises means that the notice was not sent."""
    function = attempt.alerts.function
    if isinstance(function, str):
        try:
            function = import_string(function)
        except ImportError:
            raise NotSent(f"{function} cannot be imported", "correct the dotted path") from None
    function(attempt.notice)
