"""CI fails where a leg fails, hangs or never begins, and shows the whole output of each leg."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

CI = Path(__file__).parents[1] / ".ci"

pytestmark = pytest.mark.skipif(not CI.is_dir(), reason="a source distribution comes without .ci")


@pytest.fixture
def side_by_side(tmp_path):
    """Run these legs; each is a line NAME MINUTES AFTER COMMAND [ARGUMENT ...]."""

    def run(*legs, at_once=2):
        return subprocess.run(
            [sys.executable, CI / "side_by_side.py", "--at-once", str(at_once), "--logs", tmp_path],
            input="\n".join(legs),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def results(done):
    """The summary at the end: what became of each leg, without its times."""
    lines = done.stdout.rpartition("all legs:\n")[2].splitlines()
    return {name: rest.partition(" (")[0] for name, rest in (line.split(maxsplit=1) for line in lines)}


def test_legs_that_pass_pass_together(side_by_side):
    done = side_by_side("one 1 - true", "two 1 - true", "three 1 one,two true")

    assert done.returncode == 0, done.stdout
    assert results(done) == {"one": "passed", "two": "passed", "three": "passed"}


@pytest.mark.parametrize(
    ("script", "result"),
    [
        ("exit 3", "FAILED: exit code 3"),
        ("set -e; false; true", "FAILED: exit code 1"),
        ("kill -9 $$", "FAILED: killed by signal 9"),
    ],
)
def test_a_leg_that_fails_fails_the_run_once_the_legs_beside_it_have_ended(
    side_by_side, tmp_path, script, result
):
    os.mkfifo(tmp_path / "gate")
    bad = f"echo 5 tests failed; : >gate; {script}"
    good = ": <gate; echo 7 tests passed"

    done = side_by_side(
        f"bad 1 - bash -c {shlex.quote(bad)}",
        f"good 1 - bash -c {shlex.quote(good)}",
        "next 1 bad touch began",
        "last 1 next,good touch began",
    )

    assert done.returncode == 1
    assert results(done) == {
        "bad": result,
        "good": "passed",
        "next": "FAILED: not started",
        "last": "FAILED: not started",
    }
    assert "5 tests failed" in done.stdout
    assert "7 tests passed" in done.stdout
    assert not (tmp_path / "began").exists()


def test_no_leg_begins_after_a_failure_though_it_needs_no_other(side_by_side, tmp_path):
    done = side_by_side("bad 1 - false", "good 1 bad true", "next 1 - touch began", at_once=1)

    assert done.returncode == 1
    assert results(done)["next"] == "FAILED: not started"
    assert not (tmp_path / "began").exists()


def test_a_leg_that_hangs_is_asked_where_and_killed_with_all_it_started(side_by_side, tmp_path):
    """A shell answers SIGABRT as pytest's faulthandler does; three seconds are enough for it to begin."""
    hangs = "trap 'echo hangs here' ABRT; sleep 1000 & echo $! >child; wait; wait; kill -STOP $$"

    done = side_by_side(f"hangs 0.05 - bash -c {shlex.quote(hangs)}")

    assert done.returncode == 1
    assert results(done) == {"hangs": "FAILED: killed after its limit of 0.05 minutes"}
    assert "hangs here" in done.stdout
    child = Path("/proc", (tmp_path / "child").read_text().strip(), "cmdline")
    assert not child.exists() or not child.read_bytes()


def test_a_run_that_is_stopped_stops_its_legs_and_shows_what_they_wrote(tmp_path):
    (tmp_path / "logs").mkdir()
    os.mkfifo(tmp_path / "gate")
    script = "echo so far; echo $$ >gate; sleep 1000"
    (tmp_path / "legs").write_text(f"one 1 - sh -c {shlex.quote(script)}\n")
    with (
        (tmp_path / "legs").open() as legs,
        subprocess.Popen(
            [sys.executable, CI / "side_by_side.py", "--logs", "logs"],
            cwd=tmp_path,
            stdin=legs,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        leg = (tmp_path / "gate").read_text().strip()
        process.terminate()
        output, _ = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "one: FAILED: stopped" in output
    assert "so far" in output
    assert not Path("/proc", leg, "cmdline").exists() or not Path("/proc", leg, "cmdline").read_bytes()


def test_the_output_of_a_leg_is_whole_and_in_order(side_by_side, tmp_path):
    """Both write at the same time, more than a pipe holds, to both streams."""
    os.mkfifo(tmp_path / "gate")
    count = "for i in $(seq 20000); do echo {name} $i; echo {name} error $i >&2; done"

    done = side_by_side(
        f"one 1 - bash -c ': >gate; {count.format(name='one')}; : <gate'",
        f"two 1 - bash -c ': <gate; {count.format(name='two')}; : >gate'",
    )

    assert done.returncode == 0
    for name in ("one", "two"):
        lines = [line for i in range(1, 20001) for line in (f"{name} {i}", f"{name} error {i}")]
        assert "\n".join(lines) in done.stdout


def test_a_leg_begins_once_those_it_needs_have_passed(side_by_side, tmp_path):
    """Two could run at once; the order in the file is that in which they began and ended."""
    log = "sh -c 'echo begin $0 >>log; echo end $0 >>log'"

    done = side_by_side(f"a 1 - {log} a", f"b 1 a {log} b", f"c 1 a,b {log} c")

    assert done.returncode == 0
    expected = [f"{word} {name}" for name in "abc" for word in ("begin", "end")]
    assert (tmp_path / "log").read_text().splitlines() == expected


@pytest.mark.parametrize("line", ["a 1 - ", "a 1 b true", "b 1 - true\nb 1 - true", ""])
def test_a_list_of_legs_with_a_mistake_runs_nothing(side_by_side, line):
    done = side_by_side(*line.splitlines())

    assert done.returncode == 1
    assert "started" not in done.stdout


@pytest.mark.parametrize(
    "leg",
    [
        "suite {python} {folder}/venv sqlite",
        "lowest_versions {python} {folder}/venv sqlite Django",
        "without_servers suite {python} {folder}/venv sqlite",
        "full_depth suite {python} {folder}/venv sqlite",
        "suite_on mysql {folder}/passed {python} {folder}/venv",
        "without_database suite {python} {folder}/venv sqlite",
        "not_passed {folder}/passed suite {python} {folder}/venv sqlite",
        "install {python} {folder}/venv",
        "browser {python} {folder}/venv Django",
        "gateways {python} {folder}/venv Django",
        "lint {python} {folder}/venv Django",
        "wheel {python}",
        "no_such_function",
    ],
)
def test_a_leg_whose_first_step_fails_fails(leg, tmp_path):
    """This Python can do nothing; `set -e` must hold within the functions of legs.sh."""
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)

    done = subprocess.run(
        ["bash", CI / "legs.sh", *leg.format(python=broken, folder=tmp_path).split()],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode != 0
    assert "Python" not in done.stdout


def legs(*rows):
    """The legs of .ci/run with these Pythons, each as its words."""
    text = (CI / "run").read_text("utf-8")
    part = text[text.index("\nread -r newest_version") : text.index("\n# To add a leg")]
    (matrix,) = [line for line in text.splitlines() if line.startswith("MATRIX=")]
    script = f"""
        set -euo pipefail
        step() {{ :; }}
        leg() {{ echo "$@"; }}
        {matrix}
        scratch=folder
        found=({shlex.join(rows)})
        {part}
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_every_test_runs_on_each_pair_and_on_each_database(number):
    """Whichever Pythons are found; and what a leg leaves out runs on the newest."""
    rows = ["3.11 5.2 python3.11", "3.12 6.0 python3.12", "3.13 6.1 python3.13", "3.14 6.1 python3.14"][
        -number:
    ]
    found = legs(*rows)
    suites = [leg for leg in found if {"suite", "suite_on", "lowest_versions"} & set(leg)]
    oldest, newest = rows[0], rows[-1].split()[2]

    for row in rows:
        version, django, python = row.split()
        whole = [leg for leg in suites if python in leg and "sqlite" in leg]
        if python == newest and len(rows) > 1:
            # Together: tests without a database, those that passed on PostgreSQL, and all others.
            without, rest = whole
            (server,) = [leg for leg in suites if "suite_on" in leg]
            assert (without[3], rest[3]) == ("without_database", "not_passed")
            assert server[4] == "postgresql"
            assert (rest[2], rest[4]) == (server[0], server[5])  # after it, without what passed
        else:
            assert len(whole) == 1
        assert {leg[-1] for leg in whole} == {f"Django~={django}.0"}, version
        for leg in whole:
            assert ("without_one_leg" in leg) is (python != newest)
        assert ("lowest_versions" in whole[0]) is (row == oldest == "3.11 5.2 python3.11")
    for database in ("sqlite", "postgresql", "mysql"):
        (full,) = [leg for leg in suites if database in leg and {"full_depth", "suite_on"} & set(leg)]
        assert database == "sqlite" or "without_servers" not in full
    names = [leg[0] for leg in found]
    assert len(set(names)) == len(names)
    for name, _minutes, after, *_command in found:
        assert after == "-" or set(after.split(",")) <= set(names[: names.index(name)])
