"""What the fork server loads once, so that a killed worker is replaced in milliseconds."""

import django

django.setup()

from tests.chaos import crew  # noqa: E402, F401 - Django comes first
