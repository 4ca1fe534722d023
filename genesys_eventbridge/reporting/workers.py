"""The commands that start a worker: django-q2's cluster if it is installed, and our own loop everywhere."""

from __future__ import annotations

from django.apps import apps
from django.utils.translation import gettext as _

LOOP = "manage.py eventbridge_publish --loop"
CLUSTER = "manage.py qcluster"


def commands() -> list[str]:
    """The commands that work in this project, the usual one first."""
    return [CLUSTER, LOOP] if apps.is_installed("django_q") else [LOOP]


def start_one() -> str:
    """ "Start one: manage.py qcluster, or manage.py eventbridge_publish --loop." """
    return _("Start one: %(commands)s.") % {"commands": _(", or ").join(commands())}
