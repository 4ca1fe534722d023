"""Pages of the event admin that Django's index and sidebar list beside the models, in themes too."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from genesys_eventbridge.admin.pages import PagesAdmin
from genesys_eventbridge.models import OutboxEvent


class MenuEntry(PagesAdmin):
    """One page of the event admin, at the address where a model would have its list. It has no rows."""

    #: The method of the event admin that makes the page.
    view_name: str

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_changelist"
        return [path("", self.admin_site.admin_view(self.changelist_view), name=name)]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As for the events, if this site has them."""
        return self.admin_site.is_registered(OutboxEvent) and self._events.has_view_permission(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        response: HttpResponse = getattr(self._events, self.view_name)(request)
        return response

    @property
    def _events(self) -> Any:
        return self.admin_site.get_model_admin(OutboxEvent)


class DashboardEntry(MenuEntry):
    """The dashboard."""

    view_name = "dashboard_view"


class FailuresEntry(MenuEntry):
    """The groups of failures."""

    view_name = "failures_view"


class CatalogueEntry(MenuEntry):
    """The event catalogue."""

    view_name = "catalogue_view"
