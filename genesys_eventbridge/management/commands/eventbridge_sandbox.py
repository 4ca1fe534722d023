"""`manage.py eventbridge_sandbox`: the platform stand-in on loopback, until Ctrl-C or SIGTERM."""

import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from genesys_eventbridge.management.arguments import WrongUsage, count, milliseconds, port
from genesys_eventbridge.management.base import usage_errors
from genesys_eventbridge.management.output import written
from genesys_eventbridge.sandbox import Sandbox, SandboxServer, Scenario, serve
from genesys_eventbridge.sandbox.options import Protocol
from genesys_eventbridge.sandbox.start import WEBHOOK_TOKEN, is_loopback, settings_block
from genesys_eventbridge.text import clean


class Command(BaseCommand):
    help = "Runs a stand-in for Genesys Cloud on this machine and prints the settings that use it."
    requires_system_checks: list[str] = []  # may be started before the settings are complete

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
        add("--port", type=port, default=8900, help="port to listen on, 0 for any free one (default: 8900)")
        names = [each.value for each in Scenario]
        add("--scenario", choices=names, default="happy", help="how the platform behaves (default: happy)")
        names = [each.value for each in Protocol]
        add("--protocol", choices=names, default="both", help="which protocols it speaks (default: both)")
        why = f"the token that its webhook accepts (default: {WEBHOOK_TOKEN})"
        add("--webhook-token", default=WEBHOOK_TOKEN, metavar="TOKEN", help=why)
        why = "delay every response by this many milliseconds (default: 0)"
        add("--latency", type=milliseconds, default=0, metavar="MS", help=why)
        why = "publish, status and webhook requests allowed per minute (default: no limit)"
        add("--rate", type=count, metavar="N", help=why)
        why = "refuse this type, except at the webhook (repeatable)"
        add("--refuse-type", action="append", default=[], metavar="TYPE", help=why)
        add(
            "--allow-remote",
            action="store_true",
            help="accept other machines and any host name",
        )
        add("--allow-production", action="store_true", help="run even if settings.DEBUG is False")

    def handle(self, **options: Any) -> None:
        with usage_errors(self):
            self._serve(options)

    def _serve(self, options: dict[str, Any]) -> None:
        host, port = options["host"], options["port"]
        if not (settings.DEBUG or options["allow_production"]):
            raise CommandError(
                "DEBUG is False: the sandbox is not for production. To run it anyway, add --allow-production"
            )
        if not (is_loopback(host) or options["allow_remote"]):
            raise WrongUsage(
                f"--host: {clean(host, 80)!r} is not loopback: others can reach it. To allow that, add "
                "--allow-remote"
            )
        try:
            sandbox = Sandbox(
                scenario=options["scenario"],
                protocol=options["protocol"],
                webhook_token=options["webhook_token"],
                latency=options["latency"] / 1000,
                rate=options["rate"],
                refused_types=options["refuse_type"],
            )
        except ValueError as problem:
            option, _, why = str(problem).partition(": ")
            raise WrongUsage(f"--{option.replace('_', '-')}: {why}") from None
        try:
            server = serve(sandbox, host, port, allow_remote=options["allow_remote"])
        except (OSError, UnicodeError) as problem:  # a name that IDNA cannot encode is a UnicodeError
            where = f"--host {clean(host, 80)} --port {port}"
            raise CommandError(f"{where}: {problem}. Choose another --port or --host") from None
        if options["allow_remote"]:
            self.stderr.write(
                f"Warning: --allow-remote: every machine and web page that reaches {host} port "
                f"{server.port} can read what the sandbox received and change its switches."
            )
        with server:
            self._run(server, sandbox)

    def _run(self, server: SandboxServer, sandbox: Sandbox) -> None:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        self._say(settings_block(server.url, sandbox.options))
        while not stop.wait(1):  # an unlimited wait would ignore Ctrl-C on Windows
            continue
        self._say("Sandbox stopped.")

    def _say(self, text: str) -> None:
        with written(afterwards="the sandbox has ended"):
            self.stdout.write(text)
            self.stdout.flush()
