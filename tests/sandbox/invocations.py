"""A request to a webhook as it arrives, and how the official SDK makes it: what ours is compared with."""

from dataclasses import dataclass

from genesys_eventbridge.sandbox.webhook import masked


@dataclass(frozen=True)
class Invocation:
    """What must be the same in each request to a webhook. ``path`` has ``{token}`` in place of the token."""

    method: str
    path: str
    content_type: str
    accept: str


# What `make sdk` receives from the official Python SDK (269.0.0) and compares with this.
OFFICIAL = Invocation(
    method="POST",
    path="/api/v2/integrations/webhooks/{token}/events",
    content_type="application/json",
    accept="application/json",
)


class Recorder:
    """A WSGI app in front of ``app`` that keeps each request as an Invocation."""

    def __init__(self, app, token):
        self.app = app
        self.token = token
        self.received = []

    def __call__(self, environ, start_response):
        self.received.append(
            Invocation(
                method=environ["REQUEST_METHOD"],
                path=masked(environ["PATH_INFO"], self.token),
                content_type=environ.get("CONTENT_TYPE", ""),
                accept=environ.get("HTTP_ACCEPT", ""),
            )
        )
        return self.app(environ, start_response)
