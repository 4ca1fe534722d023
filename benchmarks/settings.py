"""The tests' settings, with the benchmark's platform and persistent connections."""

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, GENESYS_EVENTBRIDGE, Q_CLUSTER

GENESYS_EVENTBRIDGE["default"] |= {
    "WAKE": None,  # benchmarks decide themselves when work starts
    **json.loads(os.environ.get("BENCH_DESTINATION", "{}")),
}
DATABASES["default"]["CONN_MAX_AGE"] = 60  # without it django-q2 is three times slower
Q_CLUSTER |= {"workers": os.cpu_count() or 2, "log_level": "WARNING"}
