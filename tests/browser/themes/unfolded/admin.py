"""What docs/admin.md tells users of django-unfold to write."""

from django.contrib import admin
from unfold.admin import ModelAdmin

from genesys_eventbridge.admin import DestinationAdmin, OutboxEventAdmin
from genesys_eventbridge.models import Destination, OutboxEvent

admin.site.unregister([OutboxEvent, Destination])


@admin.register(OutboxEvent)
class EventAdmin(OutboxEventAdmin, ModelAdmin):
    """Events in the theme's look."""


@admin.register(Destination)
class ThemedDestinationAdmin(DestinationAdmin, ModelAdmin):
    """Destinations in the theme's look."""
