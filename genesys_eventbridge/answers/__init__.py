"""One HTTP answer or transport failure -> one verdict (a value): the tables of platform behaviour."""

from genesys_eventbridge.answers.checking import status_outcome
from genesys_eventbridge.answers.failures import failure_outcome
from genesys_eventbridge.answers.publishing import publish_outcome
from genesys_eventbridge.answers.tokens import token_answer
from genesys_eventbridge.verdicts import Halt, Outcome, Rules, Sent, Token, Verdict

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
