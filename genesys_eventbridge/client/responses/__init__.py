"""One HTTP response or transport failure -> one verdict: the tables of platform behaviour."""

from genesys_eventbridge.client.responses.exceptions import failure_outcome
from genesys_eventbridge.client.responses.publish import publish_outcome
from genesys_eventbridge.client.responses.status import status_outcome
from genesys_eventbridge.client.responses.token import token_answer
from genesys_eventbridge.platform.outcomes import Halt, Outcome, Rules, Sent, Token, Verdict

__all__ = [
    "Halt",
    "Outcome",
    "Rules",
    "Sent",
    "Token",
    "Verdict",
    "failure_outcome",
    "publish_outcome",
    "status_outcome",
    "token_answer",
]
