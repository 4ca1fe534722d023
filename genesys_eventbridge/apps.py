"""The app as Django loads it."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class EventBridgeConfig(AppConfig):
    name = "genesys_eventbridge"
    label = "genesys_eventbridge"
    verbose_name = _("Genesys Cloud EventBridge")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from genesys_eventbridge import checks, db
        from genesys_eventbridge.db import transactions

        checks.register()
        transactions.install()
        db.install()
