"""App configuration for the models of these tests; their tables are created without migrations."""

from django.apps import AppConfig


class ThirdPartyConfig(AppConfig):
    name = "tests.third_party"
    label = "third_party"
    default_auto_field = "django.db.models.BigAutoField"
