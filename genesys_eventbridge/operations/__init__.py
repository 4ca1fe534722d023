"""What operators do with events and destinations: guarded, audited, safe to repeat.

The functions on events take ids (``OutboxEvent.id``), act on those whose state allows it now, and return a
``Done``, which has the reasons for the others. ``dry_run=True`` changes nothing. For any number of events,
chosen by a filter, see ``jobs``. Admin and commands call the same functions.
"""

from __future__ import annotations

from collections.abc import Iterable

from genesys_eventbridge import conf
from genesys_eventbridge.models import Job
from genesys_eventbridge.operations import jobs, persons
from genesys_eventbridge.operations.audit import Actor, needed, one_line
from genesys_eventbridge.operations.choices import Resolution
from genesys_eventbridge.operations.corrections import CannotCorrect, correct
from genesys_eventbridge.operations.jobs import Order, perform
from genesys_eventbridge.operations.pauses import pause, resume
from genesys_eventbridge.operations.persons import Person
from genesys_eventbridge.operations.resends import CannotResend, resend
from genesys_eventbridge.operations.results import Done, Skip
from genesys_eventbridge.selection import EventFilter
from genesys_eventbridge.states import Act

__all__ = [
    "Actor",
    "CannotCorrect",
    "CannotResend",
    "Done",
    "Order",
    "Person",
    "Resolution",
    "Skip",
    "cancel",
    "check_now",
    "correct",
    "erase",
    "move",
    "pause",
    "replay",
    "requeue",
    "resend",
    "resolve",
    "resume",
    "retry_now",
]


def requeue(
    ids: Iterable[int], actor: Actor, *, reason: str = "", spread: float = 0.0, dry_run: bool = False
) -> Done:
    """Publish dead events again with a fresh attempt budget and the same key, over ``spread`` seconds.

    After ``delivery_failed`` they get a new key: for the old one the platform would only repeat its answer.
    Events of one ordering key keep their order, whether all of them are dead or only the first.
    """
    return perform(Order(Act.REQUEUE, actor, one_line(reason), {"spread": spread}), ids, dry_run=dry_run)


def retry_now(
    ids: Iterable[int], actor: Actor, *, reason: str = "", spread: float = 0.0, dry_run: bool = False
) -> Done:
    """Make events that wait for a retry due now; attempts stay counted."""
    return perform(Order(Act.RETRY, actor, one_line(reason), {"spread": spread}), ids, dry_run=dry_run)


def check_now(ids: Iterable[int], actor: Actor, *, reason: str = "", dry_run: bool = False) -> Done:
    """Let the next pass check these: accepted events, and unresolved ones that have the platform's id."""
    return perform(Order(Act.CHECK, actor, one_line(reason)), ids, dry_run=dry_run)


def cancel(ids: Iterable[int], actor: Actor, reason: str, *, dry_run: bool = False) -> Done:
    """Withdraw events for good; an accepted one only if its destination is no longer configured.

    Raises ValueError without a reason.
    """
    return perform(Order(Act.CANCEL, actor, _kept(reason, dry_run)), ids, dry_run=dry_run)


def resolve(
    ids: Iterable[int],
    actor: Actor,
    outcome: Resolution,
    reason: str,
    *,
    accept_duplicates: bool = False,
    spread: float = 0.0,
    dry_run: bool = False,
) -> Done:
    """Record an operator's decision about unresolved events. Raises ValueError without a reason.

    If the destination is no longer configured, no worker finds out more about its accepted and doubtful
    events: they can be resolved, too, but not sent again before they are moved.

    NOT_DELIVERED publishes again: with the same key while the platform surely remembers it, otherwise with a
    new one, which the platform could accept twice, so only with ``accept_duplicates``.
    """
    options = {"outcome": outcome.value, "accept_duplicates": accept_duplicates, "spread": spread}
    return perform(Order(Act.RESOLVE, actor, _kept(reason, dry_run), options), ids, dry_run=dry_run)


def move(
    ids: Iterable[int],
    actor: Actor,
    to: str,
    reason: str,
    *,
    same_organisation: bool = False,
    accept_duplicates: bool = False,
    dry_run: bool = False,
) -> Done:
    """Move events of a destination that is no longer configured to another one; they keep their state.

    What the old organisation may have accepted moves only with ``same_organisation``, which states that
    ``to`` is the same organisation under another name: it knows the keys and ids. With
    ``accept_duplicates`` it is sent again under a new key.

    Raises ValueError without a reason, ImproperlyConfigured for an unknown ``to``.
    """
    conf.destination(to)
    options = {"to": to, "same_organisation": same_organisation, "accept_duplicates": accept_duplicates}
    return perform(Order(Act.MOVE, actor, _kept(reason, dry_run), options), ids, dry_run=dry_run)


def replay(
    events: EventFilter,
    actor: Actor,
    reason: str,
    *,
    rate: float | None = None,
    spread: float | None = None,
    dry_run: bool = False,
) -> Done:
    """Send again what the platform accepted, as new events that name their origin, in the same order per key.

    For a range of time set ``accepted_since`` and ``accepted_until`` of the filter. The platform and its
    consumers get each of these events once more. ``rate`` is in events per minute, ``spread`` the seconds
    from the first new event to the last. Raises ValueError without a reason, and for a rate of 0 or less.
    """
    if rate is not None and rate <= 0:
        raise ValueError(f"rate: must be more than 0 events per minute, got {rate}.")
    options = {"rate": rate or 0.0, "spread": spread or 0.0}
    order = Order(Act.REPLAY, actor, _kept(reason, dry_run), options, events.words())
    if dry_run:
        return jobs.survey(order, events.rows())
    return _run(jobs.freeze(order, events.rows(), claim=True), actor)


def erase(
    actor: Actor,
    reason: str,
    *,
    subject: str = "",
    ordering_key: str = "",
    about: str = "",
    path: str = "",
    value: str = "",
    cancel: bool = False,
    dry_run: bool = False,
) -> Done:
    """Erase one person's data from their events, found by exactly one of the four; see ``Person``.

    Bodies, errors, responses, subjects, ordering keys and object ids are blanked. Unfinished events are
    skipped, or with ``cancel`` cancelled first. Accepted ones and those in flight ``wait``: a worker erases
    them once they are finished. Raises ValueError without a reason, if the reason contains the data, and if
    no event is about the object and its model is not installed.
    """
    person = Person(subject=subject, ordering_key=ordering_key, about=about, path=path, value=value)
    if dry_run:
        return persons.survey(person, cancel=cancel).done
    person.require_model()
    return _run(persons.freeze(person, actor, reason, cancel=cancel, claim=True), actor)


def _run(job: Job, actor: Actor) -> Done:
    done = Done()
    jobs.run(job, actor, saw=done.add)
    return done


def _kept(reason: str, dry_run: bool) -> str:
    return one_line(reason) if dry_run else needed(reason)
