"""How to use a sandbox: the settings to paste, and which addresses stay on this machine."""

from typing import TYPE_CHECKING

from genesys_eventbridge.platform import wire

if TYPE_CHECKING:
    from genesys_eventbridge.sandbox.options import Options

# Accepted by every sandbox and by nothing else; a deploy check looks for them.
CLIENT_ID = "sandbox"
CLIENT_SECRET = "sandbox-only"  # noqa: S105  public on purpose
WEBHOOK_TOKEN = "sandbox-webhook-token"  # noqa: S105  the same


def settings_block(url: str, options: "Options") -> str:
    """The text printed when the sandbox starts: settings to paste, where to look, how to stop."""
    destinations = {
        "eventbridge": {
            "API_BASE_URL": url,
            "LOGIN_BASE_URL": url,
            "CLIENT_ID": CLIENT_ID,
            "CLIENT_SECRET": CLIENT_SECRET,
        },
        "webhook": {
            "PROTOCOL": "webhook",
            "API_BASE_URL": url,
            "WEBHOOK_TOKEN": options.webhook_token,
            "ON_DOUBT": "ask",
        },
    }
    first, *others = [_as_python(destinations[protocol]) for protocol in options.protocol.spoken]
    alternatives = "".join(f"Or, with the protocol webhook:\n\n{other}\n\n" for other in others)
    return f"""Sandbox platform at {url}. Paste into settings.py:

{first}

{alternatives}What it received, and its switches: {url}/
Stop with Ctrl-C."""


def _as_python(destination: dict[str, str]) -> str:
    lines = "".join(
        f'        "{key}": "{value}",\n'
        for key, value in {**destination, "SOURCE": "com.example.sandbox"}.items()
    )
    return f'GENESYS_EVENTBRIDGE = {{\n    "default": {{\n{lines}    }},\n}}'


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host`` (IPv6 without brackets). See ``wire.is_loopback``."""
    return wire.is_loopback(wire.normal_host(f"[{host}]" if ":" in host else host))
