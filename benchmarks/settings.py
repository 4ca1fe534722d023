"""The tests' settings, with the platform that a benchmark started and connections that stay open."""

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, GENESYS_EVENTBRIDGE, Q_CLUSTER

GENESYS_EVENTBRIDGE["default"] |= {
    "WAKE": None,  # no wake: a benchmark says itself when work begins
    **json.loads(os.environ.get("BENCH_DESTINATION", "{}")),
}
DATABASES["default"]["CONN_MAX_AGE"] = 60  # django-q2 is three times slower without
Q_CLUSTER |= {"workers": os.cpu_count() or 2, "log_level": "WARNING"}
