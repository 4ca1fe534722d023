"""The kinds as a Django app; its tables are made without migrations."""

from django.apps import AppConfig


class KindsConfig(AppConfig):
    name = "tests.kinds"
    default_auto_field = "django.db.models.BigAutoField"
