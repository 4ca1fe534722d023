"""A view for load balancers and monitoring: whether anything needs an operator. Needs no extra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import Error as DatabaseError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from genesys_eventbridge import conf
from genesys_eventbridge.contrib.access import UNSET, Token, refusal
from genesys_eventbridge.db import PASSING
from genesys_eventbridge.defects import report
from genesys_eventbridge.reporting.judgement import probe
from genesys_eventbridge.reporting.problems import Limits


@transaction.non_atomic_requests
@never_cache
@require_safe
def health_view(
    request: HttpRequest,
    token: Token = UNSET,
    *,
    destinations: str | Sequence[str] | None = None,
    max_age: float = 300.0,
    max_dead: int = 0,
    details: bool = True,
) -> HttpResponse:
    """200 if ``eventbridge_status --check`` would find no problem, else 503; 503 if the database fails.

    ``destinations`` is one alias or several, None for all; 404 if one is not in the settings.
    JSON: ``healthy``; ``problems``, a list of ``destination``, ``kind``, ``message`` and ``remedy``, without
    the last two unless ``details``. ``max_age`` is the age of an undelivered event in seconds, ``max_dead``
    the number of dead and of unresolved events, each, above which there is a problem. ``token`` is as for
    metrics_view. Raises ImproperlyConfigured without a token.
    """
    if refused := refusal(request, token, "health_view"):
        return refused
    wanted = [destinations] if isinstance(destinations, str) else destinations
    if unknown := [alias for alias in wanted or () if alias not in conf.aliases()]:
        return JsonResponse(
            {"healthy": False, "problems": [_unknown(alias, details=details) for alias in unknown]},
            status=404,
        )
    try:
        found = probe(wanted, Limits(max_age, max_dead)).problems
    except DatabaseError as error:
        name = type(error).__name__
        report(error, "Cannot judge the destinations (%s)", name, expected=PASSING)
        problem = {"destination": None, "kind": "database", "message": f"the database failed ({name})"}
        return JsonResponse({"healthy": False, "problems": [{**problem, "remedy": ""}]}, status=503)
    problems: list[dict[str, Any]] = [
        {"destination": problem.destination or None, "kind": problem.kind}
        | ({"message": problem.message, "remedy": problem.remedy} if details else {})
        for problem in found
    ]
    return JsonResponse({"healthy": not found, "problems": problems}, status=503 if found else 200)


def _unknown(alias: str, *, details: bool) -> dict[str, Any]:
    problem = {"destination": alias, "kind": "unknown"}
    if not details:
        return problem
    known = ", ".join(map(repr, conf.aliases()))
    return problem | {
        "message": f"{conf.SETTING} has no destination {alias!r}; it has {known}",
        "remedy": "Correct destinations in the path() of health_view.",
    }
