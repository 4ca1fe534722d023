"""Settings of the example shop: one SQLite file, no credentials, and the platform stand-in on loopback.

To talk to a real organisation set GENESYS_REGION, GENESYS_CLIENT_ID and GENESYS_CLIENT_SECRET, and
GENESYS_WEBHOOK_TOKEN for the workflow.
"""

import os
from pathlib import Path
from typing import Any

BASE_DIR = Path(__file__).resolve().parent
FOLDER = Path(os.environ.get("SHOP_FOLDER", BASE_DIR))

SECRET_KEY = "an-example-needs-no-secret"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "urls"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_q",
    "genesys_eventbridge",
    "shop",
]

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

# WAL allows reads while a worker writes; IMMEDIATE makes a writer wait for its turn instead of failing.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "shop.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}

# PASS_SECONDS (45) < timeout < retry, so that no pass runs twice.
Q_CLUSTER: dict[str, Any] = {
    "name": "shop",
    "orm": "default",
    "workers": 1,  # SQLite has one writer
    "timeout": 60,
    "retry": 120,
    "poll": 0.5,
    "catch_up": False,
    "ack_failures": True,
    "save_limit": 50,
    "log_level": "WARNING",
}

SANDBOX_URL = os.environ.get("SANDBOX_URL", "http://127.0.0.1:8900")
PLATFORM: dict[str, Any]
if "GENESYS_CLIENT_ID" in os.environ:
    PLATFORM = {
        "REGION": os.environ.get("GENESYS_REGION", "us-east-1"),
        "CLIENT_ID": os.environ["GENESYS_CLIENT_ID"],
        "CLIENT_SECRET": os.environ["GENESYS_CLIENT_SECRET"],
    }
else:
    PLATFORM = {
        "API_BASE_URL": SANDBOX_URL,
        "LOGIN_BASE_URL": SANDBOX_URL,
        "CLIENT_ID": "sandbox-client",
        "CLIENT_SECRET": "sandbox-secret",
        "BACKOFF_BASE": 1,  # keeps the demo short
    }

# A workflow in Architect, started by the integration "Webhook for Events".
WORKFLOW: dict[str, Any] = {"PROTOCOL": "webhook", "ON_DOUBT": "resend"}
if "GENESYS_WEBHOOK_TOKEN" in os.environ:
    WORKFLOW |= {
        "REGION": os.environ.get("GENESYS_REGION", "us-east-1"),
        "WEBHOOK_TOKEN": os.environ["GENESYS_WEBHOOK_TOKEN"],
    }
else:
    WORKFLOW |= {"API_BASE_URL": SANDBOX_URL, "WEBHOOK_TOKEN": "sandbox-webhook-token", "BACKOFF_BASE": 1}

# "auto", the default, would wake workers only after the first scheduled task (up to 30 s).
COMMON = {"SOURCE": "com.example.shop", "WAKE": "django_q"}
GENESYS_EVENTBRIDGE = {"default": PLATFORM | COMMON, "workflow": WORKFLOW | COMMON}
