"""What each process loads, and what import-linter and ruff cannot say; their rules are in pyproject.toml."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest

from tests.package import PACKAGE, SOURCES, TEMPLATES, module_of
from tests.pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = {contract["id"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]}
#: Comes with a package that we declare.
COMES_WITH = {"asgiref": "Django", "certifi": "httpx", "httpcore2": "httpx2", "referencing": "jsonschema"}
WITHOUT_DJANGO = tuple(CONTRACTS["no-django"]["source_modules"])
SET_UP = (
    "from django.conf import settings; import django; django_apps = 'django.contrib.{}'.format;"
    "settings.configure(INSTALLED_APPS="
    "[*map(django_apps, ('admin', 'auth', 'contenttypes', 'messages', 'sessions')), "
    f"'{PACKAGE.name}']); django.setup();"
)


def loaded_by(code: str) -> set[str]:
    """The modules in sys.modules after this code ran in a new interpreter."""
    listing = "\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code + listing], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def imports(source):
    """The dotted names that a file imports, and whether it does so while it loads."""
    tree = ast.parse(source)
    late = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", id(node) not in late


# ------------------------------------------------------------------------------------- what is loaded


@pytest.mark.parametrize(
    "module", [name for name in map(module_of, SOURCES) if name.startswith(WITHOUT_DJANGO)]
)
def test_a_module_without_django_loads_without_django(module):
    """In a new interpreter, where nothing is loaded that the module did not ask for."""
    strangers = {"django", "django_q"}
    if not module.startswith("genesys_eventbridge.client"):
        strangers |= {"httpx", "httpcore", "httpx2", "httpcore2"}

    assert strangers & loaded_by(f"import {module}") == set()


def test_the_package_itself_loads_nothing():
    loaded = {name for name in loaded_by(f"import {PACKAGE.name}") if name.startswith(PACKAGE.name)}

    assert loaded == {PACKAGE.name}


@pytest.mark.parametrize("module", ["models", "outbox", "model_events", "admin"])
def test_a_web_process_loads_no_http_client_no_queue_and_no_sandbox(module):
    """Saving a model writes a row: a web process that never publishes does not pay for an HTTP client."""
    loaded = loaded_by(f"{SET_UP} import {PACKAGE.name}.{module}")

    strangers = {"httpx", "httpcore", "httpx2", "django_q", "jsonschema", "tqdm"}
    strangers |= {"prometheus_client", "health_check", "opentelemetry", "yaml"}
    assert strangers & loaded == set()
    assert [name for name in loaded if name.startswith(f"{PACKAGE.name}.sandbox")] == []


@pytest.mark.parametrize(
    ("path", "optional"),
    [("runners.py", "django_q"), ("outbox/schemas.py", "jsonschema"), ("outbox/schemas.py", "referencing")],
)
def test_what_may_be_missing_is_imported_only_when_it_is_used(path, optional):
    found = {late for name, late in imports(SOURCES[path]) if name.split(".")[0] == optional}

    assert found == {False}


def test_each_package_that_is_imported_is_declared():
    declared = [*PROJECT["project"]["dependencies"]]
    for extra in PROJECT["project"]["optional-dependencies"].values():
        declared += extra
    names = {re.split(r"[\[<>=;, ]", each)[0].lower().replace("-", "_") for each in declared}
    modules = {
        "django_q2": "django_q",
        "django_health_check": "health_check",
        "opentelemetry_api": "opentelemetry",
    }
    names = {modules.get(name, name) for name in names}
    names |= {name for name, owner in COMES_WITH.items() if owner.lower() in names}

    # Only pytest itself loads its plugin.
    sources = {path: source for path, source in SOURCES.items() if path != "testing/pytest_plugin.py"}

    used = {name.partition(".")[0] for source in sources.values() for name, _ in imports(source)}

    assert len(sources) == len(SOURCES) - 1
    assert used - set(sys.stdlib_module_names) - {PACKAGE.name} - names == set()


# ------------------------------------------------------------------------------------- the contracts

BROKEN = [
    ("layers", "outbox/claim.py", "from genesys_eventbridge import relay"),
    ("layers", "models.py", "def late():\n    from genesys_eventbridge.outbox import enqueue"),
    ("layers", "operations/audit.py", "from genesys_eventbridge.admin import events"),
    ("layers", "attic.py", "from genesys_eventbridge import relay"),
    ("circles", "outbox/due.py", "from genesys_eventbridge.outbox import claim"),
    ("no-django", "cloudevents/data.py", "import django"),
    ("no-django", "client/auth.py", "def late():\n    from django.conf import settings"),
    ("client", "outbox/decide.py", "from genesys_eventbridge.client import EventBridgeClient"),
    ("sandbox", "tasks.py", "from genesys_eventbridge.sandbox import serve"),
    ("httpx", "relay/batch.py", "import httpx"),
    ("django-q2", "outbox/__init__.py", "def late():\n    import django_q.tasks"),
    ("jsonschema", "checks/settings.py", "import jsonschema"),
    ("dependencies", "relay/batch.py", "import tqdm"),
    ("layers", "contrib/views.py", "from genesys_eventbridge.management import status"),
    ("opentelemetry", "relay/senders.py", "def late():\n    from opentelemetry import trace"),
    ("prometheus", "reporting/measurements.py", "def late():\n    import prometheus_client"),
    ("health", "contrib/views.py", "from health_check.base import HealthCheck"),
]


@pytest.fixture(scope="module")
def lint(tmp_path_factory):
    """lint-imports on a copy of the package with one more line: its exit code and its words."""
    importlinter = pytest.importorskip("importlinter", reason="the group lint is not installed")
    assert importlinter
    home = tmp_path_factory.mktemp("linted")
    for path, source in SOURCES.items():
        file = home / PACKAGE.name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, encoding="utf-8")
    (home / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    def run(contract="", path="", line=""):
        file = home / PACKAGE.name / path
        kept = file.read_text(encoding="utf-8") if file.is_file() else None
        if path:
            file.write_text(f"{kept or ''}\n{line}\n", encoding="utf-8")
        command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
        only = ["--contract", contract] if contract else []
        done = subprocess.run(
            [*command, "--no-cache", *only], cwd=home, capture_output=True, text=True, check=False
        )
        if kept is not None:
            file.write_text(kept, encoding="utf-8")
        elif path:
            file.unlink()
        return done.returncode, done.stdout + done.stderr

    return run


def test_the_package_keeps_every_contract(lint):
    code, words = lint()

    assert code == 0, words


@pytest.mark.parametrize(("contract", "path", "line"), BROKEN)
def test_a_contract_refuses_what_it_is_for(contract, path, line, lint):
    code, words = lint(contract, path, line)

    assert code == 1, words
    assert CONTRACTS[contract]["name"] in words


def test_each_contract_is_tried():
    assert {contract for contract, _, _ in BROKEN} == set(CONTRACTS)


# ------------------------------------------------------------------------------------- habits

UNSAFE_TEMPLATE = re.compile(r"\|\s*safe(seq)?\b|autoescape\s+off")


def swallows(source):
    """The lines of ``suppress(Exception)`` and of an ``except`` that does nothing."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ExceptHandler(body=[ast.Pass() | ast.Expr(value=ast.Constant())]):
                yield node.lineno
            case ast.Call(func=ast.Name(id="suppress") | ast.Attribute(attr="suppress"), args=args):
                if any(ast.unparse(arg) in {"Exception", "BaseException"} for arg in args):
                    yield node.lineno


@pytest.mark.parametrize("path", SOURCES)
def test_no_file_loses_an_error_silently(path):
    assert list(swallows(SOURCES[path])) == []


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    f()\nexcept ValueError:\n    pass",
        "try:\n    f()\nexcept ValueError:\n    ...",
        "with suppress(Exception):\n    f()",
        "with contextlib.suppress(OSError, BaseException):\n    f()",
    ],
)
def test_a_lost_error_is_found(source):
    assert len(list(swallows(source))) == 1


@pytest.mark.parametrize("path", TEMPLATES)
def test_no_template_lets_markup_through(path):
    assert UNSAFE_TEMPLATE.findall(TEMPLATES[path]) == []


@pytest.mark.parametrize(
    ("text", "unsafe"),
    [
        ("{{ event.error|safe }}", True),
        ("{{ x | safe }}", True),
        ("{% autoescape off %}", True),
        ("{{ x|safeseq }}", True),
        ("{{ event.error }} is safe", False),
    ],
)
def test_an_unescaped_template_is_found(text, unsafe):
    assert bool(UNSAFE_TEMPLATE.search(text)) is unsafe


OUR_ENUMS = ("State.", "Reason.", "Act.", "AttemptKind.", "Verdict.", "Halt.", "AlertKind.")


def open_matches(source):
    """The lines of each ``match`` over an enum of ours that does not end in assert_never."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Match) and any(
            ast.unparse(case.pattern).startswith(OUR_ENUMS) for case in node.cases
        ):
            last = node.cases[-1]
            if not ast.unparse(last.body[-1]).startswith("assert_never("):
                yield node.lineno


@pytest.mark.parametrize("path", SOURCES)
def test_each_match_over_an_enum_of_ours_ends_in_assert_never(path):
    """So that mypy lists each place that a new member concerns."""
    assert list(open_matches(SOURCES[path])) == []


def test_an_open_match_is_found():
    assert list(open_matches("match x:\n    case State.DEAD:\n        f()\n    case _:\n        g()")) == [1]
