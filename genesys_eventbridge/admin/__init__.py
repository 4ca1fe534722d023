"""What staff see: the events and the destinations. Plain ModelAdmin classes that a project can subclass."""

from django.contrib import admin

from genesys_eventbridge.admin.destinations import DestinationAdmin
from genesys_eventbridge.admin.events import OutboxEventAdmin
from genesys_eventbridge.admin.jobs import JobAdmin
from genesys_eventbridge.admin.menu import CatalogueEntry, DashboardEntry, FailuresEntry
from genesys_eventbridge.models import (
    CataloguePage,
    DashboardPage,
    Destination,
    FailuresPage,
    Job,
    OutboxEvent,
)

__all__ = ["DestinationAdmin", "JobAdmin", "OutboxEventAdmin"]

admin.site.register(OutboxEvent, OutboxEventAdmin)
admin.site.register(Destination, DestinationAdmin)
admin.site.register(Job, JobAdmin)
admin.site.register(DashboardPage, DashboardEntry)
admin.site.register(FailuresPage, FailuresEntry)
admin.site.register(CataloguePage, CatalogueEntry)
