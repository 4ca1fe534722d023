"""The catalogues of translations: what the code asks gettext for, collected, merged and compiled.

``make messages`` runs this module; ``make messages NEW=it`` adds a language. Babel does the work, so nobody
has to install GNU gettext. ``problems()`` is what tests/test_translations.py checks. The files name no line
numbers, because each change of the code would change them.
"""

from __future__ import annotations

import datetime as dt
import gettext
import io
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from babel.messages import Catalog
from babel.messages.catalog import Message
from babel.messages.extract import extract_python
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

import genesys_eventbridge

PACKAGE = Path(genesys_eventbridge.__file__).parent
LOCALE = PACKAGE / "locale"
#: The functions whose arguments are messages, and which argument is what; "c" is the context.
KEYWORDS: dict[str, Any] = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
    "npgettext_lazy": ((1, "c"), 2, 3),
}
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd%]|\{\w*\}")
TAG = re.compile(r"</?\w+[^<>]*>")


def file(language: str, ending: str = "po") -> Path:
    return LOCALE / language / "LC_MESSAGES" / f"django.{ending}"


def languages() -> list[str]:
    """The languages that the package is translated into."""
    return sorted(path.parent.parent.name for path in LOCALE.glob("*/LC_MESSAGES/django.po"))


def sources() -> Iterator[Path]:
    """The modules and the templates of the package."""
    yield from sorted(PACKAGE.rglob("*.py"))
    yield from sorted((PACKAGE / "templates").rglob("*.html"))
    yield from sorted((PACKAGE / "templates").rglob("*.txt"))


def extracted() -> Catalog:
    """Every message in the code and in the templates, with the files it is in."""
    found = Catalog(fuzzy=False)
    for path in sources():
        text = path.read_text("utf-8")
        # Between parentheses the tokenizer ignores indentation, which means nothing in a template.
        python = text if path.suffix == ".py" else f"({templatize(text)}\n)"
        calls: Any = extract_python(io.BytesIO(python.encode()), KEYWORDS, ["Translators:"], {})
        for line, function, arguments, comments in calls:
            message = _message(KEYWORDS[function], arguments)
            if message is not None:
                id_, context = message
                place = (path.relative_to(PACKAGE.parent).as_posix(), line)
                found.add(id_, locations=[place], auto_comments=comments, context=context)
    return found


def _message(keyword: Any, arguments: Any) -> tuple[Any, str | None] | None:
    """The id and the context; None if the call has something else than texts there."""
    given = arguments if isinstance(arguments, tuple | list) else (arguments,)
    context, ids = None, []
    for place in keyword or (1,):
        number, is_context = place if isinstance(place, tuple) else (place, "")
        text = given[number - 1] if number <= len(given) else None
        if not text:
            return None
        if is_context:
            context = text
        else:
            ids.append(text)
    return (ids[0] if len(ids) == 1 else tuple(ids)), context


def catalogue(language: str) -> Catalog:
    with file(language).open("rb") as stream:
        return read_po(stream, locale=language, domain="django")


def update(language: str, template: Catalog) -> Catalog:
    """Merge what the code asks for into the language's file, and compile it.

    A new message that resembles an old one gets the old translation, marked as fuzzy, as a proposal. What the
    code no longer asks for is removed.
    """
    path = file(language)
    path.parent.mkdir(parents=True, exist_ok=True)
    merged = catalogue(language) if path.exists() else _new(language)
    merged.update(template, update_creation_date=False)
    merged.obsolete.clear()
    written = io.BytesIO()
    write_po(written, merged, width=100, sort_by_file=True, include_lineno=False, omit_header=False)
    path.write_bytes(written.getvalue())
    compile_(language)
    return merged


def _new(language: str) -> Catalog:
    project = "django-genesys-eventbridge"
    return Catalog(
        locale=language,
        domain="django",
        header_comment="# The words to use in this language:\n#",
        project=project,
        version=genesys_eventbridge.__version__,
        msgid_bugs_address=f"https://github.com/{project}/{project}/issues",
        revision_date=dt.datetime.now(dt.UTC),
        last_translator=f"The {project} maintainers <>",
        fuzzy=False,
    )


def compile_(language: str) -> None:
    held = catalogue(language)
    for message in [message for message in held if message.id and not all(_texts(message))]:
        held.delete(message.id, message.context)  # Babel would compile the empty forms
    with file(language, "mo").open("wb") as stream:
        write_mo(stream, held)


def compiled(language: str) -> dict[Any, str]:
    """What the .mo holds, read as Django reads it."""
    with file(language, "mo").open("rb") as stream:
        return dict(gettext.GNUTranslations(stream)._catalog)  # type: ignore[attr-defined]


def problems(language: str, template: Catalog) -> list[str]:
    """What is missing or wrong in the language's catalogue, one line each."""
    held = catalogue(language)
    asked = {_key(message): message for message in template if message.id}
    found = [f"obsolete: {_shown(message)}" for message in held.obsolete.values()]
    found += [f"the code does not ask for: {_shown(m)}" for m in held if m.id and _key(m) not in asked]
    for key, message in asked.items():
        translated = held.get(key[0], key[1])
        if translated is None:
            found.append(f"missing: {_shown(message)}")
        else:
            found += [f"{problem}: {_shown(message)}" for problem in _problems(translated, held.num_plurals)]
    return found


def _problems(message: Message, plurals: int) -> Iterator[str]:
    ids, texts = _ids(message), _texts(message)
    if not all(texts) or (message.pluralizable and len(texts) != plurals):
        yield "untranslated"
        return
    if message.fuzzy:
        yield "fuzzy"
    for text in texts:
        # A form for one may leave out the number, as the English one may.
        if not any(_marks(PLACEHOLDER, text) == _marks(PLACEHOLDER, id_) for id_ in ids):
            yield "other placeholders"
        if not any(_marks(TAG, text) == _marks(TAG, id_) for id_ in ids):
            yield "other HTML"
        if not any(_edges(text) == _edges(id_) for id_ in ids):
            yield "other spaces at the ends"


def _marks(pattern: re.Pattern[str], text: str) -> list[str]:
    return sorted(pattern.findall(text))


def _edges(text: str) -> tuple[str, str]:
    return text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]


def _key(message: Message) -> tuple[str, str | None]:
    """What gettext looks a message up by: its singular, and its context."""
    return _ids(message)[0], message.context


def _ids(message: Message) -> list[str]:
    return [message.id] if isinstance(message.id, str) else list(message.id)


def _texts(message: Message) -> list[str]:
    return [message.string or ""] if isinstance(message.string, str | None) else list(message.string)


def _shown(message: Message) -> str:
    return f"{_key(message)[0]!r} ({', '.join(sorted({path for path, _line in message.locations}))})"


def main(more: Sequence[str] = ()) -> int:
    """Update every language and add more; 1 if something is left for a translator."""
    template = extracted()
    left = 0
    for language in sorted({*languages(), *more}):
        update(language, template)
        open_ = problems(language, template)
        left += len(open_)
        for line in open_:
            print(f"{language}: {line}")  # noqa: T201
        print(f"{language}: {len(template)} messages, {len(open_)} to look at")  # noqa: T201
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
