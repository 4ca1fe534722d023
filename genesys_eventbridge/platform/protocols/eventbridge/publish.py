"""One response to a publish -> one verdict."""

from datetime import datetime, timedelta
from urllib.parse import urlsplit

from genesys_eventbridge.cloudevents.timestamps import parse_rfc3339
from genesys_eventbridge.platform.answers import Answer
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Sent, Verdict
from genesys_eventbridge.platform.protocols.verdicts import not_accepted, without_proof

#: What follows an attempt of unknown outcome.
AFTER_UNKNOWN = "The event may have arrived; it is sent again under the same key."
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
    410: _PATH,
    415: _CONTENT_TYPE,
}


def publish_outcome(answer: Answer, sent: Sent) -> Outcome:
    """What a response to a POST means for the event. Pure; never raises, whatever the bytes are."""
    status, rules = answer.status, answer.rules
    if status in rules.accepted_codes:
        return _accepted(answer, sent)
    if status in rules.duplicate_codes:
        return _duplicate(answer, sent)
    if status == 409:
        return answer.outcome(
            Verdict.UNKNOWN, "The platform reports a conflict; 409 is not in DUPLICATE_CODES."
        )
    if 200 <= status <= 299:
        return _without_proof(answer, "No proof: this code is not in ACCEPTED_CODES.")
    return not_accepted(answer, _HALTS, AFTER_UNKNOWN)


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
    broken_off = "The response broke off. The event is sent again under the same key."
    return without_proof(answer, hint, broken_off=broken_off)


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
        path = urlsplit(answer.header("location")).path.removesuffix("/")
    except ValueError:
        return ""
    parent, _, last = path.rpartition("/")
    is_below = f"/{parent}".endswith(f"/{answer.resource}") if answer.resource else bool(parent)
    return answer.usable_id(last) if is_below else ""


def _taken(answer: Answer, remote_id: str, *, duplicate: bool) -> Outcome:
    final = answer.final_verdict()
    hint = "The platform accepted the event but failed to deliver it." if final is Verdict.FAILED else ""
    return answer.outcome(Verdict.ACCEPTED, hint, remote_id=remote_id, final=final, duplicate=duplicate)
