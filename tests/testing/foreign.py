"""A project that ``django-admin startproject`` made, and that follows the page "Testing your code"."""

from __future__ import annotations

import os
from pathlib import Path

from tests import pages, warm
from tests.pages import ROOT

PAGE = "docs/testing.md"


def blocks() -> dict[str, str]:
    """The page's Python blocks by the file they name in their first line."""
    found = {}
    for block in pages.python_blocks(PAGE):
        first, _, _ = block.partition("\n")
        assert first.startswith("# "), first
        assert first.endswith(".py"), first
        found[first.removeprefix("# ")] = block
    return found


class ForeignProject:
    """A new project in ``folder`` with the app ``shop`` and every file of the page; no credentials."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run("-m", "django", "startproject", "config", ".")
        self.run("manage.py", "startapp", "shop")
        settings = folder / "config" / "settings.py"
        text = settings.read_text("utf-8")
        text = text.replace(
            "INSTALLED_APPS = [", "INSTALLED_APPS = [\n    'genesys_eventbridge',\n    'shop',"
        )
        pasted = blocks()
        settings.write_text(f"import os\n{text}\n{pasted.pop('settings.py')}", "utf-8")
        only_tests = pasted.pop("test_settings.py").replace("from settings", "from config.settings")
        (folder / "test_settings.py").write_text(only_tests, "utf-8")
        for name, block in pasted.items():
            (folder / name).write_text(block, "utf-8")
        (folder / "pytest.ini").write_text(
            "[pytest]\nDJANGO_SETTINGS_MODULE = config.settings\npythonpath = .\n"
            "python_files = test_*.py tests.py\nfilterwarnings = error\n",
            "utf-8",
        )

    def run(self, *arguments: str, code: int | None = 0, **variables: str) -> str:
        """Run Python with these arguments in the project; returns what it printed."""
        kept = {"PATH", "HOME", "TMPDIR", "LANG"}
        environment = {name: value for name, value in os.environ.items() if name in kept}
        environment |= {"PYTHONPATH": str(ROOT), **variables}
        done = warm.run(*arguments, cwd=self.folder, env=environment, timeout=240, merged=True)
        assert code is None or done.returncode == code, done.stdout
        return done.stdout
