"""What the dashboard draws: numbers by destination, five minutes and measure, added up by the workers."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from genesys_eventbridge.fields import ExactCharField


class Rollup(models.Model):
    """So many of one thing in five minutes, for people; no decision reads it, and it may miss some.

    ``measure`` is ``delivered``, ``dead`` or ``unresolved`` (events that went there); ``publish:<verdict>``
    or ``check:<verdict>`` (requests); ``error:<HTTP status or kind of failure>``; ``within:<n>`` (events
    by their time to delivery, see rollups.upper).
    """

    id = models.BigAutoField(primary_key=True)
    starts_at = models.DateTimeField(help_text=_("Begin of the five minutes."))
    destination = ExactCharField(max_length=64)
    measure = ExactCharField(max_length=64)
    number = models.BigIntegerField()

    class Meta:
        verbose_name = _("roll-up")
        verbose_name_plural = _("roll-ups")
        default_permissions = ()
        constraints = [
            # In the order in which the dashboard and the pruning read.
            models.UniqueConstraint(
                fields=["starts_at", "destination", "measure"], name="eventbridge_rollup_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.destination} {self.measure}: {self.number}"
