"""How to use a sandbox: the settings to paste, and which addresses stay on this machine."""

from genesys_eventbridge.platform import wire

# Accepted by every sandbox and by nothing else; a deploy check looks for them.
CLIENT_ID = "sandbox"
CLIENT_SECRET = "sandbox-only"  # noqa: S105  public on purpose
WEBHOOK_TOKEN = "sandbox-webhook-token"  # noqa: S105  public on purpose


def settings_block(url: str) -> str:
    """The text printed when the sandbox starts: settings to paste, where to look, how to stop."""
    return f"""Sandbox platform at {url}. Paste into settings.py:

GENESYS_EVENTBRIDGE = {{
    "default": {{
        "API_BASE_URL": "{url}",
        "LOGIN_BASE_URL": "{url}",
        "CLIENT_ID": "{CLIENT_ID}",
        "CLIENT_SECRET": "{CLIENT_SECRET}",
        "SOURCE": "com.example.sandbox",
    }},
}}

What it received, and its switches: {url}/
Stop with Ctrl-C."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host`` (IPv6 without brackets). See ``wire.is_loopback``."""
    return wire.is_loopback(wire.normal_host(f"[{host}]" if ":" in host else host))
