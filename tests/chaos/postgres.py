"""A separate PostgreSQL server that a test can restart."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self


def programs() -> Path | None:
    """The folder with initdb and pg_ctl of the newest installed PostgreSQL; None if there is none."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if not found:
        name = shutil.which("initdb")
        return Path(name).parent if name else None
    return max(found, key=lambda path: int(path.parent.name))


class PrivatePostgres:
    """A context manager that starts the server, and removes it with its data afterwards."""

    def __init__(self) -> None:
        found = programs()
        if found is None:
            raise FileNotFoundError("PostgreSQL's initdb is not installed")
        self._programs = found
        self._folder = Path(tempfile.mkdtemp(prefix="eventbridge-postgres-"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres")
        self._run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        self._control("start")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._control("stop", "--mode=immediate")
        shutil.rmtree(self._folder, ignore_errors=True)

    def restart(self) -> None:
        """Restart it as after a crash: all sessions are aborted, and it recovers."""
        self._control("restart", "--mode=immediate")

    def _control(self, word: str, *arguments: str) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder}"
        log = f"--log={self._folder / 'log'}"
        self._run("pg_ctl", word, "--wait", "--silent", log, f"--options={options} -c fsync=off", *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        """Run it as the user postgres if we are root, because the server refuses to run as root."""
        step_down = ["runuser", "--user", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*step_down, str(self._programs / program), f"--pgdata={self._folder / 'data'}", *arguments]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, timeout=120)
