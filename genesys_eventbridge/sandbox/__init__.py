"""A stand-in for the platform, for demos, development and tests; standard library only, never for production.

sandbox = Sandbox(scenario="flaky")
with serve(sandbox) as server:      # or httpx.WSGITransport(app=sandbox), with no socket
    ...                             # API_BASE_URL and LOGIN_BASE_URL are server.url
sandbox.received; sandbox.ledger(); sandbox.fail_next(503, times=2); sandbox.register("order.created")
"""

from genesys_eventbridge.sandbox.app import Sandbox
from genesys_eventbridge.sandbox.options import Options, Scenario
from genesys_eventbridge.sandbox.server import SandboxServer, serve
from genesys_eventbridge.sandbox.start import CLIENT_ID, CLIENT_SECRET, WEBHOOK_TOKEN
from genesys_eventbridge.sandbox.wire import HangUp

__all__ = [
    "CLIENT_ID",
    "CLIENT_SECRET",
    "WEBHOOK_TOKEN",
    "HangUp",
    "Options",
    "Sandbox",
    "SandboxServer",
    "Scenario",
    "serve",
]
