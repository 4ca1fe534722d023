"""The setting ALERTS: what it accepts, and what it says to everything else."""

import pytest

from genesys_eventbridge import conf
from genesys_eventbridge.conf.alerts import AlertSettings, alert_settings
from tests.alerts import SECRET, alerting

HOOK = "https://alerts.example.com/hook"


@pytest.mark.parametrize(
    ("given", "channels"),
    [
        ("shop.alerts.notify", ("function",)),
        (print, ("function",)),
        ({"function": print}, ("function",)),
        ({"email": "admins"}, ("email",)),
        ({"email": ["ops@example.com"]}, ("email",)),
        ({"webhook": HOOK, "secret": SECRET}, ("webhook",)),
        ({"webhook": "http://127.0.0.1:8080/x?y=z", "secret": SECRET}, ("webhook",)),
        ({"webhook": "https://[::1]/x", "secret": SECRET}, ("webhook",)),
        (
            {"webhook": str, "secret": str, "email": "admins", "function": "a.b"},
            ("email", "webhook", "function"),
        ),
    ],
)
def test_what_is_accepted(given, channels):
    found = alert_settings(given)

    assert found is not None
    assert found.channels == channels
    assert alert_settings(found) == found
    assert (found.window, found.backlog_age, found.paused_for) == (900, 300, 900)


def test_it_is_off_by_default():
    assert alert_settings(None) is None
    assert conf.destination().alerts is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (5, 'must be None, a dict such as {"email": "admins"}, or the dotted path of a function'),
        ("notify", "'function' is the dotted path of a function"),
        ({}, "must be a dict with at least one of email, webhook, function"),
        ({"window": 60}, "must be a dict with at least one of email, webhook, function"),
        ({"emial": "admins"}, "must be a dict without the key 'emial' (did you mean 'email'?)"),
        ({"EMAIL": "admins"}, "must be a dict without the key 'EMAIL' (did you mean 'email'?)"),
        ({"x": 1}, "must be a dict without the key 'x' (it knows email, webhook, secret, function, window, "),
        ({"email": []}, "in which 'email' is \"admins\" or a list of e-mail addresses, got []"),
        ({"email": "ops@example.com"}, "in which 'email' is \"admins\" or a list of e-mail addresses"),
        ({"email": ["ops"]}, "in which 'email' is a list of e-mail addresses, and 'ops' is not one"),
        ({"email": "admins", "window": 0}, "in which 'window' is a number above 0"),
        ({"email": "admins", "backlog_age": "5m"}, "in which 'backlog_age' is a number above 0"),
        ({"email": "admins", "paused_for": None}, "in which 'paused_for' is a number above 0"),
        ({"email": "admins", "site": "shop"}, "in which 'site' is an https URL"),
        ({"webhook": HOOK}, "must be a dict with both webhook and secret"),
        ({"email": "admins", "secret": SECRET}, "must be a dict with both webhook and secret"),
        (
            {"webhook": HOOK, "secret": "whsec_c2hvcnQ="},
            "'secret' is whsec_ followed by the base64 of 24 to 64",
        ),
        ({"webhook": HOOK, "secret": "whsec_" + "*" * 44}, "'secret' is whsec_ followed by the base64"),
        ({"webhook": "http://alerts.example.com", "secret": SECRET}, "http is allowed only for this machine"),
        ({"webhook": "https://a:b@alerts.example.com", "secret": SECRET}, "without user name and password"),
        ({"webhook": "https://alerts.example.com:0", "secret": SECRET}, "'webhook' is an https URL"),
        ({"webhook": "https://alerts.example.com/#a", "secret": SECRET}, "'webhook' is an https URL"),
        ({"webhook": "https:///x", "secret": SECRET}, "'webhook' is an https URL"),
        ({"webhook": "https://a b/", "secret": SECRET}, "'webhook' is an https URL"),
    ],
    ids=str,
)
def test_what_is_refused_is_named_with_its_fix(given, message):
    with alerting(given):
        found = [problem for problem in conf.problems() if problem.key == "ALERTS"]

    assert [problem.id for problem in found] == ["E004"]
    assert message in found[0].message
    assert "GENESYS_EVENTBRIDGE['default']['ALERTS']" in found[0].message


@pytest.mark.parametrize(
    "given",
    [
        {"webhook": "https://alerts.example.com/token-canary", "secret": "canary"},
        {"webhook": "ftp://alerts.example.com/token-canary", "secret": SECRET},
        {"webhook": "https://alerts.example.com/token-canary", "sceret": "whsec_canary"},
    ],
)
def test_no_message_shows_a_secret(given):
    with alerting(given):
        found = [problem.message + problem.hint for problem in conf.problems()]

    assert found
    assert "canary" not in "".join(found)


def test_neither_does_the_repr():
    assert "canary" not in repr(AlertSettings(webhook="https://a.example/canary", secret="canary"))
