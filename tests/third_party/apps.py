"""The models of these tests as a Django app; its tables are made without migrations."""

from django.apps import AppConfig


class ThirdPartyConfig(AppConfig):
    name = "tests.third_party"
    label = "third_party"
    default_auto_field = "django.db.models.BigAutoField"
