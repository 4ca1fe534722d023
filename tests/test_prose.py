"""`make lint` refuses the phrases that are not an engineer's English, and lets others pass."""

import pytest

from tests import prose

SAMPLES = {
    "a name that is no region we know": "is no region we",
    "retried after so many seconds": "so many seconds",
    "an hour, or so much later": "so much later",
    "resumed by a person": "a person",
    "it waits for a person": "waits for a person",
    "nobody tries it again": "nobody",
    "the key is checked anew": "anew",
    "the lease ends by itself": "by itself",
    "this belongs into every deploy": "belongs into",
    "the pass goes on": "goes on",
    "mend the cause": "mend",
    "the worker was told": "told",
    "two tables of ours": "of ours",
    "Due since 14 min": "Due since 1",
    "another house": "house",
    "the gravest first": "gravest",
    "django-q2 did not do its part": "did not do its part",
    "the time was over": "the time was over",
    "left to who holds it now": "left to who",
    "where nobody opened a transaction": "where nobody",
    "to make no new wave": "make no new wave",
    "what the name stands for": "",
    "what it stands for": "what it stands for",
    "a colleague takes it": "colleague",
    "the rows beside it": "beside it",
    "we poll until it is delivered": "poll until",
    "the platform's state": "platform's state",
    "a tenant of its own": "tenant",
    "old rows are purged": "purged",
    "the event is redelivered": "redelivered",
    "an operator re-queued it": "re-queued",
    "with exponential back-off": "back-off",
    "a deduplication key": "deduplication key",
    "an outbox entry": "outbox entry",
    "a relay process": "relay process",
    "the dead letter queue": "dead letter queue",
    "another organization": "organization",
    "a lock token": "lock token",
}


@pytest.mark.parametrize(("line", "words"), SAMPLES.items())
def test_a_phrase_is_found_by_its_words(line, words):
    found = {found for _number, found, _instead in prose.offences(line)}

    assert words in found if words else found == set()


def test_each_pattern_has_a_sample():
    untried = [
        pattern.pattern for pattern in prose.FORBIDDEN if not any(pattern.search(line) for line in SAMPLES)
    ]

    assert untried == []


def test_plain_english_passes():
    text = (
        "The pass continues. An operator must decide.\nIts lease will expire; another worker claims the row."
    )

    assert list(prose.offences(text)) == []


def test_an_offence_names_its_line_and_what_to_write_instead():
    assert list(prose.offences("fine\nmend it")) == [(2, "mend", "fix")]


def test_what_people_read_is_checked():
    read = {file.relative_to(prose.ROOT).as_posix() for file in prose.files()}

    assert {"README.md", "docs/guarantees.md", "genesys_eventbridge/models.py", "CHANGELOG.md"} <= read
    assert any(name.endswith(".html") for name in read)
    assert not any("/migrations/" in name for name in read)


def test_a_spelling_mistake_is_an_error(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("The adress of the platform.\n", encoding="utf-8")
    monkeypatch.setattr(prose, "files", lambda paths: [page])
    monkeypatch.setattr(prose, "ROOT", tmp_path)

    assert prose.main(["page.md"]) == 1
    page.write_text("The address of the platform.\n", encoding="utf-8")
    assert prose.main(["page.md"]) == 0
