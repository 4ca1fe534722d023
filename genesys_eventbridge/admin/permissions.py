"""Permissions: adding, editing and deleting are impossible here; each action has its own permission."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

from genesys_eventbridge.admin.pages import PagesAdmin, may


def _permission(codename: str) -> Callable[[Any, HttpRequest], bool]:
    return lambda _admin, request: may(request, codename)


class EventPermissions(PagesAdmin):
    """Django calls ``has_<permission>_permission`` for each action before it shows or runs it."""

    has_requeue_permission = _permission("requeue_event")
    has_resolve_permission = _permission("resolve_event")
    has_cancel_permission = _permission("cancel_event")
    has_resend_permission = _permission("resend_event")
    has_replay_permission = _permission("replay_event")
    has_erase_permission = _permission("erase_event")
    has_export_permission = _permission("export_event")
    has_payload_permission = _permission("view_event_payload")

    def has_correct_permission(self, request: HttpRequest) -> bool:
        """Who corrects data has to see it."""
        return may(request, "correct_event") and self.has_payload_permission(request)
