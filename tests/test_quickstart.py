"""The quickstart, typed line by line in an empty folder, ends with a delivered event."""

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.blocks import QUICKSTART, SHELL
from tests.pages import ROOT, blocks

#: Start of a line -> why it is not typed.
NOT_TYPED = {
    "python -m venv": "the test has its environment",
    "pip install": "the app is already installed in it; the leg `wheel` of .ci/run installs the wheel",
    "sleep": "the stand-in takes two seconds to deliver; the test asks until it has",
}


class Reader:
    """Types the lines of the page in ``folder``; ``port`` takes the place of the stand-in's 8900."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.printed: dict[str, str] = {}
        self.running: list[subprocess.Popen[str]] = []
        self.environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

    def command(self, line: str) -> list[str]:
        words = shlex.split(line)
        if words[0] == "django-admin":
            return [sys.executable, "-m", "django", *words[1:]]
        assert words[0] == "python", line
        return [sys.executable, *words[1:]]

    def types(self, line: str) -> None:
        if line.endswith("eventbridge_sandbox"):
            self.starts([*self.command(line), "--port", str(self.port)])
            return
        for _ in range(20 if "eventbridge_poll" in line else 1):
            done = subprocess.run(
                self.command(line),
                cwd=self.folder,
                env=self.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
            self.printed[line] = done.stdout
            if "delivered" in done.stdout:
                break

    def starts(self, command: list[str]) -> None:
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, text=True
        )
        self.running.append(process)
        assert process.stdout
        assert "Sandbox platform at" in process.stdout.readline()

    def saves(self, block: str) -> None:
        """A Python block names its file in its first line, and whether its text is added at the end."""
        named = re.match(r"# ([\w/.]+)(, at the end)?\n", block)
        assert named, block
        file = self.folder / named[1]
        before = file.read_text("utf-8") if named[2] else ""
        file.write_text(before + "\n" + block.replace(":8900", f":{self.port}"), encoding="utf-8")


@pytest.fixture
def reader(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    reader = Reader(tmp_path, port)
    yield reader
    for process in reader.running:
        process.terminate()
        process.communicate(timeout=20)


def test_a_reader_who_types_the_quickstart_sees_a_delivered_event(reader):
    left_out = set()
    for language, text in blocks(QUICKSTART):
        if language == "python":
            reader.saves(text)
            continue
        assert language in SHELL
        for line in text.splitlines():
            skipped = next((start for start in NOT_TYPED if line.startswith(start)), "")
            if skipped:
                left_out.add(skipped)
            else:
                reader.types(line)

    assert left_out == set(NOT_TYPED)
    assert "pending" in reader.printed["python manage.py eventbridge_list"]
    assert "delivered" in reader.printed["python manage.py eventbridge_show ORD-1"]
