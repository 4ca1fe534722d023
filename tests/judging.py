"""What the protocol of the tutorial's endpoint makes of an ``httpx.Response``, as the sender asks it."""

from genesys_eventbridge.client.responses import read
from genesys_eventbridge.platform.protocols import EventBridge

_PROTOCOL = EventBridge()


def publish_outcome(response, sent, rules, *, secrets=(), protocol=_PROTOCOL):
    return protocol.publish_outcome(read(response, rules, secrets, sent.body), sent)


def status_outcome(response, rules, *, remote_id, sent=None, age=None, secrets=()):
    answer = read(response, rules, secrets, sent.body if sent else "")
    return _PROTOCOL.status_outcome(answer, remote_id, sent, age)
