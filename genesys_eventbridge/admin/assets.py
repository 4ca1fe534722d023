"""What every page of ours shares: the style sheet, and who acts through it."""

from django import forms
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest

from genesys_eventbridge.operations import Actor

#: Only a style sheet, from our own files: the pages work without scripts, and under a strict policy.
CSS = forms.Media(css={"all": ["genesys_eventbridge/admin.css"]})


def actor_of(request: HttpRequest) -> Actor:
    """The person who is logged in."""
    user = request.user
    return Actor("admin", user=user if isinstance(user, AbstractBaseUser) else None)
