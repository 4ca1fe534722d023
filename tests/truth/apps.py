"""The models of the truth tests as a Django app."""

from django.apps import AppConfig


class TruthConfig(AppConfig):
    name = "tests.truth"
    default_auto_field = "django.db.models.BigAutoField"
