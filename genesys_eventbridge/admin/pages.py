"""Shared by all our admin pages: read-only rows, addresses, the context of a page, the acting user."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils.decorators import method_decorator
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from genesys_eventbridge.operations import Actor
from genesys_eventbridge.text import clean

APP = "genesys_eventbridge"
#: Only files of this site: the pages work under a strict content security policy, and without the script.
CSS = forms.Media(css={"all": ["genesys_eventbridge/admin.css"]})
_SCRIPT: Any = forms.Script("genesys_eventbridge/refresh.js", defer=True)  # django-stubs knows only str
REFRESH = forms.Media(js=[_SCRIPT])


class PagesAdmin(admin.ModelAdmin):
    """A ModelAdmin whose rows change only through actions, with pages of its own."""

    show_full_result_count = False

    class Media:
        css = {"all": ("genesys_eventbridge/admin.css",)}

    @property
    def urls(self) -> list[Any]:
        """Django's and ours. With invalid settings a view leads to the index, which says what is wrong."""
        patterns: list[Any] = self.get_urls()  # a subclass may add an include()
        return [
            URLPattern(each.pattern, self._unless_invalid(each.callback), each.default_args, each.name)
            if isinstance(each, URLPattern)
            else each
            for each in patterns
        ]

    def _unless_invalid(self, view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        def run(request: HttpRequest, *arguments: Any, **options: Any) -> HttpResponseBase:
            try:
                return view(request, *arguments, **options)
            except ImproperlyConfigured as error:
                messages.error(request, f"{_('Stopped: invalid settings')}. {clean(error, 2000)}")
                return HttpResponseRedirect(reverse(f"{self.admin_site.name}:index"))

        return run

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @method_decorator(require_safe)
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page of one row, which is read-only."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return self.row_page(request, object_id, extra_context or {})

    def row_page(self, request: HttpRequest, object_id: str, extra: dict[str, Any]) -> HttpResponse:
        """Called with the permission to view; ``extra`` is added to the context."""
        raise NotImplementedError

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"title": capfirst(self.opts.verbose_name_plural), **(extra_context or {})}
        return super().changelist_view(request, context)

    def page(
        self, request: HttpRequest, template: str, title: Any, *, refresh: int = 0, **context: Any
    ) -> TemplateResponse:
        """One of our pages, with what Django's templates and those of themes need.

        With ``refresh`` the page brings itself up to date every N seconds.
        """
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "original": str(title),  # a string: some themes need one
            "opts": self.opts,
            "media": CSS + REFRESH if refresh else CSS,
            "refresh": refresh,
            "has_view_permission": True,
            **context,
        }
        return TemplateResponse(request, template, context)

    def url(self, page: str, *arguments: Any, model: type[Model] | None = None) -> str:
        """The address of a page of this model, or of another one that is registered."""
        opts = (model or self.model)._meta
        name = f"{self.admin_site.name}:{opts.app_label}_{opts.model_name}_{page}"
        return reverse(name, args=arguments)


def may(request: HttpRequest, codename: str) -> bool:
    """Whether the user has this permission of the app."""
    return request.user.has_perm(f"{APP}.{codename}")


def actor_of(request: HttpRequest) -> Actor:
    """The logged-in user, as the actor of an operation."""
    user = request.user
    return Actor("admin", user=user if isinstance(user, AbstractBaseUser) else None)
