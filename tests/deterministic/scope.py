"""Which mutants of tests/mutants.py concern the simulation, which of them it catches, and why not the others.

``python -m tests.simulation --mutants`` tries each, and fails if one of CAUGHT goes unnoticed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests import mutants
from tests.deterministic.profiles import next_like
from tests.mutants import Mutant

#: Directories whose mutants a run may notice.
CONCERNED = ("relay/", "outbox/", "circuit/", "operations/", "db/__init__", "db/clock", "db/transactions")
#: A change of the package moves the interleavings: if the seed notices nothing, so many others are tried.
OTHERS = 15

OTHER_DATABASE = "another database"
NO_SUCH_INPUT = "nothing in a run does this"
NOT_JUDGED = "its effect is not judged"
OTHER_GUARD = "another guard covers it"
TOO_RARE = "too rare in the seeds"
REASONS = (OTHER_DATABASE, NO_SUCH_INPUT, NOT_JUDGED, OTHER_GUARD, TOO_RARE)

#: Caught: a seed that does on SQLite; others of its profile follow.
CAUGHT: dict[str, int] = {
    "rows of dead workers keep some senders busy": 2,
    "lapses are counted at the claim": 1,
    "a settle ends the lapses": 4,
    "the time of a claim is read before it is written": 46,
    "token check in settle": 19,
    "window rule in the claim": 31,
    "window rule in the claim's UPDATE": 115,
    "window rule in expiry": 1,
    "window rule in the decision": 101,
    "doubt since the first try": 2,
    "the key known since the first try, at acceptance": 1,
    "count at claim": 14,
    "count at claim, by the model": 1,
    "refused in doubt, by the model": 16,
    "compare-and-set of the claim": 71,
    "head of its ordering key": 28,
    "rows of dead workers leave senders to others": 2,
    "a row claimed too long ago is not begun": 59,
    "the earlier doubt is written back": 2,
    "refused in doubt is no certain death": 16,
    "a row not begun goes back uncharged": 2,
    "the pause gate": 7,
    "a paused destination gets no claim": 1,
    "a person's hold": 7,
    "one probe at a time": 120,
    "the shared rate": 7,
    "the bucket is bounded, circuit/test_rate.py": 21,
    "the bucket is bounded, outbox/test_destinations.py::TestTheRate": 21,
    "a time refills the bucket once": 21,
    "checks get their fifth": 7,
    "the probe is left to others without a token": 2,
    "a success ends no rate pause": 5,
    "a late answer only for the unresolved": 43,
    "people leave alone what is in flight": 19,
    "health is written before the rows": 7,
    "a lapsed claim without a key ends": 1,
    "the same bytes": 1,
    "no acceptance in the future": 5001,
    "the wait for a token of four fifths of the rate": 9001,
    "a page is first a suspicion where something was": 1002,
    "a page pauses at once where nothing was accepted lately": 1001,
    "three events in a row pause": 1002,
    "poison pauses no others": 1002,
    "a run of refusals pauses": 2001,
    "a first page of another event clears the one accused": 1005,
    "a probe that gets an answer hands its turn back": 3001,
    "a refusal by the platform proves the way": 2001,
    "three failures are a run where fewer than three events are due": 6002,
    "only an answer to the event's own POST counts": 3001,
    "a 404 ends an event only where others are found": 4004,
    "what was on its way is no probe of a pause for refusals": 2004,
    "a failure of a run counts once for an event": 3003,
    "a pause begins short where something was accepted lately": 1002,
    "turns of probes begin with the pause": 3002,
    "a pause decides when a suspect goes again": 1001,
    "three unknown outcomes pause where each is a question": 6002,
    "a check that does not find its event ends it only where it accuses": 4004,
    "without a key a pass holds only rows that are being sent": 7002,
    "without a key three unknown outcomes in a row pause": 6002,
    "without a key a pass holds no more rows than it sends": 6002,
    "a claim ends only after its lease": 6002,
    "a repetition is marked": 7001,
    "a retry of what was not accepted is not marked": 7001,
    "a repetition without a key is marked": 7001,
    "a network pause swallows no wait that was asked for": 3002,
    "checks wait where the platform asked for it, whatever else held them before": 4002,
    "checks leave most senders to due events": 8002,
    "tokens that were spent leave the bucket": 9002,
    "what is given back unsent keeps when it failed": 3001,
    "a conflict is an ERROR line each time": 3001,
    "no pause in the future": 5005,
    "an event that ends without a request failed when it ended": 6002,
    "unfinished events are erased only if asked for": 41,
    "what is not accepted is not replayed": 10002,
    "a person ends a run of refusals": 2005,
    "an uncounted failure ends no event": 3001,
    "an empty bucket fills again after the clock was set back": 5003,
    "a 404 ends no event while the path is in question": 4005,
    "blanking reaches the errors of attempts": 13,
    "blanking reaches the last error": 10004,
    "no release of what is held": 3001,
    "a failing probe uses up no attempt": 3001,
    "answers without proof are the network's where something was accepted lately": 3002,
    "an uncounted failure uses up no attempt": 3001,
    "a check releases nothing": 8,
    "an end without a request releases its follower": 11005,
    "an end that blocks its key releases nothing": 6,
}

#: Not caught, by reason.
MISSED: dict[str, tuple[str, ...]] = {
    NO_SUCH_INPUT: (
        "a deadline is made before the look at the lease",
        "what only watches a sender cannot stop it",
        "the check after a pause always asks for the oldest event",
        "Django cannot name the callback of a commit",
        "the columns of the release before count",
        "enqueue asks the protocol",
        "where failures are costly pauses get longer",
        "a doubt about another protocol is not sent again",
        "our trace is part of the content",
        "a trace that does not fit refuses the event",
        "our trace replaces the caller's",
        "rows of many dead workers hide no other",
        "a statement's size is counted in characters",
        "ids are those between the first and the last, SQLite",
        "a worker looks for what committed late before it leaves",
        "a worker stays until a look finds what committed late",
        "a look that starts in the middle says when the next whole one may be made",
        "a scan begins where the last one did",
        "a scan begins at the beginning now and then",
        "a scan sees all events of one moment",
        "a doubt about another organisation is not sent",
        "the organisation of a doubt stays",
        "a key that another organisation knows duplicates",
        "an altered body is not sent",
        "altered bodies are no refusals",
        "a pass keeps its connection",
        "a pass drops a connection that had an error",
        "confirmation switched off takes no row in flight",
        "an end of what has left its key releases nothing",
        "a protocol is asked whether it carries an event",
        "an account that cannot be read is unknown",
        "a schema file that cannot be read is an error of the settings",
        "of several loops one prunes",
        "a prune that was begun is not due again",
        "an event's values in what a check answers",
        "a declared schema is not used at enqueue",
        "a type is declared twice in different ways",
        "the caller changes a declared schema later",
        "an event is written into a transaction that has ended",
        "kept transactions may only be rolled back",
        "lost transactions are not noted on SQLite",
        "SQLite is not asked",
        "an integrity error on SQLite leaves no note",
        "a delay in milliseconds",
        "a job is moved on without its claim",
        "a job lists events that are created later",
        "a resumed job begins again",
        "a batch does not renew the lease",
        "a job takes another worker's lease",
        "a form submitted twice makes two jobs",
        "a spread begins when the worker comes",
        "copies of a job have ids that follow from it",
        "a blanked body is not copied",
        "only what was never sent is withdrawn",
        "a correction is made once per form",
        "only a dead event is corrected",
        "an erasure takes the differences of corrections along",
        "an erasure takes along what was made of its events meanwhile",
        "what a correction made of one person's event may be another's",
        "a job does not end before the events that joined it late",
        "retention takes the differences of corrections along",
        "a value in the data is found at its path only",
        "a person is identified by exactly one thing",
        "a misspelt model of an erasure is named",
        "events of a removed model can be erased",
        "an erasure by a proxy erases what its model's would",
        "a spread in milliseconds",
        "a pause in milliseconds",
        "a time that no zone can express",
        "an object without a primary key",
        "a new row has other values than the model's defaults",
        "a shifted clock does not move the time of an event, SQLite",
        "an object with a primary key that the column cannot hold",
        "another project's destination is an orphan",
        "what another organisation may have taken is moved",
        "a move makes a delayed event due",
        "a moved dead event is announced again",
        "a moved event keeps the proof of its old destination",
        "an orphan is sent again without a move",
        "accepted events of any destination can be cancelled",
        "retention of another project's events",
        "workers run in a zone whose clocks change",
        "a zone whose clocks will change",
        "a taken event id may be free at the next try",
        "one event id twice in a list",
        "no second look after an insert that failed",
        "publishing in a transaction",
        "both side by side in a transaction",
        "checking in a transaction",
        "an id belongs to the request that was on its way first",
        "of requests that overlap the one whose answer came later does not own the id",
        "of requests that overlap the one that began later does not own the id",
    ),
    NOT_JUDGED: (
        "a probe finds the events tried before behind any backlog",
        "an accepted event that nobody can ask about is unresolved",
        "no status is asked where there is none",
        "a claim looks further where some of the first cannot go",
        "a kind with nothing to do joins again while the other is at work",
        "a pause of one kind does not end the other",
        "a probe waits only for its own kind",
        "a kind waits for its token",
        "after a stop each kind begins again on its own",
        "a conflict does not repeat the id, which may be a value of the event",
        "an interrupted replay makes no burst",
        "an erasure takes the data out of reasons",
        "a reason to erase does not hold the data",
        "the first event of a batch decides whether any is delayed",
        "one event's page stops no sender",
        "a run of refusals stops the senders",
    ),
    OTHER_GUARD: (
        "a first lapse makes no suspect",
        "an idle worker sweeps",
        "doubts that a pause hides end",
        "times from the future are written back",
        "attempts used up, in the claim's UPDATE",
        "attempts used up",
        "a lapsed follower is moved",
        "a raised epoch changes the key",
    ),
    TOO_RARE: (
        "a turn is given back where the window closed after the lock",
        "the turn of a refused type is taken with its row",
        "what another worker claimed since the look is not put off",
        "a follower that another worker claimed since the look is not held",
        "a claim ends what held its row",
        "a turn that is over is nobody else's",
        "a pause of checks that the clock made long",
        "a refused type that the clock held long",
        "a suspect that is accepted clears them all",
        "a failure in a pause that is no probe lengthens nothing",
        "a conflict counts in an outage, too",
        "a refusal after a person ended the run pauses",
        "an event refused again and again is no run",
        "a probe sticks to the event that it tried",
        "of the events never tried a probe takes the newest, too",
        "a worker without a token locks nothing",
        "tokens that were not spent stay in the bucket",
        "an event under a new key may be a duplicate",
        "an acceptance ends a run of refusals",
        "no turn is lost where the probe's row was taken",
        "a failure is stored with an error",
        "what its key holds is not said to be scheduled",
        "a late answer is announced",
        "probes also go to events never tried",
        "the first probe goes to an event tried before",
        "many refused types are held back",
        "another type ends no hold",
        "refused types go one at a time",
        "one worker tries a refused type",
        "the probe takes a type that is not refused",
        "a turn of a refused type that stalled past its lease does not end the next one's",
        "one id proves one event",
        "an id from before a requeue stays that event's",
        "one id proves one event, in the database",
        "events that no check finds are about the path",
        "no probe is taken while the destination is paused again",
        "nothing else is in flight beside a probe",
        "an outage pauses where only one event is due",
        "a late answer that needs no check is the end",
        "a doubt that is resent has no end",
        "where failures are costly one failed probe is enough",
        "a late acceptance releases the key",
        "missed releases are made up for",
        "no cleared in the future",
        "no found in the future",
        "no probe in the future",
        "what moved meanwhile is not corrected",
        "a delay that was asked for is kept",
        "a scan never begins in the future",
        "a sender that died is reported",
        "a late answer is not dropped",
        "a stale report is not taken",
        "a settle is tried until the lease ends",
        "an act on what has left its key releases nothing",
        "a release cuts no retry's wait short",
        "a row that lapsed since it was seen is left for the next look",
        "the key known since the first try, at a person's decision",
        "one suspect at a time",
        "a conflict ends",
        "the bucket's time is never set back",
        "both kinds share the room for lapsed rows",
        "no key is pruned inside its window",
        "a late answer keeps the acceptance",
        "a late answer keeps since when the key is known",
        "a lost connection before the settle costs no outcome",
        "health that cannot be written costs no outcome",
        "a probe that stalled past its lease does not end the next one's turn",
        "a new pause does not end the turn of the probe that is under way",
    ),
}


def mutants_in_scope() -> list[Mutant]:
    return [each for each in mutants.MUTANTS if each.file.startswith(CONCERNED)]


def seeds_like(first: int) -> Iterator[int]:
    """The seed, and others of its profile."""
    seed = first
    for _number in range(1 + OTHERS):
        yield seed
        seed = next_like(seed)


def reason(mutant: Mutant) -> str:
    """Why it is not caught; empty if it is. Raises KeyError for one that nobody has classified."""
    if mutant.database != "sqlite":
        return OTHER_DATABASE
    if mutant.name in CAUGHT:
        return ""
    return {name: why for why, names in MISSED.items() for name in names}[mutant.name]


#: Parts of the package, and the files whose mutants are counted for each.
PARTS = {
    "enqueue": ("outbox/__init__", "outbox/rows", "outbox/declarations", "outbox/schemas", "outbox/orphans"),
    "claims": ("outbox/claim", "outbox/due", "outbox/followers"),
    "settle": ("outbox/settle", "outbox/decide"),
    "destinations": ("outbox/destinations", "circuit/"),
    "expiry, retention": ("outbox/expiry", "outbox/sweep", "outbox/retention"),
    "relay": ("relay/",),
    "operations": ("operations/",),
    "database": ("db/",),
}


def table() -> list[str]:
    """How many mutants of each part are caught, or why not: a table for the docs."""
    numbers = Counter(
        (part, reason(each))
        for each in mutants_in_scope()
        for part, files in [*PARTS.items(), ("all", CONCERNED)]
        if each.file.startswith(files)
    )
    rows = [["part", "caught", *REASONS], ["---", *["---:"] * (1 + len(REASONS))]]
    rows += [[part, *(str(numbers[part, why]) for why in ("", *REASONS))] for part in [*PARTS, "all"]]
    return [f"| {' | '.join(row)} |" for row in rows]
