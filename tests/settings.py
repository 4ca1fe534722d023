"""Django settings of the test suite; all addresses are on this machine."""

import os
from typing import Any

import django

from tests.databases import database

SECRET_KEY = "only-for-tests"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "tests.urls"
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast; the accounts protect nothing

DATABASES = {"default": database()}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_q",
    "genesys_eventbridge",
    "tests.shop",
    "tests.truth",
    "tests.kinds",
]

# django-q2 has an index with a condition, which MariaDB ignores; our models have none (test_models.py).
SILENCED_SYSTEM_CHECKS = ["models.W037"]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Nothing listens on port 1: a test that needs a platform starts one and overrides the addresses.
GENESYS_EVENTBRIDGE: dict[str, dict[str, Any]] = {
    "default": {
        "API_BASE_URL": "http://127.0.0.1:1",
        "LOGIN_BASE_URL": "http://127.0.0.1:1",
        "CLIENT_ID": "test-client",
        "CLIENT_SECRET": "test-secret-sample",
        "SOURCE": "com.example.tests",
    },
}

if django.VERSION >= (6, 1):  # warns if mail is sent without it; older versions do not know it
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}

Q_CLUSTER: dict[str, Any] = {
    "name": "tests",
    "workers": 1,
    "timeout": 60,
    "retry": 90,
    "catch_up": False,
    "ack_failures": True,
}
if os.environ.get("EVENTBRIDGE_TEST_BROKER") == "redis":
    Q_CLUSTER["redis"] = os.environ["TEST_REDIS_URL"]
else:
    Q_CLUSTER["orm"] = "default"
