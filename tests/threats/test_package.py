"""T24, T31-T33: what is in the package, what it needs, and what never runs in production."""

import ast
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from genesys_eventbridge.sandbox.start import CLIENT_SECRET, WEBHOOK_TOKEN
from tests.package import PACKAGE, SOURCES
from tests.projects import Project

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# --------------------------------------------------------------------------------------- T24: the sandbox

LOOK = """
import sys
from django.core.management import call_command
{work}
print([name for name in sys.modules if name.startswith("genesys_eventbridge.sandbox")])
"""


@pytest.mark.parametrize(
    "work",
    [
        "import genesys_eventbridge.outbox, genesys_eventbridge.model_events, genesys_eventbridge.tasks",
        "call_command('check', verbosity=0)",
        "call_command('migrate', verbosity=0); call_command('eventbridge_publish', '-v', '0')",
    ],
    ids=["a site", "its checks", "its worker"],
)
def test_nothing_in_production_loads_the_sandbox(tmp_path, work):
    done = Project(tmp_path).manage("shell", "-v", "0", "-c", LOOK.format(work=work))

    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_sandbox_does_not_start_in_a_project_with_debug_off(tmp_path):
    done = Project(tmp_path).manage("eventbridge_sandbox", "--port", "0")

    assert done.returncode == 1
    assert "--allow-production" in done.stdout


@pytest.mark.parametrize("secret", [CLIENT_SECRET, WEBHOOK_TOKEN])
def test_the_sandbox_is_at_no_url_and_its_secret_in_no_other_file(secret):
    assert not [path for path in SOURCES if path.rpartition("/")[2] == "urls.py"]
    assert [path for path, source in SOURCES.items() if f'"{secret}"' in source] == ["sandbox/start.py"]


# ----------------------------------------------------------------------------------- T31: what it depends on


def test_the_runtime_dependencies_are_those_of_the_contract_and_only_httpx_has_an_upper_bound():
    """httpx 1.0 is not built on httpcore, which transport.py imports."""
    required = PROJECT["project"]["dependencies"]
    extras = PROJECT["project"]["optional-dependencies"]

    names = {re.split(r"[>=<~!\[ ]", line)[0] for line in required}
    assert names == {"Django", "httpx", "httpcore", "django-q2", "tqdm"}
    for line in [*required, *(line for lines in extras.values() for line in lines)]:
        bounded = line.removesuffix(",<1") if line.startswith("httpx>") else line
        assert re.fullmatch(r"[A-Za-z0-9_.-]+(\[[a-z]+\])?>=[0-9.]+", bounded), line
    assert "httpx>=0.28.1,<1" in required


#: The first versions without the weaknesses that were known when they were chosen.
SAFE = {"Django": (5, 2, 19), "httpx": (0, 28, 1), "httpcore": (1, 0, 9), "tqdm": (4, 66, 3)}


@pytest.mark.parametrize("name", SAFE)
def test_no_version_with_a_known_weakness_satisfies_us(name):
    (floor,) = (
        line.partition(">=")[2].partition(",")[0]
        for line in PROJECT["project"]["dependencies"]
        if line.startswith(f"{name}>")
    )

    assert tuple(map(int, floor.split("."))) >= SAFE[name]
    assert _numbers(distribution(name).version) >= SAFE[name]


def test_httpcore_brings_an_h11_that_reads_chunked_answers_strictly():
    """CVE-2025-43859: h11 before 0.16 took two bytes of anything for the end of a chunk."""
    assert _numbers(distribution("h11").version) >= (0, 16)
    assert "h11>=0.16" in [line.replace(" ", "") for line in distribution("httpcore").requires or []]


def _numbers(version):
    return tuple(int(part) for part in re.findall(r"[0-9]+", version)[:3])


def test_ci_installs_exactly_the_lowest_versions_that_are_promised():
    floors = ROOT / ".ci" / "floors.py"
    if not floors.exists():
        pytest.skip("a source distribution has no .ci")
    done = subprocess.run([sys.executable, floors], cwd=ROOT, capture_output=True, text=True, check=True)

    extras = PROJECT["project"]["optional-dependencies"]
    tested = [*extras["schema"], *extras["prometheus"], *extras["health"], *extras["fast"]]
    promised = [*PROJECT["project"]["dependencies"], *tested]
    assert done.stdout.split() == [line.replace(">=", "==").partition(",")[0] for line in promised]
    assert "lowest_versions" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


FREE = ("MIT", "BSD", "MPL-2.0", "Apache", "PSF")


@pytest.mark.parametrize("name", ["Django", "httpx", "httpcore", "django-q2", "django-picklefield", "tqdm"])
def test_what_a_user_installs_with_it_has_a_licence_that_goes_with_ours(name):
    about: Any = distribution(name).metadata
    said = [
        about.get("License-Expression") or "",
        about.get("License") or "",
        *(about.get_all("Classifier") or []),
    ]

    assert any(free in text for text in said for free in FREE), name


# ---------------------------------------------------------------------------------- T32: what is in the wheel

#: Private keys, and the shapes of credentials of AWS and GitHub and of JSON web tokens.
CREDENTIAL = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|eyJ[\w-]{10,}\.[\w-]{10,}\."
)


def test_the_wheel_holds_the_package_and_nothing_else_and_ci_looks():
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["genesys_eventbridge"]}
    if not (ROOT / ".ci").exists():
        pytest.skip("a source distribution has no .ci")
    run, legs = ((ROOT / ".ci" / name).read_text(encoding="utf-8").split() for name in ("run", "legs.sh"))
    assert {".ci/contents.py", ".ci/smoke.py"} <= set(legs)
    assert "wheel" in run


def test_the_sdist_holds_what_git_tracks_and_nothing_else(tmp_path):
    """A note with a password beside the code is one `python -m build` away from everybody."""
    tracked = ["pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "genesys_eventbridge/__init__.py"]
    for name in [*tracked, ".ci/run"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        source = ROOT / name
        (tmp_path / name).write_bytes(source.read_bytes() if source.exists() else b"")
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    for name in ("notes.txt", "genesys_eventbridge/notes.txt", ".env.local"):
        (tmp_path / name).write_text("password", encoding="utf-8")

    assert _sdist(tmp_path) == {*tracked, "PKG-INFO"}
    shutil.rmtree(tmp_path / ".git")
    assert "notes.txt" in _sdist(tmp_path)  # without git nothing is known: an unpacked sdist takes all it has


def _sdist(folder):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", "out"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    (built,) = (folder / "out").glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    shutil.rmtree(folder / "out")
    return names


def test_no_credential_and_no_test_is_in_the_package():
    for file in PACKAGE.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            text = file.read_text(encoding="utf-8", errors="replace")
            assert CREDENTIAL.search(text) is None, file.name
            assert "canary" not in text, file.name
            assert not file.name.startswith(("test_", "conftest")), file.name
            assert file.suffix not in {".pem", ".key", ".sqlite3", ".env"}, file.name


# --------------------------------------------------------------------------- T33: nothing runs what it reads

RUNS_TEXT = {
    "eval": "runs text",
    "exec": "runs text",
    "compile": "makes code of text",
    "__import__": "loads what a text names",
    "os.system": "runs a shell",
    "os.popen": "runs a shell",
    "pydoc.locate": "loads what a text names",
    "yaml.load": "makes objects of text",
    "re.compile": "",  # by its last name it would be mistaken for compile
}
RUN_WHAT_THEY_READ = {
    "subprocess",
    "yaml",
    "code",
    "runpy",
    "pydoc",
    "xmlrpc",
    "ctypes",
    "cloudpickle",
    "dill",
    "marshal",
    "pickle",
    "shelve",
}


@pytest.mark.parametrize("path", SOURCES)
def test_no_room_runs_what_it_reads(path):
    assert runs_what_it_reads(SOURCES[path]) == []


def runs_what_it_reads(source):
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name() | ast.Attribute() as called):
                found += [ast.unparse(called)] if RUNS_TEXT.get(ast.unparse(called)) else []
            case ast.Import(names=names):
                found += [name.name for name in names if name.name.partition(".")[0] in RUN_WHAT_THEY_READ]
            case ast.ImportFrom(module=str(module)):
                found += [module] if module.partition(".")[0] in RUN_WHAT_THEY_READ else []
            case ast.keyword(arg="shell", value=ast.Constant(value=True)):
                found.append("shell=True")
    return found


@pytest.mark.parametrize(
    "source",
    [
        "eval(text)",
        "exec(text)",
        "compile(text, '', 'exec')",
        "__import__(name)",
        "import os\nos.system(text)",
        "import pickle",
        "from pickle import loads",
        "import yaml",
        "def f():\n    import subprocess",
        "run(text, shell=True)",
        "from pydoc import locate",
    ],
)
def test_the_search_sees_what_runs_text(source):
    assert runs_what_it_reads(source) != []


def test_ruffs_rules_of_bandit_are_on():
    assert "S" in PROJECT["tool"]["ruff"]["lint"]["select"]
    ignored = PROJECT["tool"]["ruff"]["lint"]["ignore"]
    assert not [rule for rule in ignored if rule.startswith("S") and rule != "SIM"]
    assert not [
        path
        for path, rules in PROJECT["tool"]["ruff"]["lint"]["per-file-ignores"].items()
        if path.startswith("genesys_eventbridge") and any(rule.startswith("S") for rule in rules)
    ]
