"""Permissions: adding, editing and deleting are impossible here; each action has its own permission."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

APP = "genesys_eventbridge"


class ReadOnly:
    """For a ModelAdmin whose rows change only through actions."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class EventPermissions(ReadOnly):
    """Django calls ``has_<permission>_permission`` for each action before it shows or runs it."""

    def has_requeue_permission(self, request: HttpRequest) -> bool:
        return may(request, "requeue_event")

    def has_resolve_permission(self, request: HttpRequest) -> bool:
        return may(request, "resolve_event")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return may(request, "cancel_event")

    def has_resend_permission(self, request: HttpRequest) -> bool:
        return may(request, "resend_event")

    def has_export_permission(self, request: HttpRequest) -> bool:
        return may(request, "export_event")

    def has_payload_permission(self, request: HttpRequest) -> bool:
        return may(request, "view_event_payload")


def may(request: HttpRequest, codename: str) -> bool:
    return request.user.has_perm(f"{APP}.{codename}")
