"""`manage.py eventbridge_erase`: erases one person's data from the events; ids, times and hashes stay.

JSON: ``dry_run``, ``count``, ``done`` (the first 1,000 ids), ``states`` (events that are or would be erased,
by their state before), ``waits`` (``count`` and ``ids`` of those that are erased once they are finished),
``skipped`` (a list of ``reason``, ``count``, ``ids``), ``jobs`` (ids) and ``needs_person``.
"""

from collections import Counter
from typing import Any

from django.core.management.base import CommandParser
from django.db.models import Count
from django.views.decorators.debug import sensitive_variables

from genesys_eventbridge.management import arguments, results
from genesys_eventbridge.management.arguments import WrongUsage
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result, counted, listed
from genesys_eventbridge.models import EventAct, Job, outbox_alias
from genesys_eventbridge.operations import Done, Person, Skip, persons
from genesys_eventbridge.states import FINISHED, State


class Command(OutboxCommand):
    help = (
        "Erases one person's data: bodies, errors, responses, subjects, ordering keys and object ids of "
        "finished events. Event ids, times and hashes stay."
    )
    takes_destination = False
    changes_many = True

    def add_own(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--subject", default="", metavar="S", help="events with exactly this subject")
        add("--ordering-key", default="", metavar="K", help="events with exactly this ordering key")
        add("--about", default="", metavar="app.Model:PK", help="events of this object, as shop.Customer:42")
        add(
            "--path",
            default="",
            metavar="a.b",
            help="with --value: a path within the data; lists count from 0: items.0.email",
        )
        add("--value", default="", metavar="V", help="events with exactly this value at --path")
        add(
            "--cancel",
            action="store_true",
            help="cancel pending, dead and unresolved events first; without it they are skipped",
        )
        arguments.add_because(parser)

    @sensitive_variables()
    def work(self, options: dict[str, Any]) -> Result:
        arguments.require_because(options)
        names = ("subject", "ordering_key", "about", "path", "value")
        try:
            person = Person(**{name: options[name] for name in names})
        except ValueError as error:
            raise WrongUsage(
                f"{error} The flags are --subject, --ordering-key, --about, --path and --value."
            ) from None
        try:
            foreseen = persons.survey(person, cancel=options["cancel"])
        except ValueError as error:
            raise WrongUsage(f"--about: {error}") from None
        if options["dry_run"]:
            return _result(foreseen.done, foreseen.states, [], options, person)
        question = f"Erase {counted(foreseen.done.count, 'event')} ({person.words()})"
        self.confirm(f"{question}{_cancelled(foreseen.states)}? It cannot be undone.", options)
        actor = self.actor()
        try:
            job = persons.freeze(person, actor, options["because"], cancel=options["cancel"], claim=True)
        except ValueError as error:
            raise WrongUsage(f"--because: {error}") from None
        done = results.work_off([(job, actor)], options)
        acts = EventAct.objects.using(outbox_alias()).filter(job=job).order_by().values_list("from_state")
        states = Counter({State(state): number for state, number in acts.annotate(Count("id"))})
        return _result(done, states, [job], options, person)


def _result(
    done: Done, states: Counter[State], made: list[Job], options: dict[str, Any], person: Person
) -> Result:
    did = "Would erase" if options["dry_run"] else "Erased"
    lines = [f"{did} {counted(done.count, 'event')} ({person.words()})."]
    lines += [f"  By state: {_listed(states)}"] if states else []
    lines += results.skipped_lines(done.skipped)
    if Skip.UNFINISHED in done.skipped:
        lines.append("  To cancel and erase those, too, add --cancel.")
    if done.waits.count:
        lines.append(
            f"  Later: {counted(done.waits.count, 'event')} accepted or being sent. A worker erases them "
            f"once they are finished: {results.names(done.waits)}"
        )
    else:
        lines += results.unfinished_lines(made)
    return Result(
        lines,
        {
            "dry_run": options["dry_run"],
            "count": done.count,
            "done": done.ids,
            "states": dict(states),
            "waits": {"count": done.waits.count, "ids": done.waits.ids[: results.NAMED_IN_DATA]},
            "skipped": results.skipped_data(done.skipped),
            "jobs": [job.pk for job in made],
        },
        needs_operator=not options["dry_run"] and bool(done.skipped),
    )


def _cancelled(states: Counter[State]) -> str:
    unfinished = Counter({state: count for state, count in states.items() if state not in FINISHED})
    return f"; cancelled first: {_listed(unfinished)}" if unfinished else ""


def _listed(states: Counter[State]) -> str:
    return listed({state.value: count for state, count in states.items()})
