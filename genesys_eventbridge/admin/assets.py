"""Shared by all our admin pages: the style sheet and the acting user."""

from django import forms
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest

from genesys_eventbridge.operations import Actor

#: Only a local style sheet: the pages need no scripts and work under a strict content security policy.
CSS = forms.Media(css={"all": ["genesys_eventbridge/admin.css"]})


def actor_of(request: HttpRequest) -> Actor:
    """The logged-in user, as the actor of an operation."""
    user = request.user
    return Actor("admin", user=user if isinstance(user, AbstractBaseUser) else None)
