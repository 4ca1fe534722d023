"""What starts a worker here: django-q2's cluster where that is installed, and the loop of ours anywhere."""

from __future__ import annotations

from django.apps import apps
from django.utils.translation import gettext as _

LOOP = "manage.py eventbridge_publish --loop"
CLUSTER = "manage.py qcluster"


def commands() -> list[str]:
    """The commands that would work here, the usual one first."""
    return [CLUSTER, LOOP] if apps.is_installed("django_q") else [LOOP]


def start_one() -> str:
    """ "Start one: manage.py qcluster, or manage.py eventbridge_publish --loop." """
    return _("Start one: %(commands)s.") % {"commands": _(", or ").join(commands())}
