"""Run by tests/test_runners.py in a process that cannot import django-q2: every command and every page."""

import io
import sys
from importlib.abc import MetaPathFinder

from django.conf import settings


class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "django_q":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


LINES = [
    "check",
    "eventbridge_enqueue order.created --data {}",
    "eventbridge_publish",
    "eventbridge_poll",
    "eventbridge_status --check",
    "eventbridge_list",
    "eventbridge_show 1",
    "eventbridge_retry",
    "eventbridge_replay --since 1h --because test --no-input",
    "eventbridge_catalogue",
    "eventbridge_metrics",
    "eventbridge_ping",
    "eventbridge_pause default --because test",
    "eventbridge_resume default",
    "eventbridge_prune",
]
PAGES = [
    "",
    "outboxevent/",
    "outboxevent/1/change/",
    "outboxevent/dashboard/",
    "outboxevent/failures/",
    "outboxevent/catalogue/",
    "outboxevent/erase/",
    "destination/",
    "destination/default/change/",
    "job/",
]


def main() -> None:
    sys.meta_path.insert(0, Missing())
    from tests import settings as base

    given = {name: getattr(base, name) for name in dir(base) if name.isupper() and name != "Q_CLUSTER"}
    given["INSTALLED_APPS"] = [app for app in base.INSTALLED_APPS if app != "django_q"]
    given["DATABASES"] = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
    settings.configure(**given)

    import django

    django.setup()

    from django.contrib.auth import get_user_model
    from django.core.management import CommandError, call_command
    from django.test import Client

    from genesys_eventbridge import tasks
    from tests.prompt import sandboxed

    call_command("migrate", verbosity=0)
    with sandboxed():
        for line in LINES:
            call_command(*line.split(), stdout=io.StringIO(), stderr=io.StringIO())
        try:
            call_command("eventbridge_schedules")
        except CommandError as error:
            sys.stdout.write(f"{error}\n")
        for task in (tasks.publish_all, tasks.poll_all, tasks.retry_all, tasks.prune_all):
            task()
        client = Client(SERVER_NAME="localhost")
        client.force_login(get_user_model().objects.create_superuser("ana"))
        for page in PAGES:
            response = client.get(f"/admin/genesys_eventbridge/{page}")
            assert response.status_code == 200, (page, response.status_code)
    assert "django_q" not in sys.modules
    sys.stdout.write("nothing needed django-q2\n")


if __name__ == "__main__":
    main()
