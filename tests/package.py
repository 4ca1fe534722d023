"""The files of the package, for tests that read them."""

from pathlib import Path

import genesys_eventbridge

PACKAGE = Path(genesys_eventbridge.__file__).parent
SOURCES = {
    file.relative_to(PACKAGE).as_posix(): file.read_text(encoding="utf-8")
    for file in sorted(PACKAGE.rglob("*.py"))
}
TEMPLATES = {
    file.relative_to(PACKAGE).as_posix(): file.read_text(encoding="utf-8")
    for file in sorted(PACKAGE.rglob("*.html"))
}


def module_of(path: str) -> str:
    """``outbox/__init__.py`` -> ``genesys_eventbridge.outbox``."""
    return ".".join((PACKAGE.name, *path.removesuffix(".py").split("/"))).removesuffix(".__init__")
