"""What a response means if it is not the protocol's success: the same for every HTTP API of the platform."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from genesys_eventbridge.platform.answers import Answer
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Verdict

NOT_THE_PLATFORM = (Halt.CONFIG, "The platform does not send this response. Check API_BASE_URL and PROXY.")
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
#: Halts of every protocol, by status: the kind, and what to change.
HALTS = {
    407: (Halt.CONFIG, "The proxy requires a login. Put user and password into the URL of PROXY."),
    501: NOT_THE_PLATFORM,
    505: NOT_THE_PLATFORM,
    511: (
        Halt.CONFIG,
        "The network requires a login before it forwards requests. Check PROXY and the egress.",
    ),
}
_REFUSED = "The platform refuses this event as it is."
_MAXIMUM_BYTES = re.compile(r"Maximum bytes:?\s{0,4}([0-9]{1,12})", re.IGNORECASE)


def not_accepted(answer: Answer, halts: Mapping[int, tuple[Halt, str]], after_unknown: str) -> Outcome:
    """The outcome of a publish whose response does not say that the event was accepted.

    ``halts`` are the protocol's own, by status, in addition to HALTS.
    """
    status = answer.status
    if found := halts.get(status) or HALTS.get(status):
        kind, hint = found
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
    return answer.outcome(
        Verdict.UNKNOWN,
        f"{after_unknown} If this persists, contact Genesys support and quote the correlation id.",
        retry_after=answer.asked_wait(),
        outage=Halt.NETWORK,
    )


def without_proof(answer: Answer, hint: str, *, broken_off: str, outage: Halt = Halt.CONFIG) -> Outcome:
    """The outcome of a success without proof; ``broken_off`` is the hint if the response broke off."""
    if answer.broken_off:
        return answer.outcome(Verdict.UNKNOWN, broken_off, outage=Halt.NETWORK)
    return answer.outcome(Verdict.UNKNOWN, hint, outage=outage)


def redirect_hint(answer: Answer, setting: str) -> str:
    """The host of a redirect's target; its path and query are not shown."""
    try:
        place = urlsplit(answer.header("location")).netloc.rpartition("@")[2]
    except ValueError:
        place = "an invalid URL"
    where = answer.say(place, 100) or "the same host"
    return f"It redirects to {where}; redirects are never followed. Check {setting}, and PROXY."


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
