"""The page at `/`: what the sandbox received, how it behaves now, and the forms that change that."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from genesys_eventbridge.sandbox.hostile import TRICKS
from genesys_eventbridge.sandbox.ledger import RECENT, Received
from genesys_eventbridge.sandbox.wire import Reply, text_reply

_STYLE = """
:root { color-scheme: light dark; --line: #ccd; --soft: #556; --bad: #a3121f; --good: #0a6630; }
@media (prefers-color-scheme: dark) {
  :root { --line: #445; --soft: #aab; --bad: #ff8f8f; --good: #7fdc9b; }
}
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2rem; }
p.soft, td.soft, caption { color: var(--soft); } caption { text-align: left; }
form { display: inline-flex; flex-wrap: wrap; gap: .5rem; align-items: end; margin: .4rem 1.5rem .4rem 0; }
label { display: grid; font-size: .85rem; } input, select, button { font: inherit; padding: .2rem .4rem; }
input[type=number] { width: 6rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid var(--line); }
td { overflow-wrap: anywhere; } .bad { color: var(--bad); } .good { color: var(--good); }
pre { white-space: pre-wrap; margin: .4rem 0; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = (("Content-Security-Policy", _POLICY), ("Cache-Control", "no-store"))
_PAYLOAD_SHOWN = 20_000


def overview(
    state: Mapping[str, Any], counts: Mapping[str, Any], recent: Sequence[Received], now: float
) -> Reply:
    """The whole page. ``recent`` is newest first; ``now`` is a reading of the clock the attempts used."""
    scenario = state["scenario"]
    body = f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>EventBridge sandbox: {escape(scenario)}</title><style>{_STYLE}</style></head>
<body>
<h1>EventBridge sandbox</h1>
<p class="soft">A stand-in for Genesys Cloud, for development and tests. Nothing here leaves this machine.
Also: <a href="/_ledger">ledger</a> and <a href="/_control">switches</a> as JSON.</p>
<p>Endpoints: {_listed(state["endpoints"])}.</p>
<h2>Scenario: {escape(scenario)}</h2>
<p>{escape(state["scenarios"][scenario])}.</p>
{_forms(state)}
<h2>Counts</h2>
{_counts(counts)}
<h2>Last requests</h2>
{_requests(recent, now)}
</body></html>
"""
    return text_reply(200, body, "text/html", _HEADERS)


def _forms(state: Mapping[str, Any]) -> str:
    registered = state["registered_types"]
    known = "every type" if registered is None else _listed(registered)
    planned = [
        f"{endpoint}: {_listed(map(str, faults))}" for endpoint, faults in state["planned"].items() if faults
    ]
    scenario = _select("Scenario", "scenario", state["scenarios"], state["scenario"])
    rate = _number("Requests per window", "rate", "" if state["rate"] is None else state["rate"])
    window = _number("Window (s)", "rate_window", state["rate_window"])
    endpoint = _select("On", "on", state["endpoints"], state["endpoints"][0])
    return f"""
{_form("Switch", scenario)}
{_form("Set", _number("Latency (ms)", "latency_ms", state["latency_ms"]))}
{_form("Set", rate + window)}
{_form("Set", _number("Delivered after (s)", "deliver_after", state["deliver_after"]))}
<p>Event types known: {known}. Refused: {_listed(state["refused_types"])}.</p>
{_form("Register", _text("Event type", "register"))}
{_form("Refuse", _text("Event type", "unregister"))}
<p>Planned faults: {"; ".join(planned) or "none"}.</p>
{_form("Fail next", _fault() + _number("Times", "times", 1) + endpoint)}
{_form("Forget everything received", '<input type="hidden" name="reset" value="1">')}
"""


def _form(button: str, fields: str) -> str:
    return f'<form method="post" action="/_control">{fields}<button>{escape(button)}</button></form>'


def _number(label: str, name: str, value: object) -> str:
    shown = escape(f"{value:g}" if isinstance(value, float) else str(value))
    return f'<label>{label}<input type="number" min="0" step="any" name="{name}" value="{shown}"></label>'


def _text(label: str, name: str) -> str:
    return f'<label>{label}<input name="{name}" required></label>'


def _select(label: str, name: str, choices: Iterable[str], chosen: str) -> str:
    options = "".join(
        f"<option{' selected' if choice == chosen else ''}>{escape(choice)}</option>" for choice in choices
    )
    return f'<label>{label}<select name="{name}">{options}</select></label>'


def _fault() -> str:
    tricks = sorted({name for endpoint in TRICKS.values() for name in endpoint})
    options = "".join(f"<option>{escape(trick)}</option>" for trick in tricks)
    return (
        '<label>Status, 0 or trick<input name="fail_next" value="503" list="tricks" required></label>'
        f'<datalist id="tricks">{options}</datalist>'
    )


def _counts(counts: Mapping[str, Any]) -> str:
    requests = counts["requests"]
    rows = {name: value for name, value in counts.items() if name != "requests"} | requests
    cells = "".join(
        f"<tr><th scope=row>{escape(name)}</th><td>{value}</td></tr>" for name, value in rows.items()
    )
    return f"<table>{cells}</table>"


def _requests(recent: Sequence[Received], now: float) -> str:
    if not recent:
        return "<p>Nothing received yet.</p>"
    rows = "".join(_row(received, now) for received in recent)
    return f"""<div class="wide"><table>
<caption>The newest {RECENT} requests, newest first.</caption>
<thead><tr><th>#</th><th>When</th><th>Request</th><th>Event</th><th>Key</th><th>Answer</th></tr></thead>
<tbody>{rows}</tbody></table></div>"""


def _row(received: Received, now: float) -> str:
    attempt, headers, body = received
    lines = "".join(f"{name}: {value}\n" for name, value in sorted(headers.items()))
    attributes = f"<details><summary>headers</summary><pre>{escape(lines)}</pre></details>" if lines else ""
    payload = f"<details><summary>body</summary><pre>{_shown(body)}</pre></details>" if body else ""
    answer = escape(attempt.status or "running")
    mark = "good" if attempt.status in ("200", "202") else "bad"
    accepted = f"accepted as {escape(attempt.remote_id)}" if attempt.accepted else ""
    event = "<br>".join(escape(text) for text in (attempt.type, attempt.subject, attempt.event) if text)
    return (
        f"<tr><td>{attempt.number}</td><td class=soft>{max(0, now - attempt.started):.0f} s ago</td>"
        f"<td>{escape(attempt.endpoint)}<br>{escape(attempt.method)} {escape(attempt.path)}</td>"
        f"<td>{event}{attributes}{payload}</td><td>{escape(attempt.idempotency_key)}</td>"
        f"<td><strong class={mark}>{answer}</strong> {accepted}</td></tr>"
    )


def _shown(body: bytes) -> str:
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace")
    return escape(text[:_PAYLOAD_SHOWN].encode("utf-8", "replace").decode())


def _listed(names: Iterable[str]) -> str:
    return ", ".join(escape(name) for name in names) or "none"
