"""Which HTTP library the client uses: httpx, or httpx2 where only that is installed or where it is chosen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Fakes stand in for what is installed, so that each case runs in every environment.
FAKES = """
import importlib.abc, importlib.machinery, sys
class Fakes(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name in ("httpx", "httpcore", "httpx2", "httpcore2"):
            if name not in INSTALLED:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            return importlib.machinery.ModuleSpec(name, self)
    def create_module(self, spec): return None
    def exec_module(self, module): pass
sys.meta_path.insert(0, Fakes())
sys.path.insert(0, FOLDER)
import http_module
print(http_module.httpx.__name__, http_module.httpcore.__name__)
"""
BOTH = ("httpx", "httpcore", "httpx2", "httpcore2")


def chosen(tmp_path, installed, choice):
    """What is chosen, or the last line of the error."""
    from genesys_eventbridge.client import http

    (tmp_path / "http_module.py").write_text(Path(http.__file__).read_text("utf-8"), "utf-8")
    environment = {name: value for name, value in os.environ.items() if name != http.CHOICE}
    if choice is not None:
        environment[http.CHOICE] = choice
    code = f"INSTALLED = {installed!r}; FOLDER = {str(tmp_path)!r}\n{FAKES}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("installed", "choice", "expected"),
    [
        (BOTH, None, "httpx httpcore"),
        (BOTH, "", "httpx httpcore"),
        (BOTH, "httpx", "httpx httpcore"),
        (BOTH, "httpx2", "httpx2 httpcore2"),
        (BOTH[:2], None, "httpx httpcore"),
        (BOTH[2:], None, "httpx2 httpcore2"),
        (BOTH[2:], "httpx2", "httpx2 httpcore2"),
        (("httpx", "httpx2", "httpcore2"), None, "httpx2 httpcore2"),  # the two belong together
    ],
)
def test_httpx_is_the_default_and_httpx2_where_it_is_alone_or_chosen(tmp_path, installed, choice, expected):
    assert chosen(tmp_path, installed, choice) == expected


@pytest.mark.parametrize(
    ("installed", "choice", "words"),
    [
        ((), None, ("Neither httpx nor httpx2", "pip install")),
        (BOTH[:2], "httpx2", ("GENESYS_EVENTBRIDGE_HTTP is httpx2", "[httpx2]")),
        (BOTH[2:], "httpx", ("GENESYS_EVENTBRIDGE_HTTP is httpx", "pip install httpx")),
        (BOTH, "requests", ("GENESYS_EVENTBRIDGE_HTTP is 'requests'", "Set it to httpx or httpx2")),
    ],
)
def test_an_impossible_choice_is_an_error_that_names_the_remedy(tmp_path, installed, choice, words):
    found = chosen(tmp_path, installed, choice)

    assert "Error" in found
    assert all(word in found for word in words)


def parser_of(choice):
    """What ``GENESYS_EVENTBRIDGE_PARSER`` selects, or the last line of the error."""
    code = "from genesys_eventbridge.client import http; print(http.httptools and http.httptools.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "GENESYS_EVENTBRIDGE_PARSER": choice},
        check=False,
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def test_httptools_is_used_where_it_is_installed_and_h11_where_it_is_chosen():
    pytest.importorskip("httptools")

    assert parser_of("") == "httptools"
    assert parser_of("httptools") == "httptools"
    assert parser_of("h11") == "None"


def test_another_parser_is_an_error_that_names_the_remedy():
    assert "Set it to h11 or httptools" in parser_of("llhttp")
