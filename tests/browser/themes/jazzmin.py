"""The suite's settings with django-jazzmin, which replaces Django's templates."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = ["jazzmin", *INSTALLED_APPS]
#: Fonts come from this site, like everything in a test.
JAZZMIN_SETTINGS = {"use_google_fonts_cdn": False}
#: Light or dark as the browser asks for.
JAZZMIN_UI_TWEAKS = {"default_theme_mode": "auto"}
