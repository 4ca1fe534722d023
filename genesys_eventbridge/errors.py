"""What can go wrong, each error named by what to do next.

    EventBridgeError
    |-- Rejected             this event can never succeed as it is  -> dead
    |-- Unavailable          this event may succeed later           -> tried again, counted
    |-- OutcomeUnknown       it may have been accepted              -> same key and bytes again
    |-- Halted               no event can succeed now               -> pause the destination
    |-- Unconfirmed          no final status within the timeout     -> ask again later
    |-- NotInTransaction     enqueue() outside atomic()             -> open a transaction
    |-- IdempotencyConflict  the key belongs to a different event   -> choose another key
    `-- InvalidEvent         not a valid event; names the field     -> mend the event

Wrong settings are Django's ``ImproperlyConfigured``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class EventBridgeError(Exception):
    """Base of every error this package raises on purpose."""


class PlatformError(EventBridgeError):
    """What the platform, or the way to it, answered to one request.

    ``status_code`` is the HTTP status or None where no answer was read; ``correlation_id`` is what
    Genesys support asks for; ``retry_after`` is in seconds. The text holds no secret and no payload.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        correlation_id: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.correlation_id = correlation_id
        self.retry_after = retry_after


class Rejected(PlatformError):
    """The platform refused this event for good."""


class Unavailable(PlatformError):
    """The platform did not take this event; a later try may succeed."""


class OutcomeUnknown(PlatformError):
    """The platform may have accepted this event. Send the same bytes under the same key, nothing else."""


class Halted(PlatformError):
    """No event can succeed now; ``kind`` is auth, permission, config, rate or network."""

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        status_code: int | None = None,
        correlation_id: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            message,
            status_code=status_code,
            correlation_id=correlation_id,
            retry_after=retry_after,
        )
        self.kind = kind


class Unconfirmed(EventBridgeError):
    """``wait_until_final()`` saw no final status in time; the event may still be delivered."""


class NotInTransaction(EventBridgeError):
    """``enqueue()`` was called where no transaction holds the business data and the event together."""


class IdempotencyConflict(EventBridgeError):
    """The idempotency key, or the event id of this source, is taken by a different event.

    ``retryable`` is True where another transaction wrote the key just now and its row cannot be read
    yet: the same call in a new transaction will answer.
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class InvalidEvent(EventBridgeError, ValueError):
    """Not a CloudEvent, too large, or not valid against its schema.

    ``field`` names the attribute or the path inside data (``data.items[3].price``), ``reason`` the rule.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def without_arguments(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """``function``, whose errors carry no frame that holds its arguments.

    Error reports and mails show the variables of each frame that an exception came through. For functions
    that take secrets, and whose errors say all that there is to know.
    """

    @functools.wraps(function)
    def called(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - raised again below
            problem = error
        del args, kwargs
        problem.__cause__ = problem.__context__ = None
        raise problem.with_traceback(None)

    return called
