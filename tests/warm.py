"""Runs Python in a new process that has loaded the packages of others already.

A process that loads Django, httpx and this app spends most of a second of CPU before it does anything, a
third of it on packages of others. Here one process per run of pytest loads these, and each program runs in a
fork of it. That process has loaded no module of ours and read no setting, and its forks have the arguments,
environment, folder and files of a new process: what our code loads, when and in which order, is the same. It
cannot show which packages of others a program loads; a test of that starts Python with subprocess.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import IO, Any, NoReturn

#: Packages of others that read no setting while they load.
LOADED = (
    "django.contrib.admin",
    "django.contrib.messages.storage.fallback",
    "django.contrib.sessions.middleware",
    "django.core.management",
    "django.core.servers.basehttp",
    "django.db.backends.sqlite3.base",
    "django.db.migrations.executor",
    "django.test",
    "django.views.generic",
    "httpcore",
    "httpx",
    "jsonschema",
    "multiprocessing.pool",
    "picklefield",
    "prometheus_client",
    "tqdm.auto",
    "unittest.mock",
)
NUMBER = struct.Struct("!i")


def run(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float,
    merged: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run ``python ARGUMENTS``: ``-c CODE``, ``-m MODULE`` or a file, perhaps after ``-W ignore``.

    With ``merged`` stdout contains stderr, too. Raises TimeoutExpired, and has killed the process.
    """
    # Coverage measures from a process's start, and pytest refuses plugins that were loaded before it.
    if "pytest" in arguments or any(name.startswith("COVERAGE_") for name in os.environ):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE,
            text=True,
            timeout=timeout,
            check=False,
        )
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        request = {"arguments": arguments, "cwd": str(cwd), "env": dict(env)}
        code = _ran(request, [out, out if merged else err], timeout)
        return subprocess.CompletedProcess([sys.executable, *arguments], code, _text(out), _text(err))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8")


def _ran(request: dict[str, Any], files: Sequence[IO[bytes]], timeout: float) -> int:
    """The exit code of a fork with these files as its stdout and stderr, as subprocess gives it."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            socket.send_fds(_warm(), [b"."], [theirs.fileno(), *(file.fileno() for file in files)])
        ours.sendall(json.dumps(request).encode())
        ours.shutdown(socket.SHUT_WR)
        (process,) = NUMBER.unpack(ours.recv(NUMBER.size))
        in_time, _, _ = select.select([ours], [], [], timeout)
        if not in_time:
            os.kill(process, signal.SIGKILL)
        (status,) = NUMBER.unpack(ours.recv(NUMBER.size))
    if not in_time:
        raise subprocess.TimeoutExpired(request["arguments"], timeout)
    return os.waitstatus_to_exitcode(status)


@functools.cache
def _warm() -> socket.socket:
    """A socket to the process that forks; it ends when the socket does."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(theirs.fileno())],  # -P: without the folder of this file
            env={"PATH": os.environ["PATH"]},
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C is for pytest
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


# -------------------------------------------------------------------------------- in the warm process


def _serve(number: int) -> dict[str, Any]:
    """Fork for each request; returns only in the forks, with the request."""
    for name in LOADED:
        with suppress(ImportError):  # not installed with this Python, or httpx2 instead
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=number) as asked:
        while True:
            found, files, _flags, _address = socket.recv_fds(asked, 1, 3)
            _reap()
            if not found:
                os._exit(0)
            if os.fork() == 0:
                break
            for file in files:
                os.close(file)
    with socket.socket(fileno=files[0]) as talk, talk.makefile("rb") as words:
        request: dict[str, Any] = json.load(words)
        if process := os.fork():
            talk.sendall(NUMBER.pack(process))
            talk.sendall(NUMBER.pack(os.waitpid(process, 0)[1]))
            os._exit(0)
    _redirect(*files[1:])
    return request


def _reap() -> None:
    """Forget the forks that have ended; their CPU time becomes that of this process's children."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _redirect(*files: int) -> None:
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    for standard, file in enumerate(files, start=1):
        os.dup2(file, standard)
    for file in {*files}:
        os.close(file)


def _become(request: dict[str, Any]) -> None:
    """Run the program of the request in this process."""
    kind, *arguments = request["arguments"]
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in os.environ
    if kind == "-W":
        warnings.simplefilter(arguments[0])
        kind, *arguments = arguments[1:]
    program = arguments.pop(0) if kind in {"-c", "-m"} else kind
    first = {"-c": "", "-m": request["cwd"]}.get(kind, str(Path(program).resolve().parent))
    more = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = [first, *more]
    sys.argv = ["-c" if kind == "-c" else program, *arguments]
    match kind:
        case "-c":
            main = sys.modules["__main__"] = ModuleType("__main__")
            exec(compile(program, "<string>", "exec"), vars(main))
        case "-m":
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        case _:
            runpy.run_path(program, run_name="__main__")


def _end(code: object) -> NoReturn:
    """Exit as Python does, but take no module apart: those of others cost more than the program."""
    if not (code is None or isinstance(code, int)):
        sys.stderr.write(f"{code}\n")
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit((code or 0) & 0xFF)


def _main() -> NoReturn:
    request = _serve(int(sys.argv[1]))
    try:
        _become(request)
    except SystemExit as end:
        _end(end.code)
    _end(0)


if __name__ == "__main__":
    _main()
