"""What docs/admin.md tells users of django-unfold to write."""

from django.contrib import admin
from unfold.admin import ModelAdmin

from genesys_eventbridge.admin import DestinationAdmin, JobAdmin, OutboxEventAdmin
from genesys_eventbridge.models import Destination, Job, OutboxEvent

admin.site.unregister([OutboxEvent, Destination, Job])


@admin.register(OutboxEvent)
class EventAdmin(OutboxEventAdmin, ModelAdmin):
    """Events in the theme's look."""


@admin.register(Destination)
class ThemedDestinationAdmin(DestinationAdmin, ModelAdmin):
    """Destinations in the theme's look."""


@admin.register(Job)
class ThemedJobAdmin(JobAdmin, ModelAdmin):
    """The audit in the theme's look."""
