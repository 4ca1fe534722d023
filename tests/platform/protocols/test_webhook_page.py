"""docs/webhook.md shows the requests that are sent: its samples are compared with the protocol's."""

import json

import pytest

from genesys_eventbridge.cloudevents import build_event
from genesys_eventbridge.platform.config import Platform
from genesys_eventbridge.platform.outcomes import Sent
from genesys_eventbridge.platform.protocols import Webhook
from tests.pages import section

PAGE = "docs/webhook.md"
HEADINGS = {
    "cloudevent": '### Structured: WEBHOOK_BODY "cloudevent"',
    "data": '### Binary: WEBHOOK_BODY "data"',
}
#: Headers that the platform adds.
THEIRS = {"inin-correlation-id"}


def shown(body):
    text = section(PAGE, HEADINGS[body]).partition("```json\n")[2].partition("```")[0]
    return json.loads(text)["webhooksInvocation"]


def encoded():
    """The event of both samples."""
    event = dict(shown("cloudevent")["body"])
    assert event.pop("specversion") == "1.0"
    kind, data = event.pop("type"), event.pop("data")
    return build_event(kind, data, **event).encode()


@pytest.mark.parametrize("body", HEADINGS)
def test_the_sample_is_what_the_protocol_sends(body):
    protocol = Webhook(webhook_token="a-token-0123", webhook_body=body)
    platform = Platform(api_base_url="https://api.mypurecloud.com", protocol=protocol)

    request = protocol.publish_request(platform, Sent("", "", "", body=encoded()), "")

    sample = shown(body)
    assert json.loads(request.body) == sample["body"]
    headers = {name.lower(): [text] for name, text in request.headers}
    assert headers == {name: texts for name, texts in sample["headers"].items() if name not in THEIRS}
