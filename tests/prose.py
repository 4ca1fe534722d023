"""Plain English in what people read: codespell, and patterns that are not an engineer's English.

``python -m tests.prose [PATH ...]``, by default everything that users and maintainers read. Exit code 1 if
a word or a pattern is found; the line is printed with what to write instead.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
READ = (
    "genesys_eventbridge",
    "docs",
    "example_project",
    "benchmarks",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
)
KINDS = {".py", ".md", ".html", ".css", ".js", ".toml"}
#: Not written by hand, or committed for good.
LEFT_OUT = ("/migrations/", "/images/")

#: Pattern -> what to write instead.
PATTERNS = {
    r"\b(?:is|are|was|were) no [\w-]+ (?:of|we|that)\b": "is not a ...",
    r"\bso (?:many|much) (?:\w+ )?(?:second|minute|hour|day|row|event|byte|attempt)s?\b": "N seconds",
    r"\bso (?:many|much) later\b": "N seconds later",
    r"\ba person\b": "an operator, a user, support staff",
    r"\b(?:needs?|waits? for|wait for) (?:a person|people)\b": "needs an operator",
    r"\b(?:no|some|any)body\b": "name the actor, or use the passive",
    r"\banew\b": "again",
    r"\bby (?:it|them)sel(?:f|ves)\b": "automatically",
    r"\bbelongs? into\b": "belongs in",
    r"\b(?:goes|go|went|going) on\b": "continues",
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"\btold\b": "reported, said to",
    r"\bof ours\b": "our",
    r"\b(?:Due|Being sent|Being checked) since \d": "for 14 min",
    r"\bhouse\b": "package",
    r"\b(?:gravest|grave)\b": "worst, serious",
    r"\bdid not do its part\b": "failed",
    r"\bthe time (?:was|is) over\b": "time limit reached",
    r"\bleft to who\b": "its current owner will ...",
    r"\bwhere nobody\b": "if no ...",
    r"\bmakes? no new wave\b": "avoids a burst",
    r"\bwhat (?:it|they|he|she) stands? for\b": "what it means",
    r"\bcolleagues?\b": "another worker",
    r"\bbeside (?:it|them)\b": "in addition, next to",
}
#: One word per thing: a synonym -> our word. docs/architecture.md lists the words.
SYNONYMS = {
    r"\b[Pp]oll(?:s|ed|ing)? (?:until|its|the status|the platform)\b": "check its status",
    r"\b(?:[Pp]latform|[Gg]enesys)(?:'s)? state\b": "the platform's status; state is ours",
    r"\b[Tt]enants?\b": "destination (ours), organisation (theirs)",
    r"\b[Pp]urg(?:e|es|ed|ing)\b": "prune",
    r"\b[Rr]e-?deliver(?:s|ed|y|ing)?\b": "retry (the same event), resend or replay (a new one)",
    r"\b[Rr]e-queue[sd]?\b": "requeue",
    r"\bback-off\b": "backoff",
    r"\b(?:idempotence|dedup(?:e|lication)?) key\b": "idempotency key",
    r"\b[Oo]utbox (?:entry|entries|records?|messages?)\b": "event, row",
    r"\b(?:consumer|publisher|relay|dispatcher) process(?:es)?\b": "worker",
    r"\b[Dd]ead[- ]letter queue\b": "dead events",
    r"\b[Oo]rganization\w*\b": "organisation",
    r"\block tokens?\b": "claim token",
}
FORBIDDEN = {re.compile(pattern): instead for pattern, instead in (PATTERNS | SYNONYMS).items()}
#: Words that codespell takes for mistakes.
KNOWN = "afterall,ans,fro,mis,nd,ro,te,ue,wil"


def files(paths: Iterable[str] = READ) -> Iterator[Path]:
    """The tracked texts below these paths."""
    listed = subprocess.run(
        ["git", "ls-files", "--", *paths], cwd=ROOT, capture_output=True, text=True, check=False
    )
    for name in listed.stdout.splitlines():
        file = ROOT / name
        if file.suffix in KINDS and file.is_file() and not any(part in f"/{name}" for part in LEFT_OUT):
            yield file


def offences(text: str) -> Iterator[tuple[int, str, str]]:
    """Line number, what was found, what to write instead."""
    for number, line in enumerate(text.splitlines(), start=1):
        for pattern, instead in FORBIDDEN.items():
            for found in pattern.finditer(line):
                yield number, found.group(), instead


def main(arguments: list[str]) -> int:
    read = list(files(arguments or READ))
    found = 0
    for file in read:
        for number, words, instead in offences(file.read_text(encoding="utf-8")):
            found += 1
            print(f"{file.relative_to(ROOT)}:{number}: “{words}”: write {instead}")  # noqa: T201
    spelling = subprocess.run(
        [sys.executable, "-m", "codespell_lib", "--ignore-words-list", KNOWN, *map(str, read)],
        cwd=ROOT,
        check=False,
    )
    return 1 if found or spelling.returncode else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
