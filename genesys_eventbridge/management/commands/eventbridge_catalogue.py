"""`manage.py eventbridge_catalogue`: the event catalogue, a contract for consumers.

JSON: ``events``: a list of ``type``, ``source`` (``source_varies``: each event may have another),
``has_subject``, ``destination``, ``model``, ``kind`` (created, updated, deleted, or a many-to-many field;
model and kind are empty for a type that only SCHEMAS or ``declare_event()`` names), ``changed``, ``text``,
``members`` (``name``, ``type``, ``format``, ``nullable``, ``choices``, ``text``), ``schema`` (of the setting
SCHEMAS, or declared), ``model_schema`` (JSON Schema made from the model) and ``example``. The last three are
null if there is none. With ``--check``: ``file``, ``breaking`` and ``compatible``, two lists of ``type``,
``destination``, ``path``, ``what`` and ``remedy``.
"""

from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser

from genesys_eventbridge.management import arguments, catalogue
from genesys_eventbridge.management.arguments import WrongUsage
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result, counted

#: The version of a contract if none is given.
FIRST = "1.0.0"


class Command(OutboxCommand):
    help = (
        "Prints every declared event: of registered models, of declare_event() and of SCHEMAS. Or compares "
        "them with a file that it wrote before, and fails if consumers of the events would break."
    )
    formats = ("text", "json", "markdown", "jsonschema", "asyncapi")

    def add_own(self, parser: CommandParser) -> None:
        parser.add_argument("--output", metavar="FILE", help="write to this file instead of printing")
        parser.add_argument(
            "--check",
            metavar="FILE",
            help="compare with this file, written by --format json, jsonschema or asyncapi, and exit with 1 "
            "if a change breaks consumers",
        )
        parser.add_argument(
            "--contract-version",
            metavar="VERSION",
            help=f"the version in the AsyncAPI document (default: {FIRST}); only with --format asyncapi",
        )

    def work(self, options: dict[str, Any]) -> Result:
        form, aliases = options["format"], arguments.aliases(options)
        version = options["contract_version"]
        if version is not None and (form != "asyncapi" or options["check"] is not None):
            raise WrongUsage(
                "--contract-version is for the document that --format asyncapi writes: use it with "
                "--format asyncapi and without --check, or leave it out"
            )
        if options["check"] is not None:
            if form not in ("text", "json") or options["output"] is not None:
                raise WrongUsage(
                    "--check prints a report: use it without --output, with --format text or json"
                )
            chosen = None if options["destination"] is None else aliases
            return self._checked(chosen, options["check"], form)
        result = catalogue.catalogue(aliases, form, version or FIRST)
        if options["output"] is not None:
            return catalogue.write(result, form, options["output"])
        return result

    def _checked(self, aliases: Sequence[str] | None, file: str, form: str) -> Result:
        result, breaking = catalogue.check(aliases, file)
        if breaking:
            self._print(result.parts(form))
            raise CommandError(f"{counted(breaking, 'breaking change')} of the events' contract.")
        return result
