"""One response to a status check -> one verdict."""

from genesys_eventbridge.platform.answers import Answer
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Sent, Verdict
from genesys_eventbridge.platform.protocols.verdicts import redirect_hint

_AGAIN = "Delivery is checked again later."
_NOT_ABOUT_THE_EVENT = frozenset({402, 407, 408, 421, 423, 425})


def status_outcome(answer: Answer, remote_id: str, sent: Sent | None, age: float | None) -> Outcome:
    """What a response to a GET means for an accepted event. Pure; never raises, whatever the bytes are.

    ``sent`` has our event's attributes, if known, because a platform may respond with the event itself.
    ``age`` is in seconds since the acceptance; if it is None, CONFIRM_FOR never ends the event.
    DELIVERED and FAILED are reported by the platform. UNKNOWN means it can no longer be confirmed: an
    operator must decide.
    """
    status = answer.status
    if status == 200:
        return _reported(answer, remote_id, sent, age)
    if status == 401:
        hint = "The platform refuses our token for checks. Check the OAuth client's roles."
        return answer.outcome(Verdict.HALTED, hint, halt=Halt.AUTH)
    if status == 403:
        hint = (
            "Give the OAuth client a role with the permission eventbridge:events:read, or set CONFIRM to "
            "False. This server's address may also be missing on the client's IP allow-list."
        )
        return answer.outcome(Verdict.HALTED, hint, halt=Halt.PERMISSION)
    if status == 429:
        return answer.rate_halt()
    if status in {404, 410}:
        return _not_found(answer, age)
    if 300 <= status <= 399:
        return answer.outcome(Verdict.NOT_YET, redirect_hint(answer, "API_BASE_URL"), found=False)
    if 400 <= status <= 499 and status not in _NOT_ABOUT_THE_EVENT:
        hint = f"The platform gives no status for this id. {_AGAIN}"
        if answer.document is not None:
            return _not_yet(answer, age, hint, found=False)
        return answer.outcome(Verdict.NOT_YET, hint, retry_after=answer.asked_wait(), found=False)
    return answer.outcome(Verdict.NOT_YET, _AGAIN, retry_after=answer.asked_wait())


def _reported(answer: Answer, remote_id: str, sent: Sent | None, age: float | None) -> Outcome:
    if answer.document is None:
        return answer.outcome(Verdict.NOT_YET, f"This is not an event status. {_AGAIN}")
    named = answer.member("id")
    if named is not None and named != remote_id and not (sent and answer.echoes(sent)):
        hint = f"The response is about another event: a proxy may mix up responses. {_AGAIN}"
        return answer.outcome(Verdict.NOT_YET, hint, conflict=True)
    final = answer.final_verdict()
    if final is Verdict.FAILED:  # before ``complains``: its details may look like a complaint
        hint = "The platform failed to deliver it. Sending it again needs a new key."
        return answer.outcome(final, hint, found=True)
    if answer.complains(sent):
        hint = f"The status code reports success, the body an error. {_AGAIN}"
        if named is None:
            return answer.outcome(Verdict.NOT_YET, hint)
        return _not_yet(answer, age, hint, found=True)
    if final is Verdict.DELIVERED:
        return answer.outcome(final, found=True)
    hint = "" if answer.reported_status() else f"The response has no status. {_AGAIN}"
    return _not_yet(answer, age, hint, found=True)


def _not_found(answer: Answer, age: float | None) -> Outcome:
    if answer.status == 404 and (age is None or age <= answer.rules.not_found_grace):
        return _not_yet(answer, age, f"The platform does not know the event yet. {_AGAIN}", found=None)
    if answer.is_page:  # only the platform itself may end an event
        return answer.outcome(Verdict.NOT_YET, f"A gateway answered, not the platform. {_AGAIN}", found=False)
    hint = "The platform no longer knows an event that it accepted."
    return answer.outcome(Verdict.UNKNOWN, hint, found=False)


def _not_yet(answer: Answer, age: float | None, hint: str, *, found: bool | None) -> Outcome:
    """Only a response about the event ends it after CONFIRM_FOR; without one it stays open."""
    if age is not None and age >= answer.rules.confirm_for:
        hint = f"Not confirmed within CONFIRM_FOR ({answer.rules.confirm_for:g} s)."
        return answer.outcome(Verdict.UNKNOWN, hint, found=found)
    return answer.outcome(Verdict.NOT_YET, hint, found=found)
