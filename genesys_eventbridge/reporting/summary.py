"""One destination's standing and its problems -> whether it works, in a word and a sentence. Pure."""

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

#: From the gravest to none. ``held`` is a person's choice, and so less than trouble.
SEVERITY = ("unknown", "stopped", "paused", "held", "delayed", "person", "well", "unused")
#: What explain_destination calls it -> what it means here, where it stops events.
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
    """``word`` is one of GRAVITY; ``title`` says it aloud; ``problems`` come with what to type or set."""

    alias: str
    word: str
    title: str
    sentence: str = ""
    problems: list[Problem] = field(default_factory=list)


def summarize(at: DestinationStatus, settings: DestinationSettings | None) -> Summary:
    """Whether it works. Where neither a worker nor an event was ever seen, that is no trouble yet."""
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
    """The one to be told first; None where there is none."""
    return min(summaries, key=lambda each: SEVERITY.index(each.word), default=None)


def _word(found: list[Problem]) -> str:
    kinds = {problem.kind for problem in found}
    if "age" in kinds:
        return "delayed"
    return "person" if kinds & {"dead", "unresolved"} else "well"


def _title(word: str, at: DestinationStatus) -> str:
    match word:
        case "unknown":
            return _("Stopped: not in the settings any more")
        case "stopped":
            return _("Stopped: no worker")
        case "held":
            return _("Paused by a person")
        case "delayed":
            return _("Delayed: oldest waiting %(span)s") % {"span": span(at.oldest or 0)}
        case "person":
            count = at.dead + at.unresolved
            title = ngettext(
                "Working; %(count)s event waits for a person",
                "Working; %(count)s events wait for a person",
                count,
            )
            return title % {"count": at.shown(count, "dead", "unresolved")}
    return _("All well")
