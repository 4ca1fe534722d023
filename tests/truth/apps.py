"""App configuration for the models of the truth tests."""

from django.apps import AppConfig


class TruthConfig(AppConfig):
    name = "tests.truth"
    default_auto_field = "django.db.models.BigAutoField"
