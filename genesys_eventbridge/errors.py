"""The errors this package raises, named by what to do next::

    EventBridgeError
    |-- Rejected             this event can never succeed as it is  -> dead
    |-- Unavailable          this event may succeed later           -> tried again, counted
    |-- OutcomeUnknown       it may have been accepted              -> same key and bytes again
    |-- Halted               no event can succeed now               -> pause the destination
    |-- Unconfirmed          no final status within the timeout     -> ask again later
    |-- NotInTransaction     enqueue() outside atomic()             -> open a transaction
    |-- IdempotencyConflict  the key belongs to a different event   -> use another key
    `-- InvalidEvent         not a valid event; names the field     -> fix the event

Invalid settings raise Django's ``ImproperlyConfigured``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class EventBridgeError(Exception):
    """Base class of all errors this package raises deliberately."""


class PlatformError(EventBridgeError):
    """A failed request to the platform.

    ``status_code`` is the HTTP status, or None if no response was read; ``correlation_id`` is what Genesys
    support asks for; ``retry_after`` is in seconds. The message contains no secrets and no payload.
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
    """The platform refused this event permanently."""


class Unavailable(PlatformError):
    """The platform did not accept this event; a later attempt may succeed."""


class OutcomeUnknown(PlatformError):
    """The platform may have accepted this event. Send only the same bytes under the same key.

    If the protocol honours no key, as with the webhook, sending them again may create a second event.
    """


class Halted(PlatformError):
    """No event can succeed now. ``kind`` is auth, permission, config, rate or network."""

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
    """``enqueue()`` was called outside the transaction that holds the business data."""


class IdempotencyConflict(EventBridgeError):
    """The idempotency key, or the pair of source and event id, already belongs to a different event.

    ``retryable`` is True if another transaction has just written the key and its row cannot be read yet:
    repeat the call in a new transaction.
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class InvalidEvent(EventBridgeError, ValueError):
    """Not a CloudEvent, too large, or not valid against its schema.

    ``field`` is the attribute or the path in data (``data.items[3].price``); ``reason`` the broken rule.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def without_arguments(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """``function``, with tracebacks that do not include the frame holding its arguments.

    Error reports show the local variables of each frame in a traceback. Use it for functions that take
    secrets and whose errors need no traceback.
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
