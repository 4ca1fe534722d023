"""The documentation site: Sphinx reads the Markdown pages with MyST, and the API from the docstrings."""

import re
from pathlib import Path

import django
from django.conf import settings
from sphinx.application import Sphinx

settings.configure(
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.admin",
        "genesys_eventbridge",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    USE_TZ=True,
)
django.setup()

import genesys_eventbridge  # noqa: E402 - after Django's setup

REPOSITORY = "https://github.com/django-genesys-eventbridge/django-genesys-eventbridge"

project = "django-genesys-eventbridge"
author = "The django-genesys-eventbridge maintainers"
project_copyright = author
version = release = genesys_eventbridge.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 4  # links such as events.md#what-it-costs, as GitHub resolves them
exclude_patterns = ["_build"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"

html_theme = "furo"
html_title = f"django-genesys-eventbridge {version}"
html_theme_options = {"source_repository": REPOSITORY, "source_branch": "main", "source_directory": "docs/"}


def _link_to_the_repository(app: Sphinx, name: str, source: list[str]) -> None:
    """Files outside docs/ (``../CHANGELOG.md``) are linked where they are: in the repository."""
    source[0] = re.sub(r"\]\(\.\./([^)\s]+)\)", rf"]({REPOSITORY}/blob/main/\1)", source[0])


def _leave_out_missing_pages(app: Sphinx, name: str, source: list[str]) -> None:
    """A page written as ``name*`` in the navigation is left out until it exists. Others must exist."""
    if name == "index":
        lines = source[0].splitlines()
        here = Path(app.srcdir)
        there = [line for line in lines if not line.endswith("*") or any(here.glob(f"{line.strip()}.md"))]
        source[0] = "\n".join(there)


def setup(app: Sphinx) -> None:
    app.connect("source-read", _link_to_the_repository)
    app.connect("source-read", _leave_out_missing_pages)
