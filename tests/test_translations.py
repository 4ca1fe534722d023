"""German and French are complete: every text that the code asks gettext for, and nothing else."""

import pytest
from babel.messages import Catalog

from tests import messages


@pytest.fixture(scope="module")
def template() -> Catalog:
    return messages.extracted()


def test_there_is_german_and_french():
    assert {"de", "fr"} <= set(messages.languages())


@pytest.mark.parametrize("language", messages.languages())
def test_every_text_is_translated_with_its_placeholders_and_tags(language, template):
    """After a change of a text: ``make messages``, then translate what it names."""
    assert messages.problems(language, template) == []


@pytest.mark.parametrize("language", messages.languages())
def test_the_compiled_catalogue_is_that_of_the_text_file(language):
    compiled = messages.compiled(language)
    held = messages.catalogue(language)

    for message in held:
        if message.id and not message.fuzzy:
            singular, *_plural = [message.id] if isinstance(message.id, str) else message.id
            first, *_others = [message.string] if isinstance(message.string, str) else message.string or [""]
            assert compiled.get(singular, compiled.get((singular, 0))) == first


def test_a_text_that_is_missing_or_differs_is_named(template):
    """The negative control."""
    template = Catalog()
    template.add("never seen anywhere")

    (*obsolete, last) = messages.problems("de", template)

    assert last == "missing: 'never seen anywhere' ()"
    assert obsolete
