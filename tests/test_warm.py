"""A fork of the warm process is like a new process in what it is given, gives back and has loaded."""

import json
import os
import subprocess
import sys

import pytest

from tests import warm

SHOWN = """
import json, os, sys
print(json.dumps([sys.argv, sys.path, os.getcwd(), dict(os.environ), sys.stdin.read(), __name__]))
print("a word", file=sys.stderr)
"""


@pytest.fixture
def environment(tmp_path):
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(tmp_path / "more"),
        "ONLY": "here",
        "LC_CTYPE": "C.UTF-8",
    }


@pytest.fixture
def program(tmp_path):
    (tmp_path / "shown.py").write_text(SHOWN, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [("-c", SHOWN, "x", "-y"), ("-m", "shown", "x"), ("shown.py", "x"), ("-W", "ignore", "shown.py")],
)
def test_a_program_meets_what_a_new_process_has(program, environment, arguments):
    cold = subprocess.run(
        [sys.executable, *arguments],
        cwd=program,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    done = warm.run(*arguments, cwd=program, env=environment, timeout=60)

    assert (done.returncode, done.stderr) == (cold.returncode, cold.stderr) == (0, "a word\n")
    assert json.loads(done.stdout) == json.loads(cold.stdout)


@pytest.mark.parametrize(
    ("code", "expected", "stderr"),
    [
        ("pass", 0, ""),
        ("raise SystemExit", 0, ""),
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit('wrong')", 1, "wrong\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -15, ""),
        ("import atexit, sys; atexit.register(print, 'end', file=sys.stderr)", 0, "end\n"),
        (
            "import sys, threading; threading.Timer(0.01, print, ['last'], {'file': sys.stderr}).start()",
            0,
            "last\n",
        ),
    ],
)
def test_it_ends_as_a_new_process_does(tmp_path, environment, code, expected, stderr):
    done = warm.run("-c", code, cwd=tmp_path, env=environment, timeout=60)

    assert (done.returncode, done.stderr) == (expected, stderr)


def test_an_error_ends_it_with_its_traceback(tmp_path, environment):
    done = warm.run("-c", "1 / 0", cwd=tmp_path, env=environment, timeout=60)

    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "Traceback (most recent call last):"
    assert done.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_both_streams_can_be_one_in_the_order_of_what_was_written(tmp_path, environment):
    code = "import sys\nfor i in range(3): print(i, flush=True); print(i, file=sys.stderr, flush=True)"

    done = warm.run("-c", code, cwd=tmp_path, env=environment, timeout=60, merged=True)

    assert done.stdout.split() == ["0", "0", "1", "1", "2", "2"]


def test_what_takes_too_long_is_killed(tmp_path, environment):
    code = "import os, pathlib, signal; pathlib.Path('pid').write_text(str(os.getpid())); signal.pause()"

    with pytest.raises(subprocess.TimeoutExpired):
        warm.run("-c", code, cwd=tmp_path, env=environment, timeout=1)

    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_no_module_of_ours_is_loaded_before_and_no_setting_is_read(tmp_path, environment):
    code = (
        "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}));"
        "from django.conf import settings; print(settings.configured)"
    )

    done = warm.run("-c", code, cwd=tmp_path, env=environment, timeout=60)
    loaded, configured = done.stdout.splitlines()

    assert "django" in loaded.split()
    assert not {"genesys_eventbridge", "tests", "django_q"} & set(loaded.split())
    assert configured == "False"
