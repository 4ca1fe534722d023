"""`manage.py eventbridge_catalogue`: the event catalogue, a contract for consumers.

JSON: ``events``: a list of ``type``, ``source``, ``destination``, ``model``, ``kind`` (created, updated,
deleted, or a many-to-many field; model and kind are empty for a type that only SCHEMAS names), ``changed``,
``text``, ``members`` (``name``, ``type``, ``format``, ``nullable``, ``choices``, ``text``), ``schema`` (of
the setting SCHEMAS), ``model_schema`` (JSON Schema made from the model) and ``example``. The last three are
null if there is none.
"""

from typing import Any

from genesys_eventbridge.management import arguments, catalogue
from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result


class Command(OutboxCommand):
    help = "Prints every event of registered models and of SCHEMAS: type, fields, schema and an example."
    formats = ("text", "json", "markdown")

    def work(self, options: dict[str, Any]) -> Result:
        return catalogue.catalogue(arguments.aliases(options), options["format"])
