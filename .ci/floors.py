"""Prints the lowest versions that pyproject.toml allows, as pip constraints; without those of the drivers."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
tested = [*extras["schema"], *extras["prometheus"], *extras["health"], *extras["fast"]]
for requirement in [*project["dependencies"], *tested]:
    floor = re.fullmatch(r"([A-Za-z0-9_.-]+)(?:\[.*\])?>=([0-9.]+)(?:,<[0-9.]+)?", requirement)
    if floor is None:
        raise SystemExit(f"pyproject.toml: {requirement} has no lowest version such as name>=1.2")
    print(f"{floor[1]}=={floor[2]}")
