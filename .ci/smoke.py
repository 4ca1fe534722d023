"""A user's first steps with the wheel: settings, checks, tables, one event, every module and command."""

import importlib
import pkgutil
import sys

import django
from django.conf import settings
from django.core.management import call_command, get_commands, load_command_class
from django.db import transaction

import genesys_eventbridge

#: Packages that need an extra, and what needs Django 6.0.
NEEDS_MORE = (
    "genesys_eventbridge.contrib.",
    "genesys_eventbridge.testing.",
    "genesys_eventbridge.django_tasks.",
)

settings.configure(
    SECRET_KEY="smoke",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "smoke.sqlite3"}},
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "django_q",
        "genesys_eventbridge",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    Q_CLUSTER={"name": "smoke", "orm": "default", "timeout": 60, "retry": 90, "catch_up": False},
    GENESYS_EVENTBRIDGE={
        "default": {
            "REGION": "us-east-1",
            "CLIENT_ID": "smoke",
            "CLIENT_SECRET": "smoke",
            "SOURCE": "com.example.smoke",
        }
    },
)
urlpatterns: list[object] = []
django.setup()

if "site-packages" not in genesys_eventbridge.__file__:
    sys.exit(f"imported {genesys_eventbridge.__file__}, not the installed wheel")

call_command("check")
call_command("makemigrations", "genesys_eventbridge", check=True, dry_run=True)
call_command("migrate", verbosity=0)

modules = [
    module.name
    for module in pkgutil.walk_packages(genesys_eventbridge.__path__, "genesys_eventbridge.")
    if not f"{module.name}.".startswith(NEEDS_MORE)
]
for name in modules:
    importlib.import_module(name)

commands = sorted(name for name, app in get_commands().items() if app == "genesys_eventbridge")
for command in commands:
    load_command_class("genesys_eventbridge", command).create_parser("manage.py", command)

from genesys_eventbridge.models import OutboxEvent  # noqa: E402  # only after django.setup()
from genesys_eventbridge.outbox import enqueue  # noqa: E402

with transaction.atomic():
    enqueue("smoke.tested", {"installed": True}, subject="wheel")
if OutboxEvent.objects.get().type != "smoke.tested":
    sys.exit("the event is not the one that was enqueued")

print(f"{len(modules)} modules and {len(commands)} commands load, one event is stored")
