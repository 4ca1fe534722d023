"""The suite's settings, with a strict Content-Security-Policy."""

from tests.settings import *  # noqa: F403
from tests.settings import MIDDLEWARE

MIDDLEWARE = [*MIDDLEWARE, "tests.browser.policy.strict_policy"]
