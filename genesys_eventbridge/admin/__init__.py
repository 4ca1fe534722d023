"""What staff see: the events and the destinations. Plain ModelAdmin classes that a project can subclass."""

from django.contrib import admin

from genesys_eventbridge.admin.destinations import DestinationAdmin
from genesys_eventbridge.admin.events import OutboxEventAdmin
from genesys_eventbridge.models import Destination, OutboxEvent

__all__ = ["DestinationAdmin", "OutboxEventAdmin"]

admin.site.register(OutboxEvent, OutboxEventAdmin)
admin.site.register(Destination, DestinationAdmin)
