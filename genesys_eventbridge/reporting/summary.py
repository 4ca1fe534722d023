"""Summarizes whether one destination works, in a word and a sentence, from its status and problems. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from genesys_eventbridge.conf import DestinationSettings
from genesys_eventbridge.formatting import span
from genesys_eventbridge.reporting.destination import explain_destination
from genesys_eventbridge.reporting.problems import Limits, Problem, problems
from genesys_eventbridge.reporting.status import DestinationStatus

#: Worst first. ``held`` is an operator's choice, so it ranks below errors.
SEVERITY = ("unknown", "stopped", "paused", "held", "delayed", "person", "well", "unused")
#: The words of explain_destination that mean no events are sent, and the word to use here.
STOPS = {
    "unknown": "unknown",
    "unused": "stopped",
    "stopped": "stopped",
    "held": "held",
    "paused": "paused",
    "probing": "paused",
}


@dataclass(frozen=True, slots=True)
class Summary:
    """``word`` is one of SEVERITY; ``title`` is its display text; ``problems`` have remedies."""

    alias: str
    word: str
    title: str
    sentence: str = ""
    problems: list[Problem] = field(default_factory=list)


def summarize(at: DestinationStatus, settings: DestinationSettings | None) -> Summary:
    """Whether it works. A destination that never had a worker or an event counts as unused, not as broken."""
    limits = Limits()
    found = list(problems(at, limits))
    explanation = explain_destination(at.health, settings, at.now)
    if not at.configured and not found:  # another project's, or silenced
        return Summary(at.alias, "unused", explanation.title, explanation.sentence)
    if explanation.word == "unused" and not (at.undelivered or at.dead or at.unresolved):
        return Summary(at.alias, "unused", explanation.title, explanation.sentence)
    word = STOPS.get(explanation.word) or _word(found)
    title = explanation.title if word == "paused" else _title(word, at)
    return Summary(at.alias, word, title, explanation.sentence, found)


def worst(summaries: Iterable[Summary]) -> Summary | None:
    """The worst one; None if there are none."""
    return min(summaries, key=lambda each: SEVERITY.index(each.word), default=None)


def _word(found: list[Problem]) -> str:
    kinds = {problem.kind for problem in found}
    if "age" in kinds:
        return "delayed"
    return "person" if kinds & {"dead", "unresolved"} else "well"


def _title(word: str, at: DestinationStatus) -> str:
    match word:
        case "unknown":
            return _("Stopped: no longer in the settings")
        case "stopped":
            return _("Stopped: no worker")
        case "held":
            return _("Paused by an operator")
        case "delayed":
            return _("Delayed: oldest event waiting for %(span)s") % {"span": span(at.oldest or 0)}
        case "person":
            count = at.dead + at.unresolved
            title = ngettext(
                "Working; %(count)s event needs an operator",
                "Working; %(count)s events need an operator",
                count,
            )
            return title % {"count": at.shown(count, "dead", "unresolved")}
    return _("Working normally")
