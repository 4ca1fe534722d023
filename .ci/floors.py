"""Prints the lowest versions pyproject.toml promises for what runs everywhere, as constraints for pip."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
for requirement in [*project["dependencies"], *project["optional-dependencies"]["schema"]]:
    floor = re.fullmatch(r"([A-Za-z0-9_.-]+)(?:\[.*\])?>=([0-9.]+)(?:,<[0-9.]+)?", requirement)
    if floor is None:
        raise SystemExit(f"pyproject.toml: {requirement} has no lowest version, like name>=1.2")
    print(f"{floor[1]}=={floor[2]}")
