"""The wall: who may know whom, and what nobody may do. The table and the judge are in wall.py."""

import graphlib
import subprocess
import sys

import pytest

from tests import wall

FILES = dict(wall.sources())
LAYER_FILES = [
    pytest.param(layer, path, id=path)
    for path in FILES
    for layer in [wall.LAYER_OF.get(wall.room_of(path) or "")]
    if layer in {"plain", "http", "sandbox"}
]


@pytest.mark.parametrize("path", FILES)
def test_every_file_keeps_to_its_room(path):
    assert wall.offences(path, FILES[path]) == []


def test_no_template_lets_markup_through():
    templates = sorted(wall.HOUSE.rglob("*.html"))
    texts = [
        (file.relative_to(wall.HOUSE).as_posix(), file.read_text(encoding="utf-8")) for file in templates
    ]

    assert [offence for path, text in texts for offence in wall.template_offences(path, text)] == []


def test_no_import_goes_round_in_a_circle():
    graphlib.TopologicalSorter(wall.load_time_graph()).prepare()


def test_a_room_stands_in_one_layer_only():
    placed = [room for rooms, _ in wall.LAYERS.values() for room in rooms]

    assert sorted(placed) == sorted(set(placed))


def test_no_layer_knows_a_layer_above_it():
    below: set[str] = set()
    for layer, (_, knows) in wall.LAYERS.items():
        assert knows <= below, layer
        below.add(layer)


@pytest.mark.parametrize(("layer", "path"), LAYER_FILES)
def test_a_room_without_django_loads_without_django(layer, path):
    """In a fresh interpreter, where nothing is loaded that the room did not ask for."""
    strangers = {"django", "django_q"} | ({"httpx", "httpcore"} if layer != "http" else set())

    assert strangers & loaded_by(f"import {wall._module(path)}") == set()


def test_the_package_itself_loads_nothing():
    rooms = {name for name in loaded_by(f"import {wall.PACKAGE}") if name.startswith(wall.PACKAGE)}

    assert rooms == {wall.PACKAGE}


@pytest.mark.parametrize("room", ["models", "outbox", "model_events"])
def test_what_a_web_process_needs_loads_without_httpx(room):
    """Saving a model writes a row: a web process that never publishes does not pay for an HTTP client."""
    setup = (
        "from django.conf import settings; import django; django_apps = 'django.contrib.{}'.format;"
        "settings.configure(INSTALLED_APPS="
        f"[django_apps('contenttypes'), django_apps('auth'), '{wall.PACKAGE}']); django.setup();"
    )

    assert {"httpx", "httpcore", "django_q"} & loaded_by(f"{setup} import {wall.PACKAGE}.{room}") == set()


def loaded_by(code: str) -> set[str]:
    """The modules in sys.modules after this code ran in a new interpreter."""
    listing = "\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code + listing], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


# ---------------------------------------------------------------------------- the judge itself can say no


@pytest.mark.parametrize(
    ("path", "source", "words"),
    [
        ("attic.py", "", "unknown room"),
        ("errors.py", "import django", "errors may not import django"),
        ("text.py", "import httpx", "text may not import httpx"),
        ("cloudevents.py", "from genesys_eventbridge import conf", "may not know conf"),
        ("client_requests.py", "from genesys_eventbridge.models import OutboxEvent", "may not know models"),
        ("client.py", "from django.conf import settings", "client may not import django"),
        ("answers/status.py", "from .. import outbox", "may not know outbox"),
        (
            "auth.py",
            "def f():\n    from genesys_eventbridge import conf",
            "auth.py:2: auth (http) may not know conf",
        ),
        ("models.py", "import httpx", "models may not import httpx"),
        ("models.py", "from genesys_eventbridge import answers", "may not know answers"),
        ("models.py", "from genesys_eventbridge.outbox import enqueue", "may not know outbox"),
        ("outbox.py", "from . import relay", "may not know relay"),
        ("outbox.py", "from genesys_eventbridge import attic", "unknown room: attic"),
        ("outbox.py", "import_module('genesys_eventbridge.client')", "may not know client"),
        (
            "admin/events.py",
            "from genesys_eventbridge.client import EventBridgeClient",
            "may not know client",
        ),
        ("relay.py", "import httpx", "relay may not import httpx"),
        ("relay.py", "if TYPE_CHECKING:\n    import httpx", "relay may not import httpx"),
        ("senders.py", "import httpx", "senders may not import httpx"),
        ("schemas.py", "import jsonschema", "only inside a function"),
        ("relay.py", "from genesys_eventbridge.admin import events", "may not know admin"),
        ("sandbox/server.py", "from genesys_eventbridge.client import Platform", "may not know client"),
        ("outbox.py", "def f():\n    import django_q.tasks", "outbox may not import django_q"),
        ("wake.py", "import django_q.tasks", "only inside a function"),
        ("outbox.py", "import requests", "may not import requests"),
        ("outbox.py", "import pickle", "runs what it reads"),
        ("outbox.py", "from pickle import loads", "runs what it reads"),
        ("outbox.py", "try:\n    f()\nexcept ValueError:\n    pass", "does nothing"),
        ("outbox.py", "try:\n    f()\nexcept ValueError:\n    ...", "does nothing"),
        ("outbox.py", "try:\n    f()\nexcept:\n    raise", "bare except"),
        ("outbox.py", "with suppress(Exception):\n    f()", "loses every error"),
        ("outbox.py", "with contextlib.suppress(BaseException):\n    f()", "loses every error"),
        ("client.py", "httpx.Client(verify=False)", "always verified"),
        ("client.py", "context.check_hostname = False", "always verified"),
        ("client.py", "context.verify_mode = ssl.CERT_NONE", "verification off"),
        ("client.py", "context = ssl._create_unverified_context()", "verification off"),
        ("admin/events.py", "from django.utils.safestring import mark_safe", "use format_html"),
        ("admin/events.py", "html.mark_safe(text)", "use format_html"),
        ("relay.py", "import time\ntime.sleep(1)", "relay.py:2: time.sleep cannot be woken"),
        ("relay.py", "from time import sleep", "cannot be woken"),
        ("relay.py", "x = 1", "no docstring"),
        ("__init__.py", "import django", "loads nothing"),
        ("__init__.py", "__version__ = version('x')", "loads nothing"),
    ],
)
def test_the_judge_names_the_offence(path, source, words):
    assert words in "\n".join(wall.offences(path, source))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("client_requests.py", "import httpx\nfrom genesys_eventbridge.errors import Rejected"),
        ("answers/__init__.py", "import httpx\nfrom .status import status_outcome"),
        ("relay.py", "from genesys_eventbridge import client, models, outbox, __version__"),
        ("senders.py", "if TYPE_CHECKING:\n    import httpx"),
        ("wake.py", "def wake():\n    from django_q.tasks import async_task"),
        ("admin/__init__.py", "from genesys_eventbridge.operations import requeue"),
        ("client.py", "import time\ntime.sleep(1)"),
        ("outbox.py", "try:\n    f()\nexcept ValueError:\n    log()"),
        ("outbox.py", "with suppress(ValueError):\n    f()"),
        ("migrations/0001_initial.py", "x = 1\n" * 400),
        ("management/commands/eventbridge_poll.py", "x = 1\n" * 59),
        ("__init__.py", '__version__ = "1"'),
    ],
)
def test_the_judge_lets_pass_what_is_allowed(path, source):
    assert wall.offences(path, f'"""A room."""\n{source}') == []


@pytest.mark.parametrize(
    "text", ["{{ event.error|safe }}", "{{ x | safe }}", "{% autoescape off %}", "{{ x|safeseq }}"]
)
def test_the_judge_sees_unescaped_templates(text):
    assert wall.template_offences("admin/event.html", f"<p>\n{text}") != []


def test_the_judge_lets_escaped_templates_pass():
    assert wall.template_offences("admin/event.html", "{{ event.error }} is safe") == []
