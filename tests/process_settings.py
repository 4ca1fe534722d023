"""Settings for processes that a test starts: the suite's, with that test's database and platform.

The environment can also set WITHOUT (apps to leave out), and as JSON Q_CLUSTER_MORE and POOL (PostgreSQL).
"""

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, Q_CLUSTER

_overrides = json.loads(os.environ["EVENTBRIDGE_TEST_OVERRIDES"])
DATABASES["default"]["NAME"] = _overrides["DATABASE"]
GENESYS_EVENTBRIDGE = _overrides["GENESYS_EVENTBRIDGE"]
if "POOL" in os.environ:
    DATABASES["default"].update(OPTIONS={"pool": json.loads(os.environ["POOL"])}, CONN_MAX_AGE=0)
Q_CLUSTER.update({"poll": 0.05, "guard_cycle": 0.1, "log_level": "WARNING"})
Q_CLUSTER.update(json.loads(os.environ.get("Q_CLUSTER_MORE", "{}")))
INSTALLED_APPS = [
    app for app in globals()["INSTALLED_APPS"] if app not in os.environ.get("WITHOUT", "").split()
]
