"""Minimal Django projects in separate folders, run as real processes."""

import os
import subprocess
from pathlib import Path

from tests import warm

ROOT = Path(__file__).resolve().parent.parent

SETTINGS = """
SECRET_KEY = "a-key-that-is-long-enough-for-check-deploy-0123456789-abcdefghij"
DEBUG = False
ALLOWED_HOSTS = ["shop.example"]
USE_TZ = True
ROOT_URLCONF = "settings"
urlpatterns = []
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3",
    "OPTIONS": {"transaction_mode": "IMMEDIATE"},
}}
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django_q", "genesys_eventbridge",
]
Q_CLUSTER = {"name": "shop", "orm": "default", "workers": 1, "timeout": 60, "retry": 90, "catch_up": False}
GENESYS_EVENTBRIDGE = {"default": {
    "REGION": "eu-west-1", "CLIENT_ID": "0f1e2d3c-4b5a", "CLIENT_SECRET": "c4n4ry-secret-7f3a9c1e",
    "SOURCE": "com.example.shop",
}}
"""
#: The secret in ``SETTINGS``; no output of a project may contain it.
SECRET = "c4n4ry-secret-7f3a9c1e"


class Project:
    """A project in ``folder`` with the settings ``SETTINGS`` and ``lines``."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.folder = folder
        (folder / "settings.py").write_text("\n".join([SETTINGS, *lines, ""]), encoding="utf-8")

    def manage(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run ``manage.py COMMAND``; stdout contains stderr, too."""
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(self.folder), str(ROOT)]),
            "DJANGO_SETTINGS_MODULE": "settings",
            **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")},
        }
        return warm.run(
            *("-W", "ignore", "-m", "django", *command),
            cwd=self.folder,
            env=environment,
            timeout=120,
            merged=True,
        )
