"""One answer to a published event -> one verdict."""

import re
from collections.abc import Collection
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx

from genesys_eventbridge.answers.reading import Answer, read
from genesys_eventbridge.timestamps import parse_rfc3339
from genesys_eventbridge.verdicts import Halt, Outcome, Rules, Sent, Verdict

_PERMISSION = (
    Halt.PERMISSION,
    "Give the OAuth client a role with the permission eventbridge:event:publish. If it has one, this "
    "server's address may be missing on the client's IP allow-list (PROXY changes the address).",
)
_PATH = (
    Halt.CONFIG,
    "This organisation does not offer that path. Set EVENTS_PATH, or ask Genesys which ingest path it has.",
)
_CONTENT_TYPE = (Halt.CONFIG, "Set CONTENT_TYPE to what the platform takes.")
_NOT_THE_PLATFORM = (Halt.CONFIG, "The platform does not answer like this. Check API_BASE_URL and PROXY.")
_A_PAGE = "A page is not how the platform refuses: a proxy or firewall may. Check PROXY and the egress."
_HALTS = {
    401: (
        Halt.AUTH,
        "The platform refuses our token, a fresh one too. Check CLIENT_ID, CLIENT_SECRET and REGION, and the "
        "client's IP allow-list.",
    ),
    402: _PERMISSION,
    403: _PERMISSION,
    404: _PATH,
    405: _PATH,
    406: _CONTENT_TYPE,
    407: (Halt.CONFIG, "The proxy wants a login. Put user and password into the URL of PROXY."),
    410: _PATH,
    415: _CONTENT_TYPE,
    501: _NOT_THE_PLATFORM,
    505: _NOT_THE_PLATFORM,
    511: (Halt.CONFIG, "The network wants a login before it lets requests pass. Check PROXY and the egress."),
}
_REFUSED = "The platform refuses this event as it is."
_MAXIMUM_BYTES = re.compile(r"Maximum bytes:?\s{0,4}([0-9]{1,12})", re.IGNORECASE)


def publish_outcome(
    response: httpx.Response, sent: Sent, rules: Rules, *, secrets: Collection[str] = ()
) -> Outcome:
    """What an answer to a POST means for the event. Pure; never raises, whatever the bytes are.

    ``secrets`` are exact texts, such as the token in use, that a hostile answer must not bring into a text.
    """
    answer = read(response, rules, secrets)
    status = answer.status
    if status in rules.accepted_codes:
        return _accepted(answer, sent)
    if status in rules.duplicate_codes:
        return _duplicate(answer, sent)
    if status in _HALTS:
        kind, hint = _HALTS[status]
        if status == 403 and answer.is_page:
            hint = f"{_A_PAGE} {hint}"
        return answer.outcome(Verdict.HALTED, hint, halt=kind)
    if status == 429:
        return answer.rate_halt()
    if status in {421, 423, 425}:
        hint = "The platform does not take the event now. It is sent again."
        return answer.outcome(Verdict.UNAVAILABLE, hint, retry_after=answer.asked_wait())
    if 300 <= status <= 399:
        return answer.outcome(Verdict.HALTED, redirect_hint(answer, "API_BASE_URL"), halt=Halt.CONFIG)
    if 400 <= status <= 499 and status not in {408, 409}:
        return answer.outcome(Verdict.REJECTED, _too_large(answer) if status == 413 else _REFUSED)
    return _unknown(answer)


def _too_large(answer: Answer) -> str:
    found = _MAXIMUM_BYTES.search(answer.text)
    most = f"at most {found[1]} (its maximum bytes)" if found else "what it takes"
    return f"The event is too large for the platform. Set MAX_EVENT_BYTES to {most}, or send less data."


def redirect_hint(answer: Answer, setting: str) -> str:
    """Where a redirect points, by host only: its path and query are nobody's business."""
    try:
        place = urlsplit(answer.headers.get("location", "")).netloc.rpartition("@")[2]
    except ValueError:
        place = "a place that is no URL"
    where = answer.say(place, 100) or "the same host"
    return f"It redirects to {where}; redirects are never followed. Check {setting}, and PROXY."


def _accepted(answer: Answer, sent: Sent) -> Outcome:
    """Success needs proof: a usable id, or our own source, type and event id echoed."""
    if answer.document is None:
        return _without_proof(answer, "No proof that the event was taken. Check API_BASE_URL and PROXY.")
    if answer.complaint:
        return _without_proof(answer, "The code says success, the body says error. The event is sent again.")
    if differing := _differing(answer, sent, ("source", "type")):
        return _other_event(answer, differing, outage=Halt.CONFIG)
    remote_id = answer.usable_id(answer.member("id"))
    if (
        not remote_id or remote_id == sent.event_id
    ):  # our own id repeated: the address of the resource knows better
        remote_id = _located_id(answer) or remote_id
    if not remote_id and not _echoed(answer, sent):
        return _without_proof(answer, "No proof: the answer has no usable id and does not repeat the event.")
    return _taken(answer, remote_id, duplicate=False)


def _without_proof(answer: Answer, hint: str) -> Outcome:
    return answer.outcome(Verdict.UNKNOWN, hint, outage=Halt.CONFIG)


def _duplicate(answer: Answer, sent: Sent) -> Outcome:
    """The key was used before. What for, the body must say."""
    if answer.complaint or (answer.word("code") and answer.word("message")):
        return answer.outcome(Verdict.UNKNOWN, "The first request with this key may still be running.")
    if differing := _differing(answer, sent, ("source", "type", "subject", "time")):
        return _other_event(answer, differing)
    remote_id = answer.usable_id(answer.member("id"))
    if not remote_id and not _echoed(answer, sent):
        return answer.outcome(Verdict.UNKNOWN, "The answer does not say which event this key belongs to.")
    return _taken(answer, remote_id, duplicate=True)


def _other_event(answer: Answer, differing: list[str], outage: Halt | None = None) -> Outcome:
    hint = (
        f"The answer is about another event: not our {', '.join(differing)}. Either this key was used for "
        "another event, or a proxy mixes answers up."
    )
    return answer.outcome(Verdict.UNKNOWN, hint, conflict=True, outage=outage)


def _differing(answer: Answer, sent: Sent, names: tuple[str, ...]) -> list[str]:
    """Which of these attributes, where both sides have them, are not the same."""
    both = [name for name in names if getattr(sent, name) and answer.member(name) is not None]
    return [name for name in both if not _same(getattr(sent, name), answer.member(name))]


def _same(ours: str | datetime, theirs: object) -> bool:
    """Times are compared to the second, as platforms cut fractions; one that nobody can read, not at all."""
    if isinstance(ours, str):
        return theirs == ours
    try:
        second = parse_rfc3339(str(theirs)).replace(microsecond=0)
    except ValueError:
        return True
    return second == ours.astimezone(UTC).replace(microsecond=0)


def _echoed(answer: Answer, sent: Sent) -> bool:
    echo = (answer.member("source"), answer.member("type"), answer.member("id"))
    return echo == (sent.source, sent.type, sent.event_id)


def _located_id(answer: Answer) -> str:
    """The id at the end of a ``Location`` below the path we posted to; a login page is none."""
    try:
        path = urlsplit(answer.headers.get("location", "")).path
    except ValueError:
        return ""
    parent, _, last = path.rpartition("/")
    is_below = parent.endswith(f"/{answer.resource}") if answer.resource else bool(parent)
    return answer.usable_id(last) if is_below else ""


def _taken(answer: Answer, remote_id: str, *, duplicate: bool) -> Outcome:
    final = answer.final_verdict()
    hint = "The platform took the event and failed to deliver it." if final is Verdict.FAILED else ""
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
        "The event may have arrived; it is sent again under the same key. If this stays, ask Genesys support "
        "and quote the correlation id.",
        retry_after=answer.asked_wait(),
        outage=Halt.NETWORK,
    )
