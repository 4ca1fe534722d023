"""The suite's settings, with the libraries installed."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [
    *INSTALLED_APPS,
    "djmoney",
    "mptt",
    "polymorphic",
    "reversion",
    "safedelete",
    "simple_history",
    "taggit",
    "treebeard",
    "tests.third_party",
]

# The models here refer to users and content types. Tables without migrations are created first, so all are.
MIGRATION_MODULES = dict.fromkeys(
    ("admin", "auth", "contenttypes", "django_q", "reversion", "sessions", "taggit")
)
