"""A check for django-health-check 4: whether anything needs an operator. Needs the extra ``[health]``.

List it among the checks of ``health_check.views.HealthCheckView``. ``contrib.views.health_view`` says the
same without that package.
"""

from __future__ import annotations

import dataclasses

try:
    from health_check.base import HealthCheck
    from health_check.exceptions import ServiceUnavailable
except ImportError as error:
    raise ImportError(
        "genesys_eventbridge.contrib.health needs django-health-check 4: "
        'pip install "django-genesys-eventbridge[health]"'
    ) from error

from django.db import Error as DatabaseError

from genesys_eventbridge.contrib.connections import closed_if_opened_here
from genesys_eventbridge.reporting.judgement import probe
from genesys_eventbridge.reporting.problems import Limits


@dataclasses.dataclass
class EventBridge(HealthCheck):
    """Fails if ``eventbridge_status --check`` would find a problem.

    Args:
        destinations: Aliases; None for all.
        max_age: Age of an undelivered event in seconds above which there is a problem.
        max_dead: Number of dead, and of unresolved, events above which there is a problem.
        details: Whether the message says what is wrong, which may contain the platform's words. Without it,
            it only names the kinds of problems: pages of health checks are often public.

    """

    destinations: tuple[str, ...] | None = None
    max_age: float = 300.0
    max_dead: int = 0
    details: bool = dataclasses.field(default=False, repr=False)

    def run(self) -> None:
        """Raises ServiceUnavailable if there is a problem, or if the database fails.

        No coroutine, so the base class runs it in a thread.
        """
        try:
            with closed_if_opened_here():
                found = probe(self.destinations, Limits(self.max_age, self.max_dead)).problems
        except DatabaseError as error:
            raise ServiceUnavailable(f"the database failed ({type(error).__name__})") from error
        if found:
            raise ServiceUnavailable(
                "; ".join(
                    ": ".join(filter(None, (each.destination, each.message if self.details else each.kind)))
                    for each in found
                )
            )
