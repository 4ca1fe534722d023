"""The last HTTP status as a filter: one code, a class of codes, or no response at all."""

from __future__ import annotations

from django.db.models import Q, TextChoices
from django.utils.translation import gettext_lazy as _


class StatusClass(TextChoices):
    NONE = "none", _("no response")
    REDIRECT = "3xx", _("3xx redirect")
    REFUSED = "4xx", _("4xx refused")
    PLATFORM_ERROR = "5xx", _("5xx platform error")


#: An HTTP status (100 to 599), or a class of them.
StatusCode = int | StatusClass


def parse(text: str) -> StatusCode:
    """ "503" or "5xx" or "none". Raises ValueError for anything else."""
    if text in StatusClass.values:
        return StatusClass(text)
    if len(text) == 3 and text.isascii() and text.isdigit() and 100 <= int(text) <= 599:
        return int(text)
    raise ValueError("write an HTTP status such as 503, a class (3xx, 4xx, 5xx), or none for no response")


def condition(code: StatusCode) -> Q:
    """Rows whose last response had this status. NONE: the last attempt failed without a response."""
    if code is StatusClass.NONE:
        return Q(last_status_code__isnull=True) & ~Q(last_error="")
    if isinstance(code, StatusClass):
        hundreds = int(code.value[0]) * 100
        return Q(last_status_code__gte=hundreds, last_status_code__lt=hundreds + 100)
    return Q(last_status_code=code)


def is_indexed(code: StatusCode) -> bool:
    """Whether an index finds such rows: on PostgreSQL it leaves out responses that mean no failure."""
    return isinstance(code, StatusClass) or code >= 300
