"""Loaded once by the fork server, so that a killed worker can be replaced in milliseconds."""

import django

django.setup()

from tests.chaos import crew  # noqa: E402, F401 - after django.setup()
