"""`manage.py eventbridge_metrics`: the metrics for Prometheus, as text or into a file for node_exporter.

Needs the extra ``[prometheus]``.

JSON: ``metrics``, a list of ``name``, ``type``, ``help`` and ``samples``: a list of ``name``, ``labels`` and
``value``, which is null if it is infinite. With --output also ``output``, the name of the file.
"""

import math
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from genesys_eventbridge.management.base import OutboxCommand
from genesys_eventbridge.management.output import Result, counted


class Command(OutboxCommand):
    help = (
        "Prints the metrics for Prometheus, or writes them to a file for node_exporter's textfile collector."
    )
    takes_destination = False

    def add_own(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--output",
            type=Path,
            metavar="FILE",
            help="write them to this file, which is replaced in one step; its name must end in .prom for "
            "node_exporter",
        )

    def work(self, options: dict[str, Any]) -> Result:
        try:
            # Late: only this command needs the package.
            from genesys_eventbridge.contrib.prometheus import as_text, registry
        except ImportError as error:
            raise CommandError(str(error)) from error
        metrics = list(registry().collect())
        text = as_text(metrics)
        data: dict[str, Any] = {"metrics": [_data(metric) for metric in metrics]}
        lines = text.splitlines()
        if file := options["output"]:
            _replace(file, text)
            data["output"] = str(file)
            lines = [f"{counted(len(metrics), 'metric')} written to {file}"]
        return Result(lines, data)


def _replace(file: Path, text: str) -> None:
    """A reader finds the old file or the new one; a link stays. Raises CommandError if that is impossible."""
    temporary, file = None, file.resolve()
    if file.exists() and not file.is_file():
        raise CommandError(
            f"--output: {file} is not a regular file. Without --output, the metrics are printed."
        )
    try:
        # In the same folder, so that it can be renamed, and with an ending that node_exporter does not read.
        descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".tmp", dir=file.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(temporary).chmod(0o644)  # node_exporter is another user
        Path(temporary).replace(file)
    except OSError as error:
        if temporary is not None:
            with suppress(OSError):
                Path(temporary).unlink()
        raise CommandError(
            f"--output: cannot write {file} ({error.strerror}). Its folder must exist, and the user who runs "
            "this command must be able to write there."
        ) from error


def _data(metric: Any) -> dict[str, Any]:
    return {
        "name": metric.name,
        "type": metric.type,
        "help": metric.documentation,
        "samples": [
            {
                "name": sample.name,
                "labels": sample.labels,
                "value": None if math.isinf(sample.value) else sample.value,
            }
            for sample in metric.samples
        ],
    }
