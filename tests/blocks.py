"""Runs what the pages show: each Python block, and each line of a shell block, in a scratch project.

``python -m tests.blocks PAGE ...`` runs the blocks of these pages, or of those that stdin names. It prints
JSON for each block, and the exit code after each page. Each page has its own process, folder and platform;
the process is a fork of one that has loaded Django and made the tables. test_blocks.py decides that no block
is left out without a reason.
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import unittest
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

from tests.pages import ROOT, blocks

SHELL = {"sh", "bash", "console"}
#: A page whose blocks build on each other, in a project of its own.
QUICKSTART = "docs/quickstart.md"
#: The pages that another test runs.
ELSEWHERE = {
    QUICKSTART: "tests/test_quickstart.py",
    "docs/testing.md": "tests/testing/test_foreign_project.py",
    "docs/runners.md": "tests/test_recipes.py",
}
#: Prints the format of Prometheus only.
WITHOUT_JSON = "eventbridge_metrics"

#: Shell lines that cannot run here -> why, and what runs them instead.
SKIPPED_LINES = {
    r"make ": "CI runs the target in a leg of its own",
    r"apt-get ": "needs root; .ci/run installs these packages",
    r"pip install ": "needs a package index; the leg `wheel` of .ci/run installs the wheel",
    r"export TEST_": "addresses of servers, for `make test`",
    r"python manage\.py qcluster": "runs until SIGTERM; tests/test_qcluster.py runs it",
    r"python manage\.py eventbridge_publish --loop": "ends with SIGTERM: tests/management/test_loop.py",
    r"python manage\.py eventbridge_status --watch": "ends with Ctrl-C: tests/management/test_status.py",
    r"python manage\.py eventbridge_metrics --output": "writes to a folder of another program: tests/contrib",
    r"python manage\.py eventbridge_sandbox": "runs until Ctrl-C; the lines here talk to it in this process",
}
#: First line of a Python block -> why it cannot run here, and what runs it instead.
SKIPPED_BLOCKS = {
    (
        "README.md",
        "with EventBridgeClient(",
    ): "`...` are credentials of a real region; tests/client runs the same calls",
    (
        "docs/admin.md",
        "from unfold.admin import ModelAdmin",
    ): "needs django-unfold; `make themes` tests the same classes",
}


@dataclass(frozen=True)
class Piece:
    """A Python block, or one line of a shell block."""

    page: str
    kind: str
    text: str

    @property
    def reason(self) -> str:
        """Why it is not run, or ""."""
        if self.kind == "python":
            found = (
                why for (page, part), why in SKIPPED_BLOCKS.items() if page == self.page and part in self.text
            )
        else:
            found = (why for start, why in SKIPPED_LINES.items() if re.match(start, self.text))
        return next(found, "")


def pieces(page: str) -> Iterator[Piece]:
    """What a page shows: fenced Python, fenced shell, and indented lines, which are shell."""
    for language, body in blocks(page):
        if language == "python":
            yield Piece(page, "python", body)
        elif language in SHELL or language == "indented":
            for line in body.splitlines():
                if typed := re.sub(r"\s+#.*", "", line).strip():
                    yield Piece(page, "shell", typed)


# ------------------------------------------------------------------------------------------- the project

DATABASE = "db.sqlite3"
COLUMNS = """
class Columns(models.Model):
    number = models.CharField(max_length=40, default="ORD-7")
    amount = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    currency = models.CharField(max_length=3, default="EUR")
    status = models.CharField(max_length=20, default="new")
    is_test = models.BooleanField(default=False)
    customer = models.ForeignKey("auth.User", null=True, on_delete=models.CASCADE, related_name="+")

    class Meta:
        abstract = True

    def mark_paid(self):
        self.status = "paid"
        self.save()
"""


def destinations(address: str) -> dict[str, dict[str, Any]]:
    """Their platform is the sandbox at ``address``."""
    here = {"API_BASE_URL": address, "LOGIN_BASE_URL": address, "CHECK_DELAYS": [0.001]}
    known = {
        **here,
        "CLIENT_ID": "sandbox",
        "CLIENT_SECRET": "sandbox-only",
        "SOURCE": "com.example.ordering",
    }
    hook = {"API_BASE_URL": address, "PROTOCOL": "webhook", "WEBHOOK_TOKEN": "sandbox-webhook-token"}
    return {
        "default": {**known, "ALERTS": {"email": ["ops@example.com"]}, "WAKE": None},
        "crm": {**known, "SOURCE": "com.example.crm"},
        "tickets": {**hook, "SOURCE": "com.example.tickets"},
    }


def set_up() -> None:
    """A project with the app, on SQLite in the working directory."""
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="only-for-blocks",
        USE_TZ=True,
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="tests.urls",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": DATABASE,
                "OPTIONS": {
                    "transaction_mode": "IMMEDIATE",
                    "init_command": "PRAGMA synchronous=OFF; PRAGMA journal_mode=MEMORY;",
                },
            }
        },
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "django_q",
            "genesys_eventbridge",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        ADMINS=["ops@example.com"],
        Q_CLUSTER={
            "name": "blocks",
            "orm": "default",
            "timeout": 60,
            "retry": 120,
            "catch_up": False,
            "ack_failures": True,
        },
        GENESYS_EVENTBRIDGE=destinations("http://127.0.0.1:1"),
    )
    in_memory = "django.core.mail.backends.locmem.EmailBackend"
    if django.VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": in_memory}}
    else:
        settings.EMAIL_BACKEND = in_memory
    django.setup()


#: What each shell line finds: number, state, reason, and what else the lines name.
ROWS: tuple[tuple[int, str, str, dict[str, Any]], ...] = (
    (41, "pending", "", {"ordering_key": "ORD-4711", "subject": "ORD-4711"}),
    (42, "unresolved", "outcome_unknown", {"subject": "CUST-42"}),
    (43, "delivered", "", {"event_id": "evt-7759b405-6cdc-4e33-af5f-f246f8d0a2c7"}),
    (44, "dead", "rejected", {}),
    (46, "dead", "rejected", {"destination": "old"}),
    (47, "unresolved", "outcome_unknown", {"destination": "old"}),
)
#: A number that a line acts on -> the state in which that action can do something.
NEEDS = {"resend": "delivered", "cancel": "pending"}


def seed(line: str) -> None:
    """Only the rows that ``line`` acts on."""
    from django.db import transaction
    from django.utils import timezone

    from genesys_eventbridge.models import Destination, EventAct, OutboxEvent
    from genesys_eventbridge.outbox import enqueue

    EventAct.objects.all().delete()
    OutboxEvent.objects.all().delete()
    Destination.objects.all().delete()
    Destination.objects.get_or_create(alias="default")
    now = timezone.now()
    for number, usual, reason, more in ROWS:
        data = {"number": f"ORD-{number}", "customer": {"email": "zoe@example.com"}}
        keywords = {key: more[key] for key in ("ordering_key", "subject", "event_id") if key in more}
        with transaction.atomic():
            row = enqueue("order.created", data, **keywords)
        verb = next((verb for verb in NEEDS if f"eventbridge_{verb} " in line and "--data" not in line), "")
        state = NEEDS[verb] if verb and number in (42, 43) else usual
        columns: dict[str, Any] = {"id": number, "state": state, "due_at": None}
        columns["reason"] = reason if state in ("dead", "unresolved") else ""
        columns["destination"] = more.get("destination", "default")
        if state == "pending":
            columns["due_at"] = now
        elif state == "delivered":
            columns |= {"accepted_at": now, "finished_at": now, "remote_id": f"evt-{number}", "attempts": 1}
        else:
            columns |= {"attempts": 1}
        OutboxEvent.objects.filter(pk=row.pk).update(**columns)


def run_shell(line: str) -> None:
    """Run one line: a manage.py command in this process, anything else as a process."""
    from django.core.management import call_command
    from django.core.management.base import CommandError

    from genesys_eventbridge.models import Job

    _, found, typed = line.partition("manage.py ")
    if not found:
        subprocess.run(
            line.replace("python ", f"{sys.executable} ", 1), shell=True, check=True, capture_output=True
        )
        return
    command, *arguments = shlex.split(re.split(r"\s>", typed)[0])
    seed(line)
    if "--stop" in arguments:
        call_command(
            "eventbridge_replay",
            "--since",
            "1h",
            "--because",
            "for --stop",
            verbosity=0,
            stdout=io.StringIO(),
        )
        arguments[arguments.index("--stop") + 1] = str(Job.objects.latest("pk").pk)
    if "--wait" in arguments:
        arguments[arguments.index("--wait") + 1] = "0.1"  # no worker runs here: all of it would be waited for
    code, out, err = 0, io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            call_command(command, *arguments)
        except SystemExit as end:
            code = int(str(end.code or 0))
        except CommandError as error:
            raise AssertionError(f"exit code {error.returncode}: {error}") from error
    assert code in (0, 3), f"exit code {code}: {out.getvalue()}{err.getvalue()}"
    if command.startswith("eventbridge_") and "json" in arguments:
        validate(command, out.getvalue())
    elif command.startswith("eventbridge_") and "--format" not in arguments and command != WITHOUT_JSON:
        run_shell(f"{line.partition(' >')[0]} --format json")


def validate(command: str, printed: str) -> None:
    """Compare what a command printed with its schema in docs/commands.schema.json."""
    import jsonschema

    schemas = json.loads((ROOT / "docs" / "commands.schema.json").read_text("utf-8"))
    assert command in schemas["$defs"], f"docs/commands.schema.json has no {command}"
    documents = printed.splitlines() if command == "eventbridge_list" else [printed]
    for document in documents:
        jsonschema.validate(json.loads(document), {**schemas, "$ref": f"#/$defs/{command}"})


# -------------------------------------------------------------------------------------- Python blocks


class _Complete(ast.NodeTransformer):
    """``class Order(models.Model): ...`` gets the columns that the pages name."""

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        if [ast.unparse(base) for base in node.bases] == ["models.Model"] and not any(
            isinstance(part, ast.Assign) and "Field" in ast.unparse(part.value) for part in node.body
        ):
            node.bases = [ast.Name("Columns", ast.Load())]
        return node


def names() -> dict[str, Any]:
    """What the reader's project has, and the blocks use without showing it."""
    import datetime

    from django.contrib.auth import get_user_model
    from django.db import connection, models, transaction

    from genesys_eventbridge.model_events import publishes
    from genesys_eventbridge.outbox import enqueue

    space: dict[str, Any] = {"models": models, "__name__": "django.contrib.auth.blocks"}
    exec(COLUMNS, space)
    forget_order()
    exec(
        "class Order(Columns):\n    class Meta:\n        app_label = 'auth'\n        db_table = 'shop_order'",
        space,
    )
    with connection.schema_editor() as editor:
        editor.create_model(space["Order"])
    forget_order(keep=True)
    ten = datetime.datetime(2026, 11, 23, 10, tzinfo=datetime.UTC)
    return space | {
        "os": os,
        "BASE_DIR": Path.cwd(),
        "DATABASES": {"default": {}},
        "GENESYS_EVENTBRIDGE": {"default": {}},
        "INSTALLED_APPS": [],
        "transaction": transaction,
        "publishes": publishes,
        "enqueue": enqueue,
        "get_user_model": get_user_model,
        "user_payload": lambda user: {"id": user.pk},
        "import_old_orders": lambda: None,
        "create_ticket": lambda text: None,
        "invoice": SimpleNamespace(pk=7, number="INV-7"),
        "numbers": ["ORD-1", "ORD-2"],
        "order": space["Order"].objects.create(number="ORD-7"),
        "ten": ten,
        "eleven": ten + datetime.timedelta(hours=1),
    }


def forget_order(*, keep: bool = False) -> None:
    """Let the next block define ``Order`` again."""
    from django.apps import apps

    if not keep:
        apps.all_models["auth"].pop("order", None)
        apps.clear_cache()


def run_python(text: str, space: dict[str, Any]) -> None:
    """Run a block in ``space``, and the test cases that it defines."""
    from genesys_eventbridge.models import OutboxEvent

    # A dataclass looks its module up.
    sys.modules.setdefault(space["__name__"], ModuleType(space["__name__"]))
    tree = ast.fix_missing_locations(_Complete().visit(ast.parse(text)))
    models = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Order"]
    if models:
        forget_order()
        for model in models:
            model.body += ast.parse("class Meta:\n    app_label = 'auth'\n    db_table = 'shop_order'").body
    exec(compile(tree, "<block>", "exec"), space)
    defined = [space[node.name] for node in tree.body if isinstance(node, ast.ClassDef)]
    for case in defined:
        OutboxEvent.objects.all().delete()
        if isinstance(case, type) and issubclass(case, unittest.TestCase):
            result = unittest.TestResult()
            unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
            assert result.testsRun, f"{case.__name__} has no test"
            assert result.wasSuccessful(), (result.errors + result.failures)[0][1]


@contextmanager
def tables() -> Iterator[Path]:
    """Set Django up, and make the database that each page gets a copy of."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        set_up()
        from django.core.management import call_command
        from django.db import connections

        call_command("migrate", verbosity=0)
        connections.close_all()
        yield Path(folder, DATABASE)


@contextmanager
def project(made: Path) -> Iterator[None]:
    """The scratch project of one page, with the sandbox as its platform."""
    from django.conf import settings

    from genesys_eventbridge import conf
    from genesys_eventbridge.sandbox import Sandbox, serve

    with tempfile.TemporaryDirectory() as name, serve(Sandbox(deliver_after=0)) as server:
        folder = Path(name)
        os.chdir(folder)
        shutil.copy(made, DATABASE)
        settings.BASE_DIR = folder
        settings.GENESYS_EVENTBRIDGE = destinations(server.url)
        conf.reset()
        (folder / "order.json").write_text('{"number": "ORD-44"}')
        (folder / "docs").symlink_to(ROOT / "docs")
        os.environ |= dict.fromkeys(VARIABLES, "sample-value")
        yield


VARIABLES = (
    *("GENESYS_CLIENT_ID", "GENESYS_CLIENT_SECRET", "GENESYS_CRM_CLIENT_ID", "GENESYS_CRM_CLIENT_SECRET"),
    *("GENESYS_WEBHOOK_TOKEN", "GATEWAY_KEY", "CHAT_URL"),
)


#: Seconds until a page is killed.
LONGEST = 120


def main(chosen: Iterable[str]) -> None:
    with tables() as made:
        for page in chosen:
            child = os.fork()
            if not child:
                run_alone(page, made)
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


def run_alone(page: str, made: Path) -> NoReturn:
    """Run a page in this process, the child, and end it."""
    code = 1
    try:
        signal.alarm(LONGEST)
        run_page(page, made)
        sys.stdout.flush()
        code = 0
    except BaseException:  # noqa: BLE001 - the exit code says it, too
        traceback.print_exc()
    finally:
        os._exit(code)


def run_page(page: str, made: Path) -> None:
    with project(made):
        space = names()
        for piece in pieces(page):
            if piece.reason:
                continue
            try:
                if piece.kind == "python":
                    run_python(piece.text, space)
                else:
                    run_shell(piece.text)
            except BaseException as error:  # noqa: BLE001 - reported below, whatever the block did
                problem = f"{type(error).__name__}: {error}"
            else:
                problem = ""
            print(json.dumps([piece.kind, piece.text, problem]))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:] or map(str.strip, sys.stdin))
