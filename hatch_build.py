"""Builds the sdist from the files that git tracks. hatchling alone takes all that git does not ignore."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LEFT_OUT = ".ci/"


class TrackedFiles(BuildHookInterface[Any]):
    """Sets the files of the sdist. Outside a git checkout, as in an unpacked sdist, it takes all files."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if (Path(self.root) / ".git").exists():
            self.build_config.target_config["only-include"] = _tracked(self.root)


def _tracked(root: str) -> list[str]:
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)  # noqa: S603
    names = listed.stdout.rstrip("\0").split("\0")
    return [name for name in names if not name.startswith(LEFT_OUT) and (Path(root) / name).is_file()]
