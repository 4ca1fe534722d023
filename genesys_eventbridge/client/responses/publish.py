"""One response to a publish -> one verdict."""

import re
from collections.abc import Collection
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import httpx

from genesys_eventbridge.client.responses.parsing import Answer, read
from genesys_eventbridge.cloudevents.timestamps import parse_rfc3339
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Rules, Sent, Verdict

_PERMISSION = (
    Halt.PERMISSION,
    "Give the OAuth client a role with the permission eventbridge:event:publish. If it has one, this "
    "server's address may be missing on the client's IP allow-list (PROXY changes the address).",
)
_PATH = (
    Halt.CONFIG,
    "This organisation does not have that path. Set EVENTS_PATH, or ask Genesys for its ingest path.",
)
_CONTENT_TYPE = (Halt.CONFIG, "Set CONTENT_TYPE to a type that the platform accepts.")
_NOT_THE_PLATFORM = (Halt.CONFIG, "The platform does not send this response. Check API_BASE_URL and PROXY.")
_A_PAGE = "The platform does not refuse with a page; a proxy or firewall may. Check PROXY and the egress."
#: Halts that never concern the event: a login is missing, ours or the network's.
_NOT_THE_EVENT = frozenset({401, 407, 511})
_A_GATEWAY = "A gateway answered, not the platform."
_CHECK_THE_WAY = "Check API_BASE_URL, PROXY and the gateway's log."
_GATEWAY_HINTS = {
    400: "It may require a client certificate (CLIENT_CERT), or our headers are too large for it.",
    413: "The request is too large for it: raise its limit, or set MAX_EVENT_BYTES below it.",
    414: "Our URL is too long for it: raise its limit, or shorten EVENTS_PATH.",
    431: "Our headers, including the token, are too large for it: raise its header limit.",
}
_HALTS = {
    401: (
        Halt.AUTH,
        "The platform refuses our token, even a new one. Check CLIENT_ID, CLIENT_SECRET and REGION, and the "
        "client's IP allow-list.",
    ),
    402: _PERMISSION,
    403: _PERMISSION,
    404: _PATH,
    405: _PATH,
    406: _CONTENT_TYPE,
    407: (Halt.CONFIG, "The proxy requires a login. Put user and password into the URL of PROXY."),
    410: _PATH,
    415: _CONTENT_TYPE,
    501: _NOT_THE_PLATFORM,
    505: _NOT_THE_PLATFORM,
    511: (
        Halt.CONFIG,
        "The network requires a login before it forwards requests. Check PROXY and the egress.",
    ),
}
_REFUSED = "The platform refuses this event as it is."
_MAXIMUM_BYTES = re.compile(r"Maximum bytes:?\s{0,4}([0-9]{1,12})", re.IGNORECASE)


def publish_outcome(
    response: httpx.Response, sent: Sent, rules: Rules, *, secrets: Collection[str] = ()
) -> Outcome:
    """What a response to a POST means for the event. Pure; never raises, whatever the bytes are.

    ``secrets`` are exact texts, such as the current token, that are masked if a response repeats them. No
    value of the data of ``sent.body`` appears in the error.
    """
    answer = read(response, rules, secrets, sent.body)
    status = answer.status
    if status in rules.accepted_codes:
        return _accepted(answer, sent)
    if status in rules.duplicate_codes:
        return _duplicate(answer, sent)
    if status in _HALTS:
        kind, hint = _HALTS[status]
        if status == 403 and answer.is_page:
            hint = f"{_A_PAGE} {hint}"
        return answer.outcome(Verdict.HALTED, hint, halt=kind, accuses=status not in _NOT_THE_EVENT)
    if status == 429:
        return answer.rate_halt()
    if status in {421, 423, 425} and not answer.is_page:
        hint = "The platform cannot accept the event now. It is sent again later."
        return answer.outcome(Verdict.UNAVAILABLE, hint, retry_after=answer.asked_wait())
    if 300 <= status <= 399:
        hint = redirect_hint(answer, "API_BASE_URL")
        return answer.outcome(Verdict.HALTED, hint, halt=Halt.CONFIG, accuses=True)
    if 400 <= status <= 499 and status not in {408, 409}:
        return _refused(answer)
    return _unknown(answer)


def _refused(answer: Answer) -> Outcome:
    """Only the platform's error format refuses an event; a page or empty body is from a gateway (G20)."""
    if answer.is_refusal:
        return answer.outcome(Verdict.REJECTED, _too_large(answer) if answer.status == 413 else _REFUSED)
    if answer.broken_off:
        hint = (
            "The response broke off, so it is unclear who refused. Check the route to the platform and PROXY."
        )
        return answer.outcome(Verdict.HALTED, hint, halt=Halt.NETWORK, accuses=True)
    hint = f"{_A_GATEWAY} {_GATEWAY_HINTS.get(answer.status, _CHECK_THE_WAY)}"
    return answer.outcome(Verdict.HALTED, hint, halt=Halt.CONFIG, accuses=True)


def _too_large(answer: Answer) -> str:
    found = _MAXIMUM_BYTES.search(answer.text)
    most = f"at most {found[1]} (its maximum bytes)" if found else "its limit"
    return f"The event is too large for the platform. Set MAX_EVENT_BYTES to {most}, or send less data."


def redirect_hint(answer: Answer, setting: str) -> str:
    """The host of a redirect's target; its path and query are not shown."""
    try:
        place = urlsplit(answer.headers.get("location", "")).netloc.rpartition("@")[2]
    except ValueError:
        place = "an invalid URL"
    where = answer.say(place, 100) or "the same host"
    return f"It redirects to {where}; redirects are never followed. Check {setting}, and PROXY."


def _accepted(answer: Answer, sent: Sent) -> Outcome:
    """Success needs proof: a usable id, or our own source, type and event id repeated."""
    if answer.document is None and not answer.is_empty:
        return _without_proof(answer, "No proof that the event was accepted. Check API_BASE_URL and PROXY.")
    if answer.complains(sent):
        return _without_proof(
            answer, "The status code reports success, the body an error. The event is sent again."
        )
    if differing := _differing(answer, sent, ("source", "type")):
        return _other_event(answer, differing, outage=Halt.CONFIG)
    remote_id = _remote_id(answer, sent) or _located_id(answer)
    if not remote_id and not answer.echoes(sent):
        hint = "No proof: the response has no usable id and does not repeat the event."
        return _without_proof(answer, f"{hint} Check API_BASE_URL and PROXY.")
    return _taken(answer, remote_id, duplicate=False)


def _remote_id(answer: Answer, sent: Sent) -> str:
    """The platform's id. If the body only repeats our id, the resource's URL takes precedence."""
    remote_id = answer.usable_id(answer.member("id"))
    return (_located_id(answer) or remote_id) if remote_id == sent.event_id else remote_id


def _without_proof(answer: Answer, hint: str) -> Outcome:
    if answer.broken_off:
        hint = "The response broke off. The event is sent again under the same key."
        return answer.outcome(Verdict.UNKNOWN, hint, outage=Halt.NETWORK)
    return answer.outcome(Verdict.UNKNOWN, hint, outage=Halt.CONFIG)


def _duplicate(answer: Answer, sent: Sent) -> Outcome:
    """The key was used before; the body must say for which event."""
    if answer.complains(sent):
        return answer.outcome(Verdict.UNKNOWN, "The first request with this key may still be running.")
    # If the body is not an event, ``type`` may be a kind of response, and ``source`` its sender.
    if answer.member("source") is not None and (
        differing := _differing(answer, sent, ("source", "type", "subject", "time"))
    ):
        return _other_event(answer, differing) if answer.word("specversion") else _whose(answer)
    remote_id = _remote_id(answer, sent)
    if not remote_id and not answer.echoes(sent):
        return _whose(answer)
    return _taken(answer, remote_id, duplicate=True)


def _whose(answer: Answer) -> Outcome:
    return answer.outcome(Verdict.UNKNOWN, "The response does not say which event this key belongs to.")


def _other_event(answer: Answer, differing: list[str], outage: Halt | None = None) -> Outcome:
    hint = (
        f"The response is about another event (different {', '.join(differing)}). Either this key was "
        "used for another event, or a proxy mixes up responses."
    )
    return answer.outcome(Verdict.UNKNOWN, hint, conflict=True, outage=outage)


def _differing(answer: Answer, sent: Sent, names: tuple[str, ...]) -> list[str]:
    """Which of these attributes differ, if both sides have them."""
    both = [name for name in names if getattr(sent, name) and answer.member(name) is not None]
    return [name for name in both if not _same(getattr(sent, name), answer.member(name))]


def _same(ours: str | datetime, theirs: object) -> bool:
    """Times within a second are equal, because platforms round; an invalid time is not compared."""
    if isinstance(ours, str):
        return theirs == ours
    try:
        return abs(parse_rfc3339(str(theirs)) - ours) <= timedelta(seconds=1)
    except (ValueError, OverflowError):
        return True


def _located_id(answer: Answer) -> str:
    """The id at the end of a ``Location`` below the path of the request, also if relative (RFC 9110).

    A login page does not count.
    """
    try:
        path = urlsplit(answer.headers.get("location", "")).path.removesuffix("/")
    except ValueError:
        return ""
    parent, _, last = path.rpartition("/")
    is_below = f"/{parent}".endswith(f"/{answer.resource}") if answer.resource else bool(parent)
    return answer.usable_id(last) if is_below else ""


def _taken(answer: Answer, remote_id: str, *, duplicate: bool) -> Outcome:
    final = answer.final_verdict()
    hint = "The platform accepted the event but failed to deliver it." if final is Verdict.FAILED else ""
    return answer.outcome(Verdict.ACCEPTED, hint, remote_id=remote_id, final=final, duplicate=duplicate)


def _unknown(answer: Answer) -> Outcome:
    """The platform may have the event: the same key and bytes are sent again."""
    if answer.status == 409:
        return answer.outcome(
            Verdict.UNKNOWN, "The platform reports a conflict; 409 is not in DUPLICATE_CODES."
        )
    if 200 <= answer.status <= 299:
        return _without_proof(answer, "No proof: this code is not in ACCEPTED_CODES.")
    return answer.outcome(
        Verdict.UNKNOWN,
        "The event may have arrived; it is sent again under the same key. If this persists, contact Genesys "
        "support and quote the correlation id.",
        retry_after=answer.asked_wait(),
        outage=Halt.NETWORK,
    )
