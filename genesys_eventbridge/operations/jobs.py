"""Jobs: one act on any number of events, in committed batches, each event exactly once.

The events are listed when the operator confirms (``freeze``): a filter would match a requeued event again
when it dies again, and events that are created later. A batch is one transaction that acts on events, audits
it, notes the results, and moves the job on; only the holder of the job's claim can commit one. So a worker
that is killed loses at most the batch it had not committed, and another one continues when its lease ends.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db import DatabaseError, IntegrityError, connections, transaction
from django.db.models import Case, Max, Min, QuerySet, Value, When

from genesys_eventbridge import wake
from genesys_eventbridge.db import PASSING, drop_connection, first_write, in_small_transaction, retried
from genesys_eventbridge.db.clock import LONGEST_WAIT, NOW, DatabaseNow
from genesys_eventbridge.db.transactions import after_commit
from genesys_eventbridge.defects import report
from genesys_eventbridge.models import Job, JobItem, OutboxEvent, OutboxQuerySet, outbox_alias
from genesys_eventbridge.operations import choices, copies, erasure
from genesys_eventbridge.operations.audit import Actor, one_line
from genesys_eventbridge.operations.bulk import Batch, Changed, Choose, change, foresee
from genesys_eventbridge.operations.results import Done, Result, Skip, Some
from genesys_eventbridge.states import Act, JobState, State
from genesys_eventbridge.text import clean

logger = logging.getLogger("genesys_eventbridge")

#: Events per transaction, so that a job never holds many locks.
BATCH = 500
#: Minimum number of steps of a spread, if there are enough events.
STEPS = 100
#: Events that are listed per transaction.
PAGE = 10_000
#: The same if their bodies have to be read.
BODIES = 100
#: Seconds that a job is reserved for its worker; each batch renews it.
LEASE = 60.0
#: Seconds until a job looks again at events it has to wait for.
LOOK_AGAIN = 60.0
#: Events that a preview examines one by one.
EXAMINED = 5_000
#: Groups of results that a job distinguishes; further ones are counted without their type.
GROUPS = 200

#: Outcomes of an item besides the reasons for which it was skipped.
DONE, NEW_KEY, WAITS = "done", "new_key", "waits"


@dataclass(frozen=True, slots=True)
class Kind:
    """How an act is carried out, and how it is foreseen without changing anything."""

    work: Callable[[Batch], list[Result]]
    foresee: Callable[[OutboxQuerySet], list[Result]]
    #: Events per batch at most; by default few enough to share a due time.
    size: int | None = None


def _changes(choose: Callable[..., Choose], *names: str) -> Callable[[Mapping[str, Any]], Kind]:
    """A kind that changes rows; ``names`` are the options that ``choose`` takes."""

    def kind(options: Mapping[str, Any]) -> Kind:
        chosen = choose(**{name: options[name] for name in names if name in options})
        return Kind(partial(change, chosen), partial(foresee, chosen))

    return kind


def _copies(*states: State) -> Callable[[Mapping[str, Any]], Kind]:
    """A kind that makes new events of those in ``states``."""
    kind = Kind(partial(copies.make, states), partial(copies.foresee, states), copies.PAGE)
    return lambda _options: kind


def _erases(options: Mapping[str, Any]) -> Kind:
    cancel, by_path = bool(options.get("cancel")), bool(options.get("by_path"))
    return Kind(partial(erasure.erase, cancel, by_path), partial(erasure.foresee, cancel))


#: By act, what makes its kind from the job's options.
KINDS: dict[Act, Callable[[Mapping[str, Any]], Kind]] = {
    Act.REQUEUE: _changes(choices.requeue),
    Act.RETRY: _changes(choices.retry_now),
    Act.CHECK: _changes(choices.check_now),
    Act.CANCEL: _changes(choices.cancel, "never_sent"),
    Act.RESOLVE: _changes(choices.resolve, "outcome", "accept_duplicates"),
    Act.MOVE: _changes(choices.move, "to", "same_organisation", "accept_duplicates"),
    Act.RESEND: _copies(State.DELIVERED),
    Act.REPLAY: _copies(State.ACCEPTED, State.DELIVERED),
    Act.ERASE: _erases,
}
#: Acts that make new events.
COPYING = (Act.RESEND, Act.REPLAY)


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator wants: the act, its options as JSON values, and why.

    Every act takes ``delay`` and ``spread``: seconds until the first event becomes due, and until the last
    one does after that.

    ``about`` says in words what it applies to. The same ``key`` twice makes one job.
    """

    act: Act
    actor: Actor
    reason: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""
    key: uuid.UUID = field(default_factory=uuid.uuid4)

    def kind(self) -> Kind:
        return KINDS[self.act](self.options)


@dataclass(frozen=True, slots=True)
class Preview:
    """What an order would do: ``total`` events match, of which the first ``examined`` add up to ``done``."""

    total: int
    examined: int
    done: Done


class Lost(Exception):
    """Another worker holds the job's claim, or it has ended."""


def perform(order: Order, ids: Iterable[int], *, dry_run: bool = False) -> Done:
    """Do it to these events now, however many there are. A dry run writes and locks nothing.

    Raises ValueError for a spread that is negative or more than 10 years.
    """
    _require_waits(order)
    done = Done()
    numbers = sorted(set(ids))
    if dry_run:
        kind = order.kind()
        for start in range(0, len(numbers), BATCH):
            chunk = numbers[start : start + BATCH]
            found = kind.foresee(OutboxEvent.objects.on_outbox().filter(id__in=chunk).order_by("id"))
            done.add(found)
            done.add(_missing(chunk, found))
        return done
    if numbers:
        run(freeze(order, numbers, claim=True), order.actor, saw=done.add)
    return done


def preview(foresee: Callable[[OutboxQuerySet], list[Result]], rows: OutboxQuerySet) -> Preview:
    """What a kind of act would do to the events that match now; writes and locks nothing."""
    done = Done()
    found = foresee(rows.order_by("id")[:EXAMINED])
    done.add(found)
    total = rows.order_by().count() if len(found) >= EXAMINED else len(found)
    return Preview(total, len(found), done)


def survey(order: Order, rows: OutboxQuerySet) -> Done:
    """Like ``preview`` for all events that match, page by page."""
    done, kind, last = Done(), order.kind(), 0
    while found := kind.foresee(rows.filter(id__gt=last).order_by("id")[:EXAMINED]):
        done.add(found)
        last = max(result.id for result in found)
    return done


def freeze(
    order: Order,
    events: OutboxQuerySet | Iterable[int],
    *,
    claim: bool = False,
    matches: Callable[[OutboxEvent], bool] | None = None,
    prepare: Callable[[Job], None] | None = None,
) -> Job:
    """Make a job of the events that match now. ``claim`` reserves it for the caller, who must ``run`` it.

    ``matches`` decides about each event of a queryset that the database cannot decide about alone.
    ``prepare`` is called within the transaction in which the job becomes ready to be worked on. Returns the
    job that was made before if the order's key has one.
    """
    _require_waits(order)
    alias = outbox_alias()
    if not isinstance(events, OutboxQuerySet):
        return in_small_transaction(alias, partial(_freeze_named, order, sorted(set(events)), claim=claim))
    job, is_new = in_small_transaction(alias, partial(_create, order))
    if is_new:
        job.total = sum(_listed(job, events, matches))
        in_small_transaction(alias, partial(_queue, job, claim=claim, prepare=prepare))
    return job


def note(order: Order, total: int = 0, destination: str = "") -> Job:
    """Within a transaction: record an act that is complete when the transaction commits."""
    fields = {**_fields(order), "destination": destination, "total": total, "done": total}
    job = Job(state=JobState.FINISHED, finished_at=DatabaseNow(), **fields)
    job.save(using=outbox_alias(), force_insert=True)
    return job


def run(
    job: Job,
    actor: Actor,
    *,
    saw: Callable[[list[Result]], None] | None = None,
    max_seconds: float = math.inf,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Work on a claimed job, batch by batch. Returns whether it has ended.

    ``saw`` gets the results of each batch after its commit. When the time is up, or ``stop`` is set, the job
    is handed back. Ends without an error if the claim is lost: someone else carries on or has cancelled it.
    """
    ends, token = clock() + max_seconds, job.claim_token
    if token is None:
        return job.state != JobState.QUEUED
    kind = KINDS[Act(job.act)](options(job))
    size = min(kind.size, BATCH) if kind.size else _batch_size(job)
    singly = 0
    while True:
        if clock() >= ends or (stop is not None and stop.is_set()):
            _hand_back(job, token)
            return False
        step = partial(_step, job.pk, token, actor, kind.work, 1 if singly else size)
        try:
            results, ended = in_small_transaction(outbox_alias(), step)
        except Changed:
            singly = size  # so that the one that changed blocks no other
            continue
        except Lost:
            return True
        singly = max(0, singly - 1)
        if saw is not None:
            saw(results)
        if ended:
            return True


def work(*, max_seconds: float = math.inf, stop: threading.Event | None = None) -> int:
    """Carry out jobs that are due, for at most ``max_seconds``. Returns the number of jobs worked on."""
    ends, worked = time.monotonic() + max_seconds, 0
    while (left := ends - time.monotonic()) > 0 and not (stop is not None and stop.is_set()):
        job = claim()
        if job is None:
            break
        worked += 1
        attempt(job, Actor(job.via, name=job.username), max_seconds=left, stop=stop)
    return worked


def attempt(
    job: Job, actor: Actor, *, max_seconds: float = math.inf, stop: threading.Event | None = None
) -> None:
    """As ``run``, but an error is logged, and its class kept with the job, until its lease ends."""
    try:
        run(job, actor, max_seconds=max_seconds, stop=stop)
    except Exception as error:  # noqa: BLE001 - it holds up no other job
        drop_connection(outbox_alias())
        report(error, "Job %d stopped: %s", job.pk, type(error).__name__, expected=PASSING)
        mine = Job.objects.using(outbox_alias()).filter(pk=job.pk, claim_token=job.claim_token)
        with suppress(DatabaseError):  # then only the log has it
            mine.update(last_error=type(error).__name__)


def are_due() -> bool:
    """Whether a job waits for a worker."""
    return Job.objects.using(outbox_alias()).filter(state=JobState.QUEUED, due_at__lte=NOW).exists()


def claim(pk: int | None = None) -> Job | None:
    """Reserve the job that has been due longest, or this one, if it is due; None if there is none."""
    alias, token = outbox_alias(), uuid.uuid4()
    due = Job.objects.using(alias).filter(state=JobState.QUEUED, due_at__lte=NOW)
    if pk is not None:
        due = due.filter(pk=pk)
    found = due.order_by("due_at", "id").values_list("pk", flat=True).first()
    if found is None:
        return None
    mine = due.filter(pk=found)
    if not retried(alias, lambda: mine.update(claim_token=token, due_at=DatabaseNow(LEASE))):
        return None
    return Job.objects.using(alias).get(pk=found)


def cancel(pk: int, actor: Actor, reason: str = "") -> bool:
    """Stop a job; what it has done stays, except new events that were never sent: another job cancels them.

    So a job that has made events can also be stopped after it has finished. Returns False if there was
    nothing to stop.
    """
    alias = outbox_alias()
    unfinished = Job.objects.using(alias).filter(pk=pk, state__in=[JobState.PREPARING, JobState.QUEUED])

    def stop() -> bool:
        first_write(alias)
        stopped = unfinished.update(
            state=JobState.CANCELLED,
            finished_at=NOW,
            claim_token=None,
            due_at=None,
            ended_by=actor.username,
        )
        job = Job.objects.using(alias).filter(pk=pk).first()
        return (job is not None and _withdraw(job, actor, reason)) or stopped > 0

    return in_small_transaction(alias, stop)


def can_be_stopped(job: Job) -> bool:
    """Whether ``cancel`` would do anything."""
    if job.state in (JobState.PREPARING, JobState.QUEUED):
        return True
    return job.act in COPYING and job.done > 0 and withdrawal(job) is None


def withdrawal(job: Job) -> Job | None:
    """The job that cancels the new events of this one; None if it was not stopped."""
    return Job.objects.using(outbox_alias()).filter(key=_withdrawal_key(job)).first()


@dataclass(frozen=True, slots=True)
class Group:
    """Events of a job with the same outcome (done, new_key, or the value of a Skip) and type."""

    outcome: str
    destination: str
    type: str
    number: int

    @property
    def skip(self) -> Skip | None:
        """Why they were skipped; None if they were acted on."""
        return Skip(self.outcome) if self.outcome in Skip.values else None


def options(job: Job) -> dict[str, Any]:
    """How the act is done."""
    return dict(json.loads(job.options))


def groups(job: Job) -> list[Group]:
    """The results of a job so far."""
    return [Group(*group) for group in json.loads(job.results)]


def total(job: Job) -> Done:
    """The numbers of a job so far, without ids."""
    done = Done()
    for group in groups(job):
        if group.skip is not None:
            done.skipped.setdefault(group.skip, Some()).count += group.number
        else:
            done.changed.count += group.number
            done.may_duplicate.count += group.number if group.outcome == NEW_KEY else 0
    return done


def matched(pk: int, *outcomes: str) -> QuerySet[JobItem, Any]:
    """The numbers of the events of a job, or of those with one of these outcomes; for a subquery."""
    items = JobItem.objects.filter(job_id=pk)
    if outcomes:
        items = items.filter(outcome__in=outcomes)
    return items.values("event_number")


def _withdrawal_key(job: Job) -> uuid.UUID:
    return uuid.uuid5(job.key, "withdrawn")


def _withdraw(stopped: Job, actor: Actor, reason: str) -> bool:
    """Within a transaction: a job that cancels the new events of a stopped one; False if there are none."""
    alias = outbox_alias()
    made = JobItem.objects.using(alias).filter(job=stopped, new_number__isnull=False)
    if stopped.act not in COPYING or not made.exists():
        return False
    order = Order(
        Act.CANCEL,
        actor,
        reason or f"act {stopped.pk} was stopped",
        {"never_sent": True},
        f"new events of act {stopped.pk}",
        _withdrawal_key(stopped),
    )
    job, is_new = _create(order)
    if is_new:
        job.total = _copy_items(job, made.order_by("new_number").values("new_number"), "new_number")
        _queue(job, claim=False)
    return is_new


def _require_waits(order: Order) -> None:
    for name in ("spread", "delay"):
        if not 0 <= order.options.get(name, 0.0) <= LONGEST_WAIT:
            raise ValueError(f"{name}: must be seconds from 0 to 10 years.")


def _missing(ids: Iterable[int], found: Iterable[Result]) -> Iterator[Result]:
    known = {result.id for result in found}
    return (Result(pk, Skip.NO_SUCH_EVENT) for pk in ids if pk not in known)


def _fields(order: Order) -> dict[str, Any]:
    user = order.actor.user
    return {
        "key": order.key,
        "act": order.act,
        "user_id": None if user is None else user.pk,
        "username": order.actor.username,
        "via": clean(order.actor.via, 64),
        "reason": one_line(order.reason),
        "about": clean(order.about, 500),
        "options": json.dumps(dict(order.options)),
        "created_at": DatabaseNow(),
    }


def _create(order: Order) -> tuple[Job, bool]:
    rows = Job.objects.using(outbox_alias())
    first_write(rows.db)
    try:
        with transaction.atomic(using=rows.db):
            made = rows.create(**_fields(order))
    except IntegrityError:
        return rows.get(key=order.key), False
    return made, True


def _freeze_named(order: Order, numbers: Sequence[int], *, claim: bool) -> Job:
    """Within a transaction: a job of events that the caller holds in memory anyway."""
    job, is_new = _create(order)
    if is_new:
        _insert(job, numbers)
        job.total = len(numbers)
        _queue(job, claim=claim)
    return job


def _insert(job: Job, numbers: Iterable[int]) -> None:
    items = (JobItem(job=job, event_number=number) for number in numbers)
    JobItem.objects.using(outbox_alias()).bulk_create(items, batch_size=PAGE)


def _listed(job: Job, rows: OutboxQuerySet, matches: Callable[[OutboxEvent], bool] | None) -> Iterator[int]:
    """List the events that match, of those there are now; yields the numbers of events of each page."""
    newest = OutboxEvent.objects.on_outbox().aggregate(newest=Max("id"))["newest"] or 0
    last = 0
    while last < newest:
        ahead = rows.filter(id__gt=last, id__lte=newest).order_by("id")
        if matches is None:
            listing, size = partial(_copy, job, ahead.values("id")[:PAGE]), PAGE
        else:
            listing, size = partial(_copy_matching, job, ahead[:BODIES], matches), BODIES
        page = in_small_transaction(outbox_alias(), listing)
        yield page.listed
        last = page.last
        if page.read < size:
            return


class _Page(NamedTuple):
    """How many events were read and listed, and the number of the last one."""

    read: int
    listed: int
    last: int


def _copy_matching(job: Job, page: Any, matches: Callable[[OutboxEvent], bool]) -> _Page:
    """Within a transaction: list those events of a page that match."""
    found = list(page)
    numbers = [event.pk for event in found if matches(event)]
    _insert(job, numbers)
    return _Page(len(found), len(numbers), max((event.pk for event in found), default=0))


def _copy(job: Job, page: Any) -> _Page:
    """Within a transaction: list a page of events."""
    alias = outbox_alias()
    connection = connections[alias]
    if connection.vendor == "mysql":
        # INSERT ... SELECT would lock every row it reads there, and the gap in which saves insert theirs.
        numbers = list(page.values_list("id", flat=True))
        _insert(job, numbers)
        return _Page(len(numbers), len(numbers), max(numbers, default=0))
    count = _copy_items(job, page, "id")
    items = JobItem.objects.using(alias).filter(job=job)
    return _Page(count, count, items.aggregate(last=Max("event_number"))["last"] or 0)


def _copy_items(job: Job, numbers: Any, column: str) -> int:
    """List the events whose numbers are the only column of this query, without reading them here."""
    connection = connections[outbox_alias()]
    try:
        sql, params = numbers.query.get_compiler(using=connection.alias).as_sql()
    except EmptyResultSet:  # Django knows that nothing can match
        return 0
    table = connection.ops.quote_name(JobItem._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (job_id, event_number, outcome) "  # noqa: S608 - a table of our own
            f"SELECT %s, page.{column}, '' FROM ({sql}) page ORDER BY page.{column}",
            [job.pk, *params],
        )
        return int(cursor.rowcount)


def _queue(job: Job, *, claim: bool, prepare: Callable[[Job], None] | None = None) -> None:
    """Within a transaction: all events are listed, from now on it can be worked on."""
    first_write(outbox_alias())
    if prepare is not None:
        prepare(job)
    token = uuid.uuid4() if claim else None
    alias = outbox_alias()
    Job.objects.using(alias).filter(pk=job.pk, state=JobState.PREPARING).update(
        state=JobState.QUEUED,
        total=job.total,
        claim_token=token,
        due_at=DatabaseNow(LEASE if claim else 0.0),
    )
    job.refresh_from_db(using=alias)
    if not claim:
        after_commit(alias, wake.wake_jobs)


def _batch_size(job: Job) -> int:
    """The events of a batch share a due time, so a spread makes small ones."""
    spread = options(job).get("spread", 0.0)
    return min(BATCH, max(1, job.total // STEPS)) if spread else BATCH


def _step(
    pk: int, token: uuid.UUID, actor: Actor, work: Callable[[Batch], list[Result]], size: int
) -> tuple[list[Result], bool]:
    """Within a transaction: the next batch. Returns its results, and whether the job has ended.

    Raises Lost without the claim, Changed if a guard did not hold for one of several events.
    """
    alias = outbox_alias()
    first_write(alias)
    rows = Job.objects.using(alias).annotate(now=NOW)
    if connections[alias].features.has_select_for_update:
        rows = rows.select_for_update()
    job = rows.get(pk=pk)
    if job.claim_token != token or job.state != JobState.QUEUED:
        raise Lost
    items = JobItem.objects.using(alias).filter(job=job)
    ahead = items.filter(event_number__gt=job.position, outcome__in=["", WAITS])
    numbers = list(ahead.order_by("event_number").values_list("event_number", flat=True)[:size])
    results: list[Result] = []
    if numbers:
        results = work(Batch(job, actor, numbers, _due_in(job)))
        _keep(job, items, results)
        job.position = numbers[-1]
    job.due_at, job.last_error = DatabaseNow(LEASE), ""
    over = len(numbers) < size
    if over and (added := items.filter(outcome="").aggregate(first=Min("event_number"))["first"]) is not None:
        over, job.position = False, added - 1
    if over:
        _pass_is_over(job, waits=items.filter(outcome=WAITS).exists())
    job.save(
        using=alias,
        update_fields=[
            "position",
            "total",
            "done",
            "skipped",
            "results",
            "due_at",
            "claim_token",
            "state",
            "finished_at",
            "last_error",
        ],
    )
    return results, over


def _due_in(job: Any) -> float:
    """Seconds until the next batch is due: the delay, and its share of the spread, since the job began."""
    how = options(job)
    share: float = how.get("spread", 0.0) * (job.done + job.skipped) / max(1, job.total)
    passed: float = (job.now - job.created_at).total_seconds()
    delay: float = how.get("delay", 0.0)
    return max(0.0, delay + share - passed)


def _keep(job: Job, items: Any, results: Iterable[Result]) -> None:
    """Note what became of each event of a batch, and add it to the job's numbers."""
    by_outcome: dict[str, list[int]] = {}
    groups = Counter({tuple(group): number for *group, number in json.loads(job.results)})
    for result in results:
        by_outcome.setdefault(outcome_of(result), []).append(result.id)
        if not result.waits:
            group = (outcome_of(result), result.destination, result.type)
            groups[group if group in groups or len(groups) < GROUPS else (group[0], "", "")] += 1
    for outcome, numbers in by_outcome.items():
        items.filter(event_number__in=numbers).update(outcome=outcome)
    made = {result.id: result.new_id for result in results if result.new_id is not None}
    if made:
        new = Case(*(When(event_number=number, then=Value(new)) for number, new in made.items()))
        items.filter(event_number__in=made).update(new_number=new)
    job.results = json.dumps([[*group, number] for group, number in sorted(groups.items())])
    done = sum(number for (outcome, *_rest), number in groups.items() if outcome in (DONE, NEW_KEY))
    job.done, job.skipped = done, groups.total() - done


def outcome_of(result: Result) -> str:
    """What is stored with the item: done, new_key, waits, or the value of its Skip."""
    if result.waits:
        return WAITS
    if result.skip is not None:
        return result.skip.value
    return NEW_KEY if result.may_duplicate else DONE


def _pass_is_over(job: Job, *, waits: bool) -> None:
    """Every event has been handled once: the job is finished, or looks again later at some of them."""
    job.claim_token = None
    if waits:
        job.position, job.due_at = 0, DatabaseNow(LOOK_AGAIN)
    else:
        job.state, job.finished_at, job.due_at = JobState.FINISHED, DatabaseNow(), None


def _hand_back(job: Job, token: uuid.UUID) -> None:
    """Let another worker continue at once."""
    alias = outbox_alias()
    mine = Job.objects.using(alias).filter(pk=job.pk, claim_token=token)
    retried(alias, lambda: mine.update(claim_token=None, due_at=NOW))
    after_commit(alias, wake.wake_jobs)
