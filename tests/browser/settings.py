"""The suite's settings, on a site that allows a browser nothing but files of its own."""

from tests.settings import *  # noqa: F403
from tests.settings import MIDDLEWARE

MIDDLEWARE = [*MIDDLEWARE, "tests.browser.policy.strict_policy"]
