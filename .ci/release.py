"""Fails unless a tag such as v0.1.0 names the package's version, and the changelog has its date."""

import datetime as dt
import re
import sys
from pathlib import Path


def problems(tag: str, root: Path) -> list[str]:
    """What keeps the release from being published."""
    source = (root / "genesys_eventbridge/__init__.py").read_text("utf-8")
    (version,) = re.findall(r'^__version__ = "(.+)"$', source, re.MULTILINE)
    if tag != f"v{version}":
        return [f"The tag is {tag}, and __version__ in genesys_eventbridge is {version}: use v{version}."]
    headings = re.findall(r"^## (.+)$", (root / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    newest = headings[0] if headings else ""
    dated = re.fullmatch(rf"{re.escape(version)} \((\d{{4}}-\d\d-\d\d)\)", newest)
    try:
        dt.date.fromisoformat(dated[1] if dated else "")
    except ValueError:
        return [f"CHANGELOG.md begins with {newest!r}: write the date, as in '## {version} (2026-12-31)'."]
    return []


if __name__ == "__main__":
    found = problems(sys.argv[1], Path(__file__).parents[1])
    print("\n".join(found) or f"{sys.argv[1]} can be published")
    sys.exit(bool(found))
