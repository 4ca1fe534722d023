"""The GitHub workflows, and the check before a release. `make lint` lets zizmor judge them, too."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

pytestmark = pytest.mark.skipif(
    not (ROOT / ".ci").is_dir(), reason="a source distribution comes without .ci, which the workflows call"
)


def text(name: str) -> str:
    return (ROOT / ".github" / "workflows" / f"{name}.yml").read_text("utf-8")


def test_there_are_workflows() -> None:
    assert {path.stem for path in WORKFLOWS} == {"docs", "release", "tests"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_to_a_commit_and_names_its_version(path) -> None:
    uses = re.findall(r"^ *(?:- )?uses: (.+)$", path.read_text("utf-8"), re.MULTILINE)

    assert uses
    for line in uses:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_no_permission_that_its_job_does_not_name(path) -> None:
    lines = path.read_text("utf-8").splitlines()

    assert "permissions: {}" in lines
    granted = {line.strip() for line in lines if re.match(r" +[a-z-]+: (read|write)\b", line)}
    writes = {line.partition(" #")[0] for line in granted if "write" in line.partition(" #")[0]}
    assert writes == ({"id-token: write"} if path.stem == "release" else set())


def test_only_the_job_that_publishes_can_ask_for_a_token_and_it_runs_nothing_of_ours() -> None:
    build, publish = text("release").split("\n  publish:\n")

    assert "id-token" not in build
    assert "run:" not in publish
    assert "environment:" in publish
    assert "checkout" not in publish


def test_the_workflow_tests_the_pairs_that_ci_tests_and_the_classifiers_name() -> None:
    run = (ROOT / ".ci" / "run").read_text("utf-8")
    (matrix,) = re.findall(r"^MATRIX=\((.+)\)$", run, re.MULTILINE)
    pairs = [tuple(pair.split()) for pair in re.findall(r'"(.+?)"', matrix)]
    project = (ROOT / "pyproject.toml").read_text("utf-8")

    assert re.findall(r'\{ python: "(.+?)", django: "(.+?)" \}', text("tests")) == pairs
    assert re.findall(r"^ +(3\.\d+)$", text("tests"), re.MULTILINE) == [python for python, _ in pairs]
    assert re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project) == [
        python for python, _ in pairs
    ]


def test_the_workflows_call_commands_that_exist() -> None:
    legs = (ROOT / ".ci" / "legs.sh").read_text("utf-8")
    called = re.findall(
        r"bash \.ci/legs\.sh ([\w ]+?)(?: [\"p].*)?$", text("tests") + text("release"), re.MULTILINE
    )

    assert called
    for name in " ".join(called).split():
        assert f"\n{name}() {{" in legs, name


# ------------------------------------------------------------------------------------ .ci/release.py


@pytest.fixture
def problems(tmp_path):
    """What .ci/release.py says of a tag, for version 1.2.3 with this heading in the changelog."""
    spec = importlib.util.spec_from_file_location("release", ROOT / ".ci" / "release.py")
    assert spec
    assert spec.loader
    release = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(release)
    (tmp_path / "genesys_eventbridge").mkdir()
    (tmp_path / "genesys_eventbridge" / "__init__.py").write_text('"""x"""\n\n__version__ = "1.2.3"\n')

    def ask(tag: str, heading: str) -> str:
        (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n## {heading}\n\n## 1.2.2 (2026-01-01)\n")
        return "".join(release.problems(tag, tmp_path))

    return ask


def test_a_tag_with_the_version_and_a_dated_changelog_is_released(problems) -> None:
    assert problems("v1.2.3", "1.2.3 (2026-12-31)") == ""


@pytest.mark.parametrize(
    ("tag", "heading", "words"),
    [
        ("1.2.3", "1.2.3 (2026-12-31)", "use v1.2.3"),
        ("v1.2.4", "1.2.3 (2026-12-31)", "use v1.2.3"),
        ("v1.2.3", "1.2.3 (unreleased)", "write the date"),
        ("v1.2.3", "1.2.2 (2026-01-01)", "write the date"),
        ("v1.2.3", "1.2.3 (2026-13-31)", "write the date"),
        ("v1.2.3", "1.2.30 (2026-12-31)", "write the date"),
    ],
)
def test_anything_else_is_not_and_the_remedy_is_named(problems, tag, heading, words) -> None:
    assert words in problems(tag, heading)


def test_the_check_reads_the_real_files() -> None:
    source = (ROOT / "genesys_eventbridge" / "__init__.py").read_text("utf-8")

    assert re.search(r'^__version__ = "\d+\.\d+\.\d+"$', source, re.MULTILINE)
    assert re.search(r"^## \d+\.\d+\.\d+ \(.+\)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
