"""``make demo`` and ``make serve`` as real processes: a taken port, signals, and a summary that adds up."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.pages import ROOT

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")

MANAGE = ROOT / "example_project" / "manage.py"


@pytest.fixture
def demo(tmp_path):
    """Starts ``manage.py demo`` with these arguments; what it printed is in ``output.txt``."""
    started = []

    def start(*arguments):
        with (tmp_path / "output.txt").open("wb") as output:
            running = subprocess.Popen(
                [sys.executable, "-W", "ignore", str(MANAGE), "demo", *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        started.append(running)
        return running

    yield start
    for running in started:
        running.kill()
        running.wait()
    for process in processes(tmp_path):
        os.kill(process, signal.SIGKILL)


def processes(folder):
    """The processes that were started with ``folder`` as their folder for temporary files."""
    wanted = f"TMPDIR={folder}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except (OSError, ValueError):  # it has ended, or is not ours
            continue
    return found


def wait_for(folder, words, running, seconds):
    end = time.monotonic() + seconds
    while words not in (text := (folder / "output.txt").read_text()):
        assert running.poll() is None, text
        assert time.monotonic() < end, text
        threading.Event().wait(0.2)
    return text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_in_the_middle_leaves_no_process_and_no_file_behind(demo, tmp_path, number):
    running = demo()
    wait_for(tmp_path, "Started the sandbox platform", running, 60)
    assert len(processes(tmp_path)) > 2

    running.send_signal(number)

    assert running.wait(120) == 128 + number
    assert processes(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["output.txt"]


def test_the_site_uses_the_next_port_and_ends_with_its_terminal(demo, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        running = demo("--serve", "--port", str(port))
        text = wait_for(tmp_path, "Press Ctrl-C", running, 150)

        running.send_signal(signal.SIGHUP)
        code = running.wait(120)

    assert f"Port {port} is taken; using " in text
    found = re.search(r"The shop: +http://127\.0\.0\.1:(\d+)/admin/", text)
    assert found, text
    assert int(found[1]) > port
    assert code == 128 + signal.SIGHUP
    assert processes(tmp_path) == []
    _agrees(text)


def _agrees(text):
    """The summary counts what the lines show."""
    lines = [line.split() for line in text.splitlines() if re.match(r" +\d+\.\d s ", line)]
    ends, failed, died = set(), set(), set()
    for _seconds, _s, subject, type_, alias, *what in lines:
        event = (subject, type_, alias)
        words = " ".join(what)
        if re.fullmatch(r"(delivered|accepted), \d+ attempts?", words):
            ends.add(event)
            assert (
                int(what[1]) == sum(line[2:5] == list(event) and line[5] == "attempt" for line in lines) + 1
            )
        elif what[0] == "attempt":
            failed.add(event)
        elif what[0] == "dead":
            died.add(event)
    first, retried = len(ends - failed), len((ends & failed) - died)
    assert f"{len(ends)} of {len(ends)} events delivered" in text
    assert (
        f"{first} at the first attempt, {retried} after retries, {len(died)} after being dead and requeued."
        in text
    )
    assert (retried > 0, len(died)) == (True, 1)


def test_the_tests_of_the_example_pass():
    done = subprocess.run(
        [sys.executable, "-W", "error", str(MANAGE), "test"],
        cwd=MANAGE.parent,
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert "Ran 2 tests" in done.stdout
