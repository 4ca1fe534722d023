"""App configuration of these models; their tables are created without migrations."""

from django.apps import AppConfig


class KindsConfig(AppConfig):
    name = "tests.kinds"
    default_auto_field = "django.db.models.BigAutoField"
