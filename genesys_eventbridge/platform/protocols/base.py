"""The interface of a protocol: how an event becomes a request, and what a response proves."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from genesys_eventbridge.platform.answers import Answer
from genesys_eventbridge.platform.outcomes import Outcome, Sent
from genesys_eventbridge.platform.values import clean_all

if TYPE_CHECKING:
    from genesys_eventbridge.cloudevents import CloudEvent
    from genesys_eventbridge.platform.config import Platform


@dataclass(frozen=True, slots=True)
class Request:
    """One request below API_BASE_URL. ``path`` is percent-encoded; it may hold a credential.

    The client adds Host, User-Agent, Accept, Content-Length, EXTRA_HEADERS and, for protocols that
    authenticate, the token.
    """

    method: str
    path: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Where and in which form events travel, for the AsyncAPI document. It holds no credential."""

    address: str | None = None
    """The path below API_BASE_URL, with ``{name}`` for a secret part; None if each event has its own."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """What each ``{name}`` in the address stands for."""
    content_type: str = "application/cloudevents+json"
    binary: bool = False
    """Whether the attributes travel as ``ce-`` headers and the body is the data alone."""


@dataclass(frozen=True, repr=False)
class Protocol(abc.ABC):
    """How one destination takes events. A subclass with settings is a frozen dataclass.

    A field made by ``platform.values.setting(check, default, secret=True)`` is the key of that name in the
    destination's settings, in upper case. Raises ValueError, naming the setting, if a value is invalid.
    Methods must not block and keep no state: all threads share one instance.
    """

    #: The name for people.
    name: ClassVar[str]
    #: Whether a request carries an OAuth token, so that CLIENT_ID and CLIENT_SECRET are needed.
    authenticates: ClassVar[bool] = False
    #: Whether the platform recognises a repeated idempotency key, for IDEMPOTENCY_WINDOW seconds. If not,
    #: ON_DOUBT decides about an event of unknown outcome.
    honours_key: ClassVar[bool] = False
    #: Whether the status of an accepted event can be asked. If not, accepted is the end.
    confirms: ClassVar[bool] = False
    #: Whether a request with an empty body shows that path and permission are right, and creates no event.
    #: If not, ``eventbridge_ping`` only connects.
    refuses_empty_body: ClassVar[bool] = False
    #: The settings that hold its credentials, in upper case. They are required.
    credentials: ClassVar[tuple[str, ...]] = ()
    #: Settings of the app that have no effect with this protocol, in upper case.
    unused: ClassVar[frozenset[str]] = frozenset()
    #: Settings that contradict the protocol's own, in upper case, and why. They are refused.
    refused: ClassVar[Mapping[str, str]] = MappingProxyType({})
    #: Where an operator looks for an event on the platform.
    look_at: ClassVar[str] = "on the platform"
    #: What follows an attempt of unknown outcome, for the error text.
    after_unknown: ClassVar[str] = "It may have arrived."

    def __post_init__(self) -> None:
        clean_all(self)

    def __repr__(self) -> str:
        return f"<protocol {self.name}>"

    @abc.abstractmethod
    def publish_request(self, platform: Platform, event: Sent, key: str) -> Request:
        """The request that publishes ``event`` under the idempotency ``key``.

        Raises ``errors.Halted`` if a setting is unusable (``platform.read``), and InvalidEvent if this event
        can never be sent.
        """

    @abc.abstractmethod
    def publish_outcome(self, answer: Answer, event: Sent) -> Outcome:
        """What a response to it means. ACCEPTED needs proof."""

    def status_request(self, platform: Platform, remote_id: str) -> Request:
        """The request for the status of an accepted event. Raises ValueError if the id is not one."""
        raise ValueError(f"the protocol {self.name} has no delivery status")

    def status_outcome(
        self, answer: Answer, remote_id: str, event: Sent | None, age: float | None
    ) -> Outcome:
        """What a response to it means; ``age`` is seconds since the acceptance, None if unknown."""
        raise NotImplementedError

    def check_event(self, event: CloudEvent) -> None:  # noqa: B027 - most protocols carry every event
        """Called by ``enqueue``. Raises InvalidEvent, which names the field, for an event it cannot carry."""

    def channel(self, platform: Platform) -> Channel:
        """How the AsyncAPI document describes the destination."""
        return Channel()

    def problems(self, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Settings that conflict: pairs of the setting to change, in upper case, and the reason.

        ``given`` has all settings by lower-case name.
        """
        yield from ()

    @classmethod
    def api_base_url(cls, given: Mapping[str, Any]) -> str | None:  # noqa: ARG003
        """The API's base URL in the protocol's own settings, if there is neither REGION nor API_BASE_URL.

        ``given`` has the settings of the destination by key, not validated yet.
        """
        return None

    def account(self, platform: Platform) -> str:
        """Names who receives the events at that host: a doubt about one account is none about another."""
        return self.name

    def secrets(self, platform: Platform) -> tuple[str, ...]:
        """The texts of its secret settings, to be masked; for callables, their recent results."""
        return platform.known_secrets(self)
