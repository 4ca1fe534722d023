"""One attempt to send a notice by one channel, and why it failed."""

from __future__ import annotations

from dataclasses import dataclass

from genesys_eventbridge.alerts.notices import Notice
from genesys_eventbridge.conf.alerts import AlertSettings


@dataclass(frozen=True, slots=True)
class Attempt:
    """What to send: the notice, with the settings of its destination, within ``seconds``."""

    alias: str
    alerts: AlertSettings
    notice: Notice
    seconds: float


class NotSent(Exception):
    """The message is safe to log and store; ``detail`` is only for the operator who runs a test.

    ``is_final``: no later attempt can succeed.
    """

    def __init__(self, message: str, remedy: str = "", *, detail: str = "", is_final: bool = False) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.detail = detail
        self.is_final = is_final
