"""The suite's settings with django-unfold, which replaces Django's templates and needs its own ModelAdmin."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = ["unfold", *INSTALLED_APPS, "tests.browser.themes.unfolded"]
