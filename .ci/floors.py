"""Prints the lowest versions pyproject.toml promises for what runs everywhere, as constraints for pip."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
for requirement in [*project["dependencies"], *project["optional-dependencies"]["schema"]]:
    print(re.sub(r"\[.*\]|>=", lambda part: "==" if part.group() == ">=" else "", requirement))
